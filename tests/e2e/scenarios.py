"""What happens to a Compose project while clients ask: one function for each thing.

Each gets a `stage` that is empty, plays on it, and leaves the counting to the stage's clients.
"""

import asyncio
from ipaddress import ip_address

from engine import Failed

HELLO = b"Hello, World!"
APP = {"/": HELLO}
SPLIT = {"/greeting": HELLO, "/status": b"{", "/update/Hello,%20World!": b"updated to: Hello, World!"}
ALL = {**APP, **SPLIT, "/pulse/json": b"{"}
SERVICES = ["app", "greeting", "update", "status", "pulse", "redis"]


async def started(stage, order):
    """Starts what is made already, in this order; clients come as soon as the proxy had time to listen."""
    await stage.compose("up", "--no-start")
    at = order.index("edge")
    for service in order[: at + 1]:
        await stage.docker("start", await stage.container(service))
    # A proxy that does not start without its backends never listens; its clients come all the same.
    await stage.listening(3)
    async with stage.load(ALL):
        for service in order[at + 1 :]:
            await stage.docker("start", await stage.container(service))
        await stage.warm(ALL)
        await stage.time(2)


async def proxy_first(stage):
    """the proxy first, then the others in random order"""
    await started(stage, ["edge", *stage.random.sample(SERVICES, len(SERVICES))])


async def random_order(stage):
    """all in random order"""
    await started(stage, stage.random.sample(["edge", *SERVICES], len(SERVICES) + 1))


async def recreated(stage):
    """`up -d --force-recreate app`, at a new address, then at the same"""
    # The address of who leaves is the lowest that is free then.
    await stage.up("redis")
    await stage.begin("edge", "app")
    await stage.warm(APP)
    await stage.calibrate(APP)
    async with stage.load(APP):
        await stage.time(1)
        (before,) = await stage.addresses("app")
        await stage.compose("rm", "--stop", "--force", "redis")
        await stage.up("app", options=["--force-recreate"])
        (after,) = await stage.addresses("app")
        if before == after:
            raise Failed(f"the engine gave the application its old address, {before}")
        await stage.time(2)
        await stage.up("app", options=["--force-recreate"])
        await stage.time(3)


async def scaled(stage):
    """`--scale app=3`, and back to 1"""
    await stage.begin("edge", "app")
    await stage.warm(APP)
    await stage.calibrate(APP)
    async with stage.load(APP):
        await stage.time(1)
        await stage.up("app", options=["--no-recreate", "--scale", "app=3"])
        # Longer than dns_ttl_max.
        await stage.time(6)
        await stage.used("app")
        await stage.up("app", options=["--no-recreate", "--scale", "app=1"])
        await stage.time(6)


async def killed(stage):
    """`kill -9` of app twice, and of pulse within a stream"""
    await stage.begin("edge", "app", "pulse")
    await stage.warm({**APP, "/pulse/json": b"{"})
    await stage.calibrate(APP)
    app, pulse = await stage.container("app"), await stage.container("pulse")
    async with stage.load(APP):
        stream = asyncio.create_task(stage.stream("/pulse/stream?n=1000000"))
        for _ in range(2):
            await stage.time(1)
            await stage.docker("kill", "--signal", "KILL", app)
            await stage.docker("start", app)
        await stage.docker("kill", "--signal", "KILL", pulse)
        if await asyncio.wait_for(stream, 30) != "cut":
            raise Failed("half a stream was ended as if it were whole")
        await stage.time(3)


async def disconnected(stage):
    """app off the network for 2 s; then pulse, with requests in it, and back at another address"""
    await stage.up("redis")
    await stage.begin("edge", "app", "pulse")
    # There is always an answer on its way, which nothing will end.
    pages = {**APP, "/pulse/slow?ms=1000": b"after 1000 ms"}
    await stage.warm(pages)
    await stage.calibrate(APP)
    network = await stage.network()
    async with stage.load(pages):
        for service in ("app", "pulse"):
            await stage.time(2)
            container = await stage.container(service)
            await stage.docker("network", "disconnect", network, container)
            await stage.time(2)
            if service == "pulse":
                # Redis leaves a lower address to it.
                await stage.compose("rm", "--stop", "--force", "redis")
            await stage.docker("network", "connect", "--alias", service, network, container)
        await stage.time(3)


async def nameless(stage):
    """app removed, its name gone for 5 s, then made anew"""
    await stage.begin("edge", "app")
    await stage.warm(APP)
    await stage.calibrate(APP)
    async with stage.load(APP):
        await stage.time(1)
        await stage.compose("rm", "--stop", "--force", "app")
        await stage.time(5)
        await stage.up("app")
        await stage.time(4)


async def rolled(stage):
    """a rolling deploy of three services, then all three at once"""
    await stage.begin("edge", "redis", "greeting", "update", "status")
    await stage.warm(SPLIT)
    await stage.calibrate(SPLIT)
    async with stage.load(SPLIT):
        await stage.time(1)
        for service in ("greeting", "update", "status"):
            await stage.up(service, options=["--force-recreate"])
        await stage.time(3)
        # They are made side by side, so one may come to where another one was.
        await stage.up("greeting", "update", "status", options=["--force-recreate"])
        await stage.time(5)


async def reloaded(stage):
    """the configuration changed and loaded, five times"""
    await stage.begin("edge", "app")
    await stage.warm(APP)
    await stage.calibrate(APP)
    async with stage.load(APP):
        for generation in range(1, 6):
            await stage.time(1)
            stage.change_configuration(generation)
            await stage.reload()
        await stage.time(1)
        await stage.shows(5)


async def stopped(stage):
    """two proxies, each in turn stopped (`docker stop`) and started again"""
    # Any two ports.
    stage.environment["PORT"] = "0"
    await stage.begin("app")
    await stage.up("edge", options=["--scale", "edge=2"])
    edges = await stage.containers("edge")
    addresses = [await stage.published(edge) for edge in edges]
    await stage.warm(APP, addresses)
    await stage.calibrate(APP)
    async with stage.load(APP, addresses):
        for place, edge in enumerate(edges):
            await stage.time(1)
            await stage.stop(edge)
            await stage.time(2)
            await stage.docker("start", edge)
            # It has another port now, as a balancer would be told.
            addresses[place] = await stage.published(edge)
            await stage.warm(APP, [addresses[place]])
        await stage.time(1)


async def swapped(stage):
    """two services started again, each at the address where the other one was"""
    await stage.begin("edge", "redis", "greeting", "status")
    pages = {page: SPLIT[page] for page in ("/greeting", "/status")}
    await stage.warm(pages)
    await stage.calibrate(pages)
    order = []
    for service in ("greeting", "status"):
        (address,) = await stage.addresses(service)
        order.append((ip_address(address), await stage.container(service)))
    (_, lower), (_, higher) = sorted(order)
    async with stage.load(pages):
        await stage.time(1)
        await stage.docker("stop", lower, higher)
        # Who starts first is given the lowest address that is free.
        await stage.docker("start", higher)
        await stage.time(3)
        await stage.docker("start", lower)
        await stage.time(3)


async def shielded(stage):
    """the origin behind a shield behind two edges recreated; then one fetch for both edges"""
    stage.environment["PORT"] = stage.environment["PORT_2"] = "0"
    await stage.up("edge-1", "edge-2", "shield", "origin")
    edges = [await stage.published(await stage.container(edge)) for edge in ("edge-1", "edge-2")]
    stage.host, stage.port = edges[0]
    pages = {"/json": b"{"}
    await stage.warm(pages, edges)
    await stage.calibrate(pages)
    async with stage.load(pages, edges):
        await stage.time(1)
        await stage.up("origin", options=["--force-recreate"])
        await stage.time(3)
    # Each answer of the origin has another number.
    answers = {await stage.fetch(edge, "/json?once") for edge in edges}
    if len(answers) != 1:
        raise Failed(f"the origin was asked by each edge: {answers}")


ROWS = [
    proxy_first, random_order, recreated, scaled, killed, disconnected, nameless, rolled, swapped, reloaded, stopped, shielded,
]  # fmt: skip
