"""The table of clients: our asyncio client on our server, nats-py's JetStream on NATS alone.

Both clients run on the same Python with uvloop, both servers with the same NATS server
program. What is compared is what somebody gets who writes asyncio code.
"""

import asyncio
import functools
import json
import subprocess
import sys
from dataclasses import dataclass

from bench.client_load import CHANNEL, MAX_IN_FLIGHT
from bench.cost import Meter
from bench.jetstream import RunningJetStream
from bench.loads import last_sequence
from bench.peers import Running
from bench.rates import Result, measure_each, tell_counts, tell_result
from bench.report import Job, Rows, Table
from bench.rounds import tell_ratio
from bench.setting import Setting

_TIMEOUT_S = 600


@dataclass(frozen=True)
class Work:
    """What our client does, and what nats-py's does. `stored` is published before."""

    name: str
    ours: str
    theirs: str
    first: int
    stored: bool = False


WORKS = (
    Work("publish ahead", "publish-stan", "publish-jetstream", 5_000),
    Work("publish one at a time", "publish-stan-in-turn", "publish-jetstream-in-turn", 200),
    Work("receive (push, callback)", "receive-stan", "receive-jetstream", 5_000, True),
    Work("receive (pull, fetch)", "receive-stan", "fetch-jetstream", 5_000, True),
)


@dataclass(frozen=True)
class Side:
    """One of the two that are compared. `syncs` matters to JetStream only."""

    is_ours: bool
    store: str
    syncs: bool = False


def tabulate_clients(setting: Setting) -> Table:
    """The table, not measured yet."""
    legend = (
        f"Our client and server ({setting.ours[0].name}) beside nats-py's JetStream, 128-byte "
        f"messages for about {setting.seconds:g} s, {MAX_IN_FLIGHT:,} in flight. Receiving is of "
        "what is stored, each message acked, nats-py's by a push consumer with a callback or by "
        'fetching 500 at a time; ours is the same in both rows. "file" is SQLite, synced before '
        'the ack, beside file storage, which NATS syncs every two minutes; with "synced" NATS '
        "does it before the ack, too. A ratio above 1 is in our favor. CPU: of the server, + its "
        "NATS server, and behind the slash the client. Go's client is in the first table."
    )
    columns = ["store", "work", "ours, msg/s", "CPU us", "nats-py, msg/s", "CPU us", "ratio"]
    return Table("clients", legend, [*columns, "messages"], _jobs(setting))


def _jobs(setting: Setting) -> list[Job]:
    jobs = []
    for store, syncs in (("memory", False), ("file", False), ("file", True)):
        label = f"{store}, synced" if syncs else store
        sides = (Side(True, store), Side(False, store, syncs))
        for work in WORKS:
            # Reading does not sync.
            wanted = store in setting.stores and not (syncs and work.stored)
            if wanted and setting.wants("clients", label, work.name):
                measure = functools.partial(_measure, setting, work, label, sides)
                jobs.append(Job(f"{label}, {work.name}", measure))
    return jobs


def _measure(setting: Setting, work: Work, label: str, sides: tuple[Side, Side]) -> Rows:
    run = functools.partial(_run_once, setting, work)
    counts, taken = measure_each(setting, sides, run, work.first)
    ours, theirs = ([result.rate for result in results] for results in taken.values())
    cells = [cell for results in taken.values() for cell in tell_result(results)]
    cells += [tell_ratio(ours, theirs), tell_counts(counts.values())]
    return [[label, work.name, *cells]]


def _run_once(setting: Setting, work: Work, side: Side, messages: int) -> Result:
    if side.is_ours:
        with Running(setting.ours[0], side.store, {}) as ours:
            return _measure_on(ours, work.ours, "publish-stan" if work.stored else "", messages)
    with RunningJetStream(side.store == "memory", side.syncs) as theirs:
        fill = "publish-jetstream" if work.stored else ""
        return _measure_on(theirs, work.theirs, fill, messages)


def _measure_on(running: Running | RunningJetStream, work: str, fill: str, messages: int) -> Result:
    if fill:
        _work(fill, running.url, messages)
    meter = Meter(running)
    seconds, cpu_s = _work(work, running.url, messages)
    cost = meter.read(messages, cpu_s)
    if isinstance(running, RunningJetStream):
        stored = running.count()
    else:
        stored = asyncio.run(last_sequence(running.url, CHANNEL))
    if stored != messages:
        raise RuntimeError(f"{work}: {stored} messages stored, not {messages}")
    return Result(messages / seconds, cost)


def _work(work: str, url: str, messages: int) -> tuple[float, float]:
    """Have a process do it; the seconds it took, and those of its CPU."""
    command = [sys.executable, "-m", "bench.client_load", work, url, str(messages)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    if done.returncode:
        raise RuntimeError(f"{work} failed: {done.stderr.strip()}")
    found = json.loads(done.stdout)
    return float(found["seconds"]), float(found["cpu_s"])
