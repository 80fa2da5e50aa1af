"""The gRPC client: `python client.py ADDRESS` makes every kind of call and says `ok`, or fails with what was wrong."""

import queue
import sys

import grpc
from schema import method, same

PATIENCE = 20


def check(what: str, found, wanted) -> None:
    if found != wanted:
        sys.exit(f"{what}: {found!r} instead of {wanted!r}")


def unary(channel) -> None:
    echo = channel.unary_unary(method("Echo"), same, same)
    answer, call = echo.with_call(b"hello", timeout=PATIENCE, metadata=(("x-ask", "why"),))
    check("unary", answer, b"HELLO")
    check("trailing metadata", dict(call.trailing_metadata()).get("x-answer"), "why")
    check("a mebibyte", echo(b"m" * (1 << 20), timeout=PATIENCE), b"M" * (1 << 20))


def error(channel) -> None:
    try:
        channel.unary_unary(method("Fail"), same, same)(b"on purpose", timeout=PATIENCE)
    except grpc.RpcError as e:
        check("status", (e.code(), e.details()), (grpc.StatusCode.ABORTED, "on purpose"))
    else:
        sys.exit("Fail did not fail")
    try:
        channel.unary_unary(method("Nothing"), same, same)(b"", timeout=PATIENCE)
    except grpc.RpcError as e:
        check("unknown method", e.code(), grpc.StatusCode.UNIMPLEMENTED)
    else:
        sys.exit("an unknown method answered")


def bidirectional(channel) -> None:
    """Sends a message only after the one before was answered, so buffering anywhere is a time-out."""
    said: queue.Queue = queue.Queue()
    answers = channel.stream_stream(method("Talk"), same, same)(iter(said.get, None), timeout=PATIENCE)
    for n in range(50):
        said.put(f"message {n}".encode())
        check("bidirectional", next(answers), f"MESSAGE {n}".encode())
    said.put(None)
    check("the stream's end", list(answers), [])


def server_stream(channel) -> None:
    answers = channel.unary_stream(method("Count"), same, same)(b"1000", timeout=PATIENCE)
    check("server stream", [int(a) for a in answers], list(range(1000)))


with grpc.insecure_channel(sys.argv[1]) as channel:
    for call in (unary, error, bidirectional, server_stream):
        call(channel)
print("ok")
