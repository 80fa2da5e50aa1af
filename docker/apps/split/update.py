"""Changes the greeting, below /update."""

import store
from flask import Flask

app = Flask(__name__)


@app.route("/update/<message>", methods=["GET", "POST"])
def update(message: str):
    store.write(message)
    return f"The greeting is now: {message}\n", {"Content-Type": "text/plain; charset=utf-8"}
