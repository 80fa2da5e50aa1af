"""Tells how the service is, below /status."""

import os

import store
from flask import Flask

app = Flask(__name__)


@app.get("/status")
def status():
    return {"status": "up", "worker": os.getpid(), "greeting": store.read()}
