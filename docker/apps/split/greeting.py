"""Shows the greeting, below /greeting."""

import store
from flask import Flask

app = Flask(__name__)


@app.get("/greeting")
def show():
    return store.read() + "\n", {"Content-Type": "text/plain; charset=utf-8"}
