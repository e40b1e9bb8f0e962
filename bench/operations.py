"""What operations cost while messages flow: `python -m bench.operations`.

A server on a SQLite file with many channels, durables and clients. The open-loop load publishes and
receives at a fixed rate, each message acknowledged and delivered exactly once, or the run
fails; meanwhile every operation of the admin service is asked for, again and again. Prints how
long each took, and the load's latency beside that of a load left alone.
"""

import argparse
import asyncio
import base64
import itertools
import json
import math
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nats

import stan
from bench.capacity import serving
from bench.openloop import pick
from bench.seeding import CLUSTER, add_channels, add_durables, create

_PAYLOAD = base64.b64encode(b"from an operator").decode()
# As many messages of the loaded channel as a purge leaves: more than its subscriber is behind.
_KEPT = 100_000
# An operation a moment: people are slower.
_PAUSE_S = 0.01

Took = dict[str, list[float]]


def operations(number: int, channels: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every operation once; what they make, they take away again."""
    one = {"channel": f"c{number % channels + 1}"}
    durable = {
        **one,
        "client_id": f"client-{number % channels}",
        "durable": f"durable-{number % channels}",
    }
    made = {"channel": f"made.{number}"}
    yield "server.info", {}
    yield "server.limits", {}
    yield "server.config", {}
    yield "channel.list", {"sort": "bytes", "reverse": True, "limit": 50}
    yield "channel.list", {"filter": "99", "limit": 50}
    yield "channel.info", one
    yield "durable.list", {"limit": 50}
    yield "durable.list", {"stalled": True, "limit": 5}
    yield "durable.info", durable
    yield "client.list", {"limit": 50}
    yield "client.info", {"client_id": durable["client_id"]}
    yield "message.get", {"channel": "bench", "last": 50}
    yield "message.get", {**one, "sequence": 1, "count": 10}
    yield "channel.create", {**made, "limits": {"max_msgs": 5}}
    for _ in range(3):
        yield "message.publish", {**made, "data": _PAYLOAD}
    yield "message.delete", {**made, "sequence": 2}
    yield "channel.limits", {**made, "limits": {"max_msgs": 1}}
    yield "channel.delete", made
    yield "durable.move", {**durable, "to": "first"}
    yield "durable.move", {**durable, "to": "new"}
    yield "durable.delete", {**durable, "force": True, "dry_run": True}
    yield "client.disconnect", {"client_id": durable["client_id"], "dry_run": True}
    yield "channel.purge", {"channel": "bench", "keep": _KEPT}


async def ask_on(url: str, channels: int, numbers: Iterator[int], ending: asyncio.Event) -> Took:
    """Ask for one after the other until the end; how many milliseconds each took."""
    client = await nats.connect(url)
    admin = stan.admin(client, CLUSTER)
    took: Took = {}
    for number in numbers:
        for endpoint, fields in operations(number, channels):
            if ending.is_set():
                await client.close()
                return took
            if endpoint == "channel.purge":
                held = (await admin.channel("bench")).messages if number else 0
                if held <= _KEPT:
                    continue
            began_s = time.perf_counter()
            await admin.send(endpoint, fields)
            name = endpoint
            if endpoint.endswith(".list"):
                name = " ".join([endpoint, *(f"{key}={one}" for key, one in fields.items())])
            took.setdefault(name, []).append((time.perf_counter() - began_s) * 1000)
            await asyncio.sleep(_PAUSE_S)
    raise AssertionError


async def load(url: str, rate: int, seconds: float) -> dict[str, Any]:
    """Publish and receive at this rate. Raises SystemExit when a message was lost or doubled."""
    words = ("--url", url, "--cluster", CLUSTER, "--rate", str(rate), "--seconds", str(seconds))
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.openloop", *words, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    if process.returncode:
        raise SystemExit("the load failed")
    found: dict[str, Any] = json.loads(output)
    return found


async def measure(url: str, channels: int, rate: int, seconds: float, rounds: int) -> None:
    """Take turns: the load alone, and with operations beside."""
    took: Took = {}
    loads: dict[str, list[dict[str, Any]]] = {"alone": [], "beside operations": []}
    numbers = itertools.count()  # over all rounds: the end of one may leave a channel behind
    for _ in range(rounds):
        loads["alone"].append(await load(url, rate, seconds))
        ending = asyncio.Event()
        asking = asyncio.create_task(ask_on(url, channels, numbers, ending))
        loads["beside operations"].append(await load(url, rate, seconds))
        ending.set()
        for endpoint, some in (await asking).items():
            took.setdefault(endpoint, []).extend(some)
    print("operation: times, ms p50 / p99 / worst")
    for endpoint, some in took.items():
        ordered = sorted(round(one * 1000) for one in some)
        shown = [pick(ordered, part) / 1000 for part in (0.5, 0.99, 1.0)]
        print(f"{endpoint:45} {len(some):6}  " + " / ".join(f"{one:.1f}" for one in shown))
    for name, found in loads.items():
        for what in ("ack_us", "delivery_us"):
            medians = [
                statistics.median(column) for column in zip(*(f[what] for f in found), strict=True)
            ]
            text = " / ".join(f"{math.floor(one):,}" for one in medians)
            print(f"{what.removesuffix('_us'):9} {name:18} p50 / p99 / p99.9 us: {text}")


def main(argv: list[str]) -> int:
    """Run the command. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.operations", description=__doc__)
    for name, number in (
        ("channels", 10_000), ("durables", 10_000), ("clients", 5_000), ("rate", 50_000),
        ("rounds", 3),
    ):  # fmt: skip
        parser.add_argument(f"--{name}", type=int, default=number)
    parser.add_argument("--seconds", type=float, default=10.0)
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="stan-operations-") as folder:
        path = Path(folder) / "stan.db"
        create(path)
        add_channels(path, options.channels, 3, 100)
        add_durables(path, options.channels, options.durables, options.clients, last_sent=1)
        with serving(path, "-admin", "full") as (url, _, _):
            work = measure(url, options.channels, options.rate, options.seconds, options.rounds)
            asyncio.run(work)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
