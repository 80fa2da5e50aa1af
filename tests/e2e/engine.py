"""The Docker Engine as the scenarios use it: whether it is there, the images, one Compose project at a time."""

import asyncio
import contextlib
import hashlib
import json
import os
import random
import shutil
import socket
import subprocess
import time
from pathlib import Path

from clients import Clients, Kept

ROOT = Path(__file__).resolve().parent.parent.parent
OUT = ROOT / "target/e2e"
STATIC = ROOT / "target/static"
RATE = 200
# Of this working tree, so that two of them do not take each other's containers.
NAME = os.environ.get("E2E_NAME") or "forebay-e2e-" + hashlib.sha256(str(ROOT).encode()).hexdigest()[:6]
PROXY_VARIABLES = [n for name in ("http_proxy", "https_proxy", "no_proxy") for n in (name, name.upper())]


class Failed(Exception):
    """A scenario could not be played."""


def run(*command, **more):
    """Runs a command to its end; gives its output."""
    done = subprocess.run([str(c) for c in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **more)
    if done.returncode != 0:
        raise Failed(f"{' '.join(map(str, command))}: exit code {done.returncode}\n{done.stdout[-2000:]}")
    return done.stdout.strip()


def unreachable():
    """Why there is no engine, or nothing."""
    if not shutil.which("docker"):
        return "there is no docker command"
    try:
        run("docker", "version", "--format", "{{.Server.Version}}", timeout=20)
    except (Failed, subprocess.TimeoutExpired) as why:
        return str(why).splitlines()[-1]
    return None


def compose_command():
    """Compose v2 where it is, else the docker-compose of before, else that is installed."""
    if subprocess.run(["docker", "compose", "version"], capture_output=True).returncode == 0:
        return ["docker", "compose"]
    if not shutil.which("docker-compose"):
        run(ROOT / "scripts/apt-install", "docker-compose")
    return ["docker-compose"]


def target():
    (host,) = (line[6:] for line in run("rustc", "-vV").splitlines() if line.startswith("host: "))
    return host


def build_programs():
    """The two programs as the images have them, static, and quickly built. Gives where they are."""
    static = {**os.environ, "RUSTFLAGS": "-C target-feature=+crt-static"}
    common = ["cargo", "build", "--locked", "--quiet", "--target", target(), "--target-dir", STATIC]
    run(*common, "--profile", "e2e", "--bin", "forebay", cwd=ROOT, env=static)
    run(*common, "--release", "--manifest-path", "docker/apps/pulse/Cargo.toml", cwd=ROOT, env=static)
    return STATIC / target() / "e2e/forebay", STATIC / target() / "release/pulse"


def build(tag, *arguments):
    """Builds an image; one that had the name before is removed."""
    before = run("docker", "images", "--quiet", tag)
    through = [word for name in PROXY_VARIABLES if os.environ.get(name) for word in ("--build-arg", name)]
    run("docker", "build", "--quiet", *through, "--tag", tag, *arguments, cwd=ROOT)
    if before and before != run("docker", "images", "--quiet", tag):
        # Not where a layer of it is still of use.
        subprocess.run(["docker", "rmi", before], capture_output=True)


def build_images(nginx):
    """All images of the topologies, with the programs built outside. The final stage is the real one."""
    print("e2e: building the programs and the images", flush=True)
    forebay, pulse = build_programs()
    # Not `rust`: this builds no program inside.
    run(ROOT / "scripts/base-images", "debian", "python", "redis", *(["nginx"] if nginx else []))
    runtime = f"forebay-runtime:{NAME}"
    build(runtime, "--target", "runtime", "--file", "docker/Dockerfile", ".")
    build(f"forebay-greeting:{NAME}", "docker/apps/greeting")
    build(f"forebay-split:{NAME}", "docker/apps/split")
    context = OUT / "context"
    context.mkdir(parents=True, exist_ok=True)
    for tag, program, base, into in (
        ("forebay", forebay, runtime, "/forebay"),
        ("forebay-pulse", pulse, "debian:bookworm-slim", "/usr/local/bin/pulse"),
    ):
        shutil.copy(program, context / program.name)
        start = 'CMD ["pulse", "0.0.0.0:8000"]\n' if program == pulse else ""
        (context / "Dockerfile").write_text(f"FROM {base}\nCOPY {program.name} {into}\n{start}")
        build(f"{tag}:{NAME}", context)


def own_address():
    """An address of this machine at which published ports are reached as from outside, not through Docker's userland proxy:
    that one takes connections before it knows whether anybody is behind it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        # Sends nothing: the kernel says from where it would.
        probe.connect(("198.51.100.1", 9))
        return probe.getsockname()[0]


def free_port():
    """A port that nobody has, below the range from which the kernel gives ports to clients."""
    while True:
        port = random.randrange(21_000, 22_000)
        with socket.socket() as probe:
            try:
                probe.bind(("0.0.0.0", port))
                return port
            except OSError:
                pass


class Stage:
    """One topology as a Compose project of its own, gone afterwards."""

    rate = RATE

    def __init__(self, scenario, compose, random_order):
        self.scenario = scenario
        self.command = compose
        self.file = ROOT / "docker" / self.file_of
        self.host = own_address()
        self.port = free_port()
        self.random = random_order
        self.config = OUT / "config"
        self.environment = {
            **os.environ,
            "TAG": NAME,
            "PORT": str(self.port),
            "CONFIG": str(self.config),
            # A busy machine takes its time to make a container. How long the slowest client waited is told.
            "HOLD": "120s",
        }
        shutil.rmtree(self.config, ignore_errors=True)
        # Read by a container's user, who is none of this machine's.
        shutil.copytree(ROOT / "docker" / self.config_of, self.config)
        self.clients = None

    async def __aenter__(self):
        await self.compose("down", "--volumes", "--remove-orphans", "--timeout", "0")
        return self

    async def __aexit__(self, kind, *_):
        for place, edge in enumerate(await self.containers("edge")):
            (OUT / f"{self.scenario}-{self.name}-{place}.log".lower()).write_text(await self.docker("logs", edge))
        await self.compose("down", "--volumes", "--remove-orphans", "--timeout", "0")

    async def call(self, *command):
        """Runs a command while the clients go on."""
        process = await asyncio.create_subprocess_exec(
            *command, env=self.environment, stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )
        said, _ = await process.communicate()
        if process.returncode != 0:
            raise Failed(f"{' '.join(command)}: exit code {process.returncode}\n{said.decode()[-2000:]}")
        return said.decode().strip()

    async def compose(self, *arguments):
        return await self.call(*self.command, "--project-name", NAME, "--file", str(self.file), *arguments)

    async def docker(self, *arguments):
        return await self.call("docker", *arguments)

    async def up(self, *services, options=()):
        """Starts these and no others, whatever depends on what."""
        await self.compose("up", "--detach", "--no-deps", *options, *services)

    async def begin(self, *services):
        """Starts what a scenario is about."""
        await self.up(*services)

    async def containers(self, service):
        """The containers of a service, in the order of their making."""
        found = await self.docker(
            "ps", "--all", "--quiet", "--no-trunc", "--filter", f"label=com.docker.compose.project={NAME}",
            "--filter", f"label=com.docker.compose.service={service}",
        )
        return found.split()[::-1]

    async def container(self, service):
        (one,) = await self.containers(service)
        return one

    async def inspect(self, container):
        return json.loads(await self.docker("inspect", container))[0]

    async def addresses(self, service):
        """Where the service's containers are on the project's network."""
        found = []
        for container in await self.containers(service):
            found += [n["IPAddress"] for n in (await self.inspect(container))["NetworkSettings"]["Networks"].values()]
        return found

    async def network(self):
        return await self.docker("network", "ls", "--quiet", "--filter", f"label=com.docker.compose.project={NAME}")

    async def published(self, container):
        """Where the edge's container is reached from outside."""
        ports = (await self.inspect(container))["NetworkSettings"]["Ports"]
        return self.host, int(next(bound for bound in ports.values() if bound)[0]["HostPort"])

    async def listening(self, seconds):
        """Waits until the published port takes connections, for so long at most."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection(self.host, self.port)
                writer.close()
                return
            await asyncio.sleep(0.02)

    def load(self, pages, addresses=None):
        """Clients at the edge, who ask until the block ends."""
        self.clients = Clients(addresses or [(self.host, self.port)], pages, Stage.rate)
        return self.clients

    async def time(self, seconds):
        """Lets time pass, with the clients asking."""
        await asyncio.sleep(seconds)

    async def calibrate(self, pages):
        """Halves the rate until the applications keep up on this machine as it is now: what they lose is not the proxy's."""
        while Stage.rate > RATE / 8:
            clients = Clients([(self.host, self.port)], pages, Stage.rate)
            async with clients:
                await asyncio.sleep(1)
                late = len(clients.under_way)
            if late < Stage.rate / 5:
                return
            Stage.rate //= 2
            print(f"e2e: this machine is busy: {Stage.rate} requests a second from here on", flush=True)

    async def warm(self, pages, addresses=None):
        """Waits until each page is answered as it should be."""
        end = time.monotonic() + 180
        for page, beginning in pages.items():
            while await Clients(addresses or [(self.host, self.port)], {}, 1).ask(page, beginning) is not None:
                if time.monotonic() > end:
                    raise Failed(f"{page} is not answered")
                await asyncio.sleep(0.1)

    async def fetch(self, address, path):
        """The body of one answer."""
        kept = Kept(*await asyncio.open_connection(*address))
        _, body = await asyncio.wait_for(kept.exchange(path), 30)
        return body

    async def stream(self, path):
        """Reads a chunked answer to its end; gives whether it was "whole" or "cut"."""
        reader, writer = await asyncio.open_connection(self.host, self.port)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: shop.example\r\n\r\n".encode())
        last = b""
        try:
            while piece := await reader.read(65536):
                last = (last + piece)[-5:]
                if last == b"0\r\n\r\n":
                    break
        except OSError:
            pass
        writer.close()
        return "whole" if last == b"0\r\n\r\n" else "cut"

    async def stop(self, edge):
        """`docker stop`, which must end by itself within the 10 s after which Docker kills."""
        began = time.monotonic()
        await self.docker("stop", edge)
        took = time.monotonic() - began
        code = (await self.inspect(edge))["State"]["ExitCode"]
        if took > 10 or code != 0:
            raise Failed(f"the proxy took {took:.1f} s to stop, and its exit code is {code}")

    def rewrite(self, name, change):
        """Changes a file of the configuration as an editor does, by renaming."""
        fresh = self.config / "fresh"
        fresh.write_text(change((ROOT / "docker" / self.config_of / name).read_text()))
        fresh.chmod(0o644)
        fresh.replace(self.config / name)

    async def shows(self, generation):
        """Fails unless answers carry the field that `change_configuration` adds."""
        reader, writer = await asyncio.open_connection(self.host, self.port)
        writer.write(b"GET / HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n")
        head = (await asyncio.wait_for(reader.read(), 10)).split(b"\r\n\r\n")[0].lower()
        writer.close()
        if f"\r\nx-generation: {generation}".encode() not in head + b"\r\n":
            raise Failed(f"generation {generation} of the configuration is not in force: {head}")


class Forebay(Stage):
    """Forebay as the edge."""

    name = "Forebay"
    file_of, config_of = "compose.yaml", "edge"

    def change_configuration(self, generation):
        field = f'[[route]]\nresponse_headers = {{ set = {{ "X-Generation" = "{generation}" }} }}\n'
        self.rewrite("proxy.toml", lambda text: text.replace("[[route]]\n", field, 1))

    async def reload(self):
        await self.docker("exec", await self.container("edge"), "forebay", "reload")

    async def used(self, service):
        """Fails unless each container of the service has answered a request since then."""
        log = await self.docker("logs", "--since", "2s", await self.container("edge"))
        for address in await self.addresses(service):
            if f'"{address}:' not in log:
                raise Failed(f"{address} of {service} got no request")


class Shield(Forebay):
    """Forebay twice, one behind the other."""

    file_of = "compose.shield.yaml"


class Nginx(Stage):
    """nginx as the edge."""

    name = "nginx"
    file_of, config_of = "compose.nginx.yaml", "nginx"

    async def begin(self, *services):
        """It does not start before each name in its file resolves, so all of them are there first."""
        await self.up("app", "greeting", "update", "status", "pulse", "redis")
        if "edge" in services:
            await self.up("edge")

    def change_configuration(self, generation):
        field = f"    listen 80;\n    add_header X-Generation {generation};\n"
        self.rewrite("default.conf", lambda text: text.replace("    listen 80;\n", field))

    async def reload(self):
        await self.docker("exec", await self.container("edge"), "nginx", "-s", "reload")

    async def used(self, service):
        """nginx keeps the addresses that it started with."""
