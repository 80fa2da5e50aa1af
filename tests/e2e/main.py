"""Plays the scenarios against the real Docker Engine and prints what clients saw: `make e2e`.

Each scenario is a Compose project of its own: a topology of `docker/`, 200 requests a second from outside, and something that
happens to the containers meanwhile. Forebay's failures must be none; nginx's stand beside them.
"""

import argparse
import asyncio
import random
import sys
import time

import engine
import scenarios

# A container that is killed takes the answers with it that have begun. Those must be seen to be cut.
LAWFUL = {"killed": {"cut"}}


async def play(scenario, kind, compose, seed):
    """One cell of the table: the clients, and why the scenario could not be played to its end."""
    began = time.monotonic()
    why = None
    stage = kind(scenario.__name__, compose, random.Random(seed))
    try:
        async with stage:
            await scenario(stage)
    except (engine.Failed, asyncio.TimeoutError) as failed:
        why = str(failed) or "timed out"
    clients = stage.clients
    print(f"e2e: {scenario.__name__}, {kind.name}: {told(clients, why)} ({time.monotonic() - began:.0f} s)", flush=True)
    for line in clients.first_failures if clients else []:
        print(f"e2e:     {line}", flush=True)
    return clients, why


def told(clients, why):
    if why:
        return f"not played: {why}"
    kinds = ", ".join(f"{n} × {kind}" for kind, n in clients.failures.most_common())
    return (
        f"{clients.failed} of {clients.ok + clients.failed} failed" + (f" ({kinds})" if kinds else "")
        + f"; p50 {clients.quantile(0.5) * 1000:.1f} ms, slowest {clients.quantile(1) * 1000:.0f} ms"
        + (f"; {clients.again} sent again" if clients.again else "")
        + (f"; {clients.elsewhere} went elsewhere" if clients.elsewhere else "")
    )


def cell(clients, why):
    if why:
        return "not played"
    kinds = ", ".join(f"{n} × {kind}" for kind, n in clients.failures.most_common())
    total = clients.ok + clients.failed
    return f"{clients.failed:,} of {total:,}" + (f": {kinds}" if kinds else "") + f"; slowest {clients.quantile(1):.1f} s"


def ill(name, clients, why):
    """Whether a row of Forebay's fails."""
    return bool(why) or bool(set(clients.failures) - LAWFUL.get(name, set()))


async def main():
    rows = {row.__name__: row for row in scenarios.ROWS}
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--only", help="some of: " + ",".join(rows))
    arguments.add_argument("--forebay-only", action="store_true", help="without nginx beside it")
    arguments.add_argument("--seed", type=int, default=random.randrange(1_000_000), help="of the random orders")
    given = arguments.parse_args()

    if why := engine.unreachable():
        print(f"e2e: SKIPPED, there is no Docker Engine: {why}")
        return 0
    kinds = [engine.Forebay] if given.forebay_only else [engine.Forebay, engine.Nginx]
    compose = engine.compose_command()
    engine.build_images(nginx=not given.forebay_only)
    print(f"e2e: {engine.RATE} requests a second, {' '.join(compose)}, seed {given.seed}", flush=True)

    failed = []
    table = []
    for name in given.only.split(",") if given.only else rows:
        cells = []
        for kind in kinds:
            if rows[name] is scenarios.shielded:
                if kind is engine.Nginx:
                    cells.append("")
                    continue
                kind = engine.Shield
            result = await play(rows[name], kind, compose, given.seed)
            if result[1]:
                # The engine's trouble, not the proxy's: it has a second chance.
                print(f"e2e: {name} is played once more", flush=True)
                result = await play(rows[name], kind, compose, given.seed)
            cells.append(cell(*result))
            if kind is not engine.Nginx and ill(name, *result):
                failed.append(name)
        table.append(f"| {rows[name].__doc__} | {' | '.join(cells)} |")

    print("\n| what happens | " + " | ".join(kind.name for kind in kinds) + " |")
    print("|---" * (len(kinds) + 1) + "|")
    print("\n".join(table))
    if failed:
        print(f"\ne2e: FAILED for Forebay: {', '.join(failed)}; the edges' logs are in {engine.OUT}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
