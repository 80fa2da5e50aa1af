"""An origin as slow as it is told to be, with as many answers under way as anybody wants: asyncio and nothing else.

    slow.py PORT

    GET /…?head=1&body=2&cc=max-age%3D60   the head after a second, the body for two more in ten pieces of `size` octets in all
    GET /count?path=/…                     how often a path was asked for, and when its first body octet left (Unix time)
    GET /reset                             forgets the counts

Says "listening" on standard output.
"""

import asyncio
import json
import sys
import time
from collections import Counter
from urllib.parse import parse_qsl, urlsplit

counts = Counter()
first = {}
active = Counter()
PIECES = 10


async def answer(writer, target):
    """Answers one request."""
    url = urlsplit(target)
    options = dict(parse_qsl(url.query))
    if url.path == "/count":
        path = options.get("path")
        said = {"count": counts[path] if path else sum(counts.values()), "first": first.get(path), "active": sum(active.values())}
        return await whole(writer, json.dumps(said).encode(), "no-store")
    if url.path == "/reset":
        counts.clear()
        first.clear()
        return await whole(writer, b"{}", "no-store")
    counts[url.path] += 1
    active[url.path] += 1
    try:
        size, control = int(options.get("size", 1000)), options.get("cc", "max-age=300")
        head, body = float(options.get("head", 0)), float(options.get("body", 0))
        if not head and not body:
            return await whole(writer, b"s" * size, control)
        if head:
            await asyncio.sleep(head)
        extra = "Connection: close\r\n" if options.get("cut") else ""
        writer.write(
            f"HTTP/1.1 200 OK\r\nContent-Length: {size}\r\nContent-Type: text/plain\r\nCache-Control: {control}\r\n{extra}\r\n".encode()
        )
        done, begun = 0, time.monotonic()
        for piece in range(1, PIECES + 1):
            share = size * piece // PIECES
            first.setdefault(url.path, time.time())
            writer.write(b"s" * (share - done))
            await writer.drain()
            done = share
            if options.get("cut") and piece == PIECES // 2:
                writer.close()
                return False
            await asyncio.sleep(max(0, begun + body * piece / PIECES - time.monotonic()))
        return True
    finally:
        active[url.path] -= 1


async def whole(writer, body, control):
    """Head and body in one piece."""
    first_line = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nContent-Type: text/plain\r\nCache-Control: {control}\r\n\r\n"
    writer.write(first_line.encode() + body)
    await writer.drain()
    return True


async def serve(reader, writer):
    """Serves one connection, request by request. Bodies of requests are not read: nobody sends one."""
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            line = head.split(b"\r\n", 1)[0].decode()
            if not await answer(writer, line.split(" ")[1]):
                return
            if b"\r\nconnection: close" in head.lower() or line.endswith("HTTP/1.0"):
                return
    except (asyncio.IncompleteReadError, ConnectionError, BrokenPipeError):
        pass
    finally:
        writer.close()


async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", int(sys.argv[1]), backlog=4096)
    print("listening", flush=True)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
