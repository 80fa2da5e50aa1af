"""The seed application: one greeting that everybody sees and anybody may change.

`gunicorn --bind 127.0.0.1:8000 --workers 4 app:app`. The greeting is kept in a file, `$GREETING_FILE`, because gunicorn's
workers share no memory; without that variable it is one in the temporary directory.
"""

import os
import tempfile
from pathlib import Path

from flask import Flask

app = Flask(__name__)
FILE = Path(os.environ.get("GREETING_FILE") or Path(tempfile.gettempdir()) / "greeting.txt")


def greeting() -> str:
    try:
        return FILE.read_text()
    except FileNotFoundError:
        return "Hello"


@app.get("/")
def show():
    return greeting() + "\n", {"Content-Type": "text/plain; charset=utf-8"}


@app.route("/update/<message>", methods=["GET", "POST"])
def update(message: str):
    # By renaming: another worker reads the old greeting or the new one.
    fresh = FILE.with_name(f"{FILE.name}.{os.getpid()}")
    fresh.write_text(message)
    fresh.replace(FILE)
    return f"The greeting is now: {message}\n", {"Content-Type": "text/plain; charset=utf-8"}
