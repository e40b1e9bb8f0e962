"""The table of spread loads: many channels in turns, many clients, all peers beside each other.

What a server pays for each channel that a batch touches shows here, and nowhere else. The load
is `bench.spread_load`, a process of its own, since stan-bench knows one channel.
"""

import functools
import json
import subprocess
import sys
from dataclasses import dataclass

from bench.cost import LEGEND, Meter
from bench.peers import UNLIMITED, Peer, Running
from bench.rates import Result, compare_peers, tell_result
from bench.report import Job, Rows, Table
from bench.rounds import find_count
from bench.setting import MOST_MESSAGES, Setting

_FIRST = 5_000
_TIMEOUT_S = 300


@dataclass(frozen=True)
class Spread:
    """One kind of load."""

    channels: int
    subscribed: bool = False

    @property
    def name(self) -> str:
        if self.subscribed:
            return f"{self.channels:,} clients, each with its channel"
        return f"{self.channels:,} channels in turns"


SPREADS = (Spread(100), Spread(1_000), Spread(10_000), Spread(1_000, subscribed=True))


def tabulate_spread(setting: Setting) -> Table:
    """The table, not measured yet."""
    legend = (
        f"128-byte messages of ten publishers, in turns over all channels, 16,384 under way, about "
        f"{setting.seconds:g} s. Nobody subscribes, or each channel has a client of its own that "
        "subscribes and acknowledges. Every message was acked once and arrived once. A ratio "
        "above 1 is in our favor. " + LEGEND
    )
    return Table("spread", legend, setting.rate_columns, _jobs(setting))


def _jobs(setting: Setting) -> list[Job]:
    return [
        Job(f"{store}, {spread.name}", functools.partial(_measure, setting, store, spread))
        for store in setting.stores
        for spread in SPREADS
        if setting.wants("spread", store, spread.name)
    ]


def _measure(setting: Setting, store: str, spread: Spread) -> Rows:
    run = functools.partial(run_once, setting, store, spread)

    def count(peer: Peer) -> int:
        most = MOST_MESSAGES // 4
        return find_count(lambda tried: run(peer, tried).rate, _FIRST, setting.seconds, most)

    cells, _ = compare_peers(setting, count, run, tell_result)
    return [[store, spread.name, *cells]]


def run_once(setting: Setting, store: str, spread: Spread, peer: Peer, messages: int) -> Result:
    """Measure a load on a fresh server. Raises RuntimeError when messages were lost or doubled."""
    with Running(peer, store, setting.databases, UNLIMITED) as running:
        words = ["--url", running.url, "--channels", str(spread.channels)]
        words += ["--messages", str(messages), *(["--subscribed"] if spread.subscribed else [])]
        command = [sys.executable, "-m", "bench.spread_load", *words]
        pipe = subprocess.PIPE
        with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as load:
            assert load.stdout is not None
            load.stdout.readline()  # it is ready, or it failed
            meter = Meter(running)
            out, err = load.communicate("\n", _TIMEOUT_S)
        if load.returncode:
            raise RuntimeError(err.strip().splitlines()[-1])
        found = json.loads(out)
        cost = meter.read(messages * (1 + spread.subscribed), found["cpu_s"])
        return Result(found["messages_per_s"], cost)
