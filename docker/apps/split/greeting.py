"""The greeting application split by path prefix, first of three: shows the greeting."""

from flask import Flask

from store import current

app = Flask(__name__)


@app.get("/greeting")
def show():
    return current()
