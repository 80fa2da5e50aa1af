"""The greeting application split by path prefix, second of three: changes the greeting."""

from flask import Flask

from store import replace

app = Flask(__name__)


@app.route("/update/<message>", methods=["GET", "POST"])
def update(message):
    replace(message)
    return f"updated to: {message}"
