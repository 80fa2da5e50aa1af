"""A greeting that anyone may change, by GET or POST: the small Flask application that Forebay was first made for."""

import os
from pathlib import Path

from flask import Flask

app = Flask(__name__)

# A file, so that every worker of gunicorn shows the same greeting and a recreated container keeps it.
_file = Path(os.environ.get("GREETING_FILE", "/tmp/greeting.txt"))


@app.get("/")
def show():
    return _file.read_text() if _file.exists() else "Hello, World!"


@app.route("/update/<message>", methods=["GET", "POST"])
def update(message):
    # Written beside and renamed: another worker never reads half a greeting.
    fresh = _file.with_suffix(f".{os.getpid()}")
    fresh.write_text(message)
    fresh.replace(_file)
    return f"updated to: {message}"
