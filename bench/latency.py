"""The table of latency: how long a publish waits for its ack, and a subscriber for a message.

All peers get the same rate: half of what the slowest of them sustains on that store, or
a rate given on the command line, and a low one at which the server has time for each.
"""

import functools
import json
import statistics
import subprocess
import sys
from dataclasses import dataclass

from bench.cost import LEGEND, Cost, Meter, median_cost
from bench.loads import ONE_TO_ONE
from bench.peers import Peer, Running
from bench.report import Job, Rows, Table
from bench.rounds import round_count, take_turns, tell_ratio
from bench.setting import Setting
from bench.throughput import run_once, sustain

IDLE_RATE = 200
_HALF, _IDLE = "half load", "idle"
_SLACK_S = 60  # for connecting, and for answers that are late


@dataclass(frozen=True)
class Latency:
    """One run: p50, p99 and p99.9 in microseconds, and the sender's own lateness (p99)."""

    ack_us: tuple[float, ...]
    delivery_us: tuple[float, ...]
    lag_us: float
    cost: Cost


def tabulate_latency(setting: Setting) -> Table:
    """The table, not measured yet."""
    columns = ["store", "load", "time from publish to"]
    for peer in setting.peers:
        columns += [f"{peer.name}: p50 / p99 / p99.9, us", "sender late, us", "CPU us"]
    if setting.other is not None:
        columns += [f"ratio of p50, p99, {peer.name}" for peer in setting.ours]
    seconds = setting.latency_seconds
    legend = (
        "128-byte messages at a fixed rate, the same for all (above 4,000 a second in bursts, that "
        f"many a second), {seconds:g} s at half load and {2 * seconds:g} s idle, after one second "
        "that does not count. Half load is half of what the slowest sustains with one publisher "
        "and one subscriber. Times count from when a message was due; how late its sender sent it "
        "(p99) is included and stands beside. A ratio below 1 is in our favor. " + LEGEND
    )
    return Table("latency", legend, columns, _jobs(setting))


def _jobs(setting: Setting) -> list[Job]:
    return [
        Job(f"{store}, {load}", functools.partial(_measure, setting, store, load))
        for store in setting.stores
        for load in (_HALF, _IDLE)
        if setting.wants("latency", store, load)
    ]


def _measure(setting: Setting, store: str, load: str) -> Rows:
    rate = half_rate(setting, store) if load == _HALF else IDLE_RATE
    seconds = setting.latency_seconds * (1 if load == _HALF else 2)
    run = functools.partial(_run_once, setting, store, rate, seconds)
    taken = take_turns(setting.peers, setting.repeat, run)
    name = f"{load}, {rate:,}/s"
    return [_row(setting, store, name, until, taken) for until in ("ack", "delivery")]


def half_rate(setting: Setting, store: str) -> int:
    """Half of what the slowest peer sustains, in messages a second."""
    if setting.rate:
        return setting.rate
    for peer in setting.peers:
        if (store, peer) not in setting.sustained:
            count = sustain(setting, store, peer)
            rate = run_once(setting, store, ONE_TO_ONE, peer, count).published_per_s
            setting.sustained[store, peer] = rate
    return round_count(min(setting.sustained[store, peer] for peer in setting.peers) / 2)


def _run_once(setting: Setting, store: str, rate: int, seconds: float, peer: Peer) -> Latency:
    with Running(peer, store, setting.databases) as running:
        meter = Meter(running)
        command = [sys.executable, "-m", "bench.openloop", "--url", running.url]
        done = subprocess.run(
            [*command, "--rate", str(rate), "--seconds", str(seconds)],
            capture_output=True,
            text=True,
            timeout=seconds + _SLACK_S,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"latency of {peer.name}, {rate}/s: {done.stderr.strip()}")
        found = json.loads(done.stdout)
        cost = meter.read(2 * found["messages"], found["cpu_s"])
    return Latency(tuple(found["ack_us"]), tuple(found["delivery_us"]), found["lag_us"], cost)


def _row(
    setting: Setting, store: str, load: str, until: str, taken: dict[Peer, list[Latency]]
) -> list[str]:
    cells = [store, load, until]
    for latencies in taken.values():
        each = [_times(latency, until) for latency in latencies]
        medians = [statistics.median(column) for column in zip(*each, strict=True)]
        cells += [
            " / ".join(f"{median:,.0f}" for median in medians),
            f"{statistics.median(latency.lag_us for latency in latencies):,.0f}",
            str(median_cost([latency.cost for latency in latencies])),
        ]
    if setting.other is not None:
        theirs = [_times(latency, until) for latency in taken[setting.other]]
        for peer in setting.ours:
            ours = [_times(latency, until) for latency in taken[peer]]
            cells.append(
                ", ".join(
                    tell_ratio([one[part] for one in ours], [one[part] for one in theirs])
                    for part in (0, 1)
                )
            )
    return cells


def _times(latency: Latency, until: str) -> tuple[float, ...]:
    return latency.ack_us if until == "ack" else latency.delivery_us
