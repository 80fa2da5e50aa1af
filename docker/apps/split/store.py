"""Where the three services keep the greeting: a file that they share, `$GREETING_FILE`, replaced as a whole."""

import os
import tempfile
from pathlib import Path

FILE = Path(os.environ.get("GREETING_FILE") or Path(tempfile.gettempdir()) / "greeting.txt")


def read() -> str:
    try:
        return FILE.read_text()
    except FileNotFoundError:
        return "Hello"


def write(message: str) -> None:
    fresh = FILE.with_name(f"{FILE.name}.{os.getpid()}")
    fresh.write_text(message)
    fresh.replace(FILE)
