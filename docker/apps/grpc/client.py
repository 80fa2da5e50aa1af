"""A gRPC client of `server.py`: calls every method through HOST:PORT and prints what came back as JSON."""

import json
import queue
import sys

import grpc

channel = grpc.insecure_channel(sys.argv[1])

reply, call = channel.unary_unary("/forebay.Echo/Unary").with_call(b"abc", timeout=30)
result = {
    "unary": reply.decode(),
    "initial": dict(call.initial_metadata()).get("x-initial"),
    "trailing": dict(call.trailing_metadata()).get("x-trailing"),
}

try:
    channel.unary_unary("/forebay.Echo/Fails")(b"x", timeout=30)
except grpc.RpcError as error:
    result["fails"] = [error.code().name, error.details()]

result["count"] = len(list(channel.unary_stream("/forebay.Echo/Count")(b"1000", timeout=30)))

# The next message is sent only after the answer to the one before.
outgoing = queue.SimpleQueue()
answers = channel.stream_stream("/forebay.Echo/Both")(iter(outgoing.get, None), timeout=30)
result["both"] = []
for word in (b"one", b"two", b"three"):
    outgoing.put(word)
    result["both"].append(next(answers).decode())
outgoing.put(None)
result["both_ended"] = next(answers, "ended")

# A large message: many HTTP/2 frames and windows, both ways.
large = bytes(3_000_000)
result["large"] = len(channel.unary_unary("/forebay.Echo/Unary")(large, timeout=30))

print(json.dumps(result))
