"""What the three services share: one greeting, in Redis where REDIS_URL names one, else in a file."""

import os
from pathlib import Path

from werkzeug.exceptions import ServiceUnavailable

_first = "Hello, World!"
_file = Path(os.environ.get("GREETING_FILE", "/tmp/greeting.txt"))
_redis = None

if "REDIS_URL" in os.environ:
    import redis

    _redis = redis.Redis.from_url(
        os.environ["REDIS_URL"], decode_responses=True, socket_connect_timeout=1, socket_timeout=2
    )


def _asked(question):
    try:
        return question()
    except redis.RedisError as error:
        # Not started yet, or being replaced. Who sees 503 may ask again; the edge does (`hold_on`).
        raise ServiceUnavailable(str(error)) from error


def current():
    if _redis:
        return _asked(lambda: _redis.get("greeting")) or _first
    return _file.read_text() if _file.exists() else _first


def replace(message):
    if _redis:
        _asked(lambda: _redis.set("greeting", message))
        return
    fresh = _file.with_suffix(f".{os.getpid()}")
    fresh.write_text(message)
    fresh.replace(_file)
