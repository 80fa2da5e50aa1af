"""A gRPC service without generated code: messages are plain bytes, handlers are generic.

`server.py PORT` serves `forebay.Echo/Unary`, `forebay.Echo/Fails`, `forebay.Echo/Count` and `forebay.Echo/Both`.
"""

import sys
from concurrent import futures

import grpc


def unary(request, context):
    context.send_initial_metadata((("x-initial", "1"),))
    context.set_trailing_metadata((("x-trailing", "2"),))
    return request[::-1]


def fails(request, context):
    context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not today")


def count(request, context):
    for n in range(int(request)):
        yield str(n).encode()


def both(requests, context):
    # Answers each message as it comes: a proxy that buffered either way would deadlock the client.
    for request in requests:
        yield b"echo " + request


SERVICE = grpc.method_handlers_generic_handler(
    "forebay.Echo",
    {
        "Unary": grpc.unary_unary_rpc_method_handler(unary),
        "Fails": grpc.unary_unary_rpc_method_handler(fails),
        "Count": grpc.unary_stream_rpc_method_handler(count),
        "Both": grpc.stream_stream_rpc_method_handler(both),
    },
)

if __name__ == "__main__":
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=8))
    server.add_generic_rpc_handlers((SERVICE,))
    server.add_insecure_port(f"127.0.0.1:{sys.argv[1]}")
    server.start()
    print("serving", flush=True)
    server.wait_for_termination()
