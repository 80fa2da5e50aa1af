"""The greeting application split by path prefix, third of three: says how it is."""

import os

from flask import Flask

from store import current

app = Flask(__name__)


@app.get("/status")
def status():
    return {"service": "status", "pid": os.getpid(), "greeting": current()}
