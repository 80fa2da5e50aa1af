"""The gRPC server: `python server.py ADDRESS`, where ADDRESS is `HOST:PORT`. Says `ready` when it listens."""

import signal
import sys
from concurrent import futures

import grpc
from schema import SERVICE, same


def echo(request, context):
    asked = dict(context.invocation_metadata()).get("x-ask")
    if asked:
        context.set_trailing_metadata((("x-answer", asked),))
    return request.upper()


def fail(request, context):
    context.abort(grpc.StatusCode.ABORTED, request.decode())


def talk(requests, _context):
    for request in requests:
        yield request.upper()


def count(request, _context):
    for n in range(int(request)):
        yield str(n).encode()


HANDLERS = {
    "Echo": grpc.unary_unary_rpc_method_handler(echo, same, same),
    "Fail": grpc.unary_unary_rpc_method_handler(fail, same, same),
    "Talk": grpc.stream_stream_rpc_method_handler(talk, same, same),
    "Count": grpc.unary_stream_rpc_method_handler(count, same, same),
}


def main() -> None:
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=8))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, HANDLERS),))
    if server.add_insecure_port(sys.argv[1]) == 0:
        sys.exit(f"cannot listen on {sys.argv[1]}")
    server.start()
    print("ready", flush=True)
    signal.signal(signal.SIGTERM, lambda *_: server.stop(1))
    server.wait_for_termination()


main()
