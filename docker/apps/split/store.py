"""What the three services share: one greeting in one file."""

import os
from pathlib import Path

_file = Path(os.environ.get("GREETING_FILE", "/tmp/greeting.txt"))


def current():
    return _file.read_text() if _file.exists() else "Hello, World!"


def replace(message):
    fresh = _file.with_suffix(f".{os.getpid()}")
    fresh.write_text(message)
    fresh.replace(_file)
