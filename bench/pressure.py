"""The table of pressure: what loads do to a server, and to somebody else who uses it.

Each load runs on a fresh server with its durable store; `bench.neighbor` publishes beside it.
Afterwards everything that was sent must be stored, once. A load that a server did not survive
is told in its row.
"""

import functools
import json
import re
import statistics
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace

from bench.loads import Load, generate, measure
from bench.peers import UNLIMITED, Peer, Running, bare
from bench.processes import peak_memory_bytes
from bench.report import Job, Rows, Table
from bench.rounds import take_turns
from bench.setting import Setting
from bench.weight import TIMES, weighed
from tests.tools.processes import descendants

_LOST = re.compile(r"NATS connection lost|connection is lost for good|Slow Consumer Detected")
_TIMEOUT_S = 300
_STORE = "file"


@dataclass(frozen=True)
class Pressed:
    """What a load did: a rate or a word on itself, bytes resident, and the neighbor's acks."""

    told: str
    rate: float
    resident: tuple[int, int]
    ack_us: tuple[float, float, float]


Press = Callable[[Setting, Running], tuple[str, float]]


def _flood(
    publishers: int, messages: int, size: int, setting: Setting, running: Running
) -> tuple[str, float]:
    flags = ("-np", str(publishers), "-ns", "0", "-ms", str(size), "-mpa", "16384")
    load = Load("flood", flags, messages, publishers)
    if not running.stores:
        generate(setting.generator, running, flags, messages)
        return "", 0.0
    return "", measure(load, messages, running, setting.generator).rate


def _press(*words: str) -> Press:
    def press(setting: Setting, running: Running) -> tuple[str, float]:
        refused = int(_run("bench.pressing", "--url", running.url, *words))
        return (f"{refused:,} refused" if refused else "taken"), 0.0

    return press


def _spread(channels: int) -> Press:
    def press(setting: Setting, running: Running) -> tuple[str, float]:
        words = ["--url", running.url, "--channels", str(channels), "--publishers", str(channels)]
        out = _run("bench.spread_load", *words, "--messages", str(_SPREAD_MESSAGES))
        return "", json.loads(out.splitlines()[-1])["messages_per_s"]

    return press


_SPREAD_MESSAGES = 100_000
PRESSES: dict[str, Press] = {
    "1 publisher, 300,000 of 1 KB": functools.partial(_flood, 1, 300_000, 1_000),
    "1 publisher, 40,000 of 10 KB": functools.partial(_flood, 1, 40_000, 10_000),
    "1 publisher, 6,000 of 100 KB": functools.partial(_flood, 1, 6_000, 100_000),
    "1 publisher, 300 of 1 MB": functools.partial(_flood, 1, 300, 1_000_000),
    "3 publishers, 600 of 1 MB each": functools.partial(_flood, 3, 1_800, 1_000_000),
    "10 publishers, 300,000 of 1 KB": functools.partial(_flood, 10, 300_000, 1_000),
    "4 publishers, 40,000 of 10 KB": functools.partial(_flood, 4, 40_000, 10_000),
    "4 publishers, 6,000 of 100 KB": functools.partial(_flood, 4, 6_000, 100_000),
    "150 connects, client IDs of 700 KB": _press("connects", "150", "700000"),
    "5,000 connects, client IDs of 2 KB": _press("connects", "5000", "2000"),
    "a client that stops reading, 30,000 messages": _press("deaf", "8"),
    "300,000 acks of nobody's": _press("acks", "300000"),
    "1,000 clients and channels": _spread(1_000),
    "10,000 clients and channels": _spread(10_000),
}


def tabulate_pressure(setting: Setting) -> Table:
    """The table, not measured yet."""
    legend = (
        "SQLite with full durability here, the FILE store with its defaults there. Publishers do "
        f"not wait for acks (load by {setting.generator_name}, a window of 16,384). Resident is "
        "the most that the server had, and behind the plus its NATS server, which the original "
        "embeds. Beside each load somebody publishes one message at a time: how long its acks "
        "took, in milliseconds, median / p99 / worst. `bare` is our server with an ack at once and "
        "nothing else: what of it is the way."
    )
    if setting.group is not None:
        legend += (
            f" Each server has {TIMES} times the weight of the load on the processors "
            "(`CPUWeight=`), but where it says without weight."
        )
    columns = ["load"]
    for peer in _peers(setting):
        if peer.stores:
            columns += [f"{peer.name}: messages/s", "resident, MB"]
    everybody = [*_peers(setting), *_peers_without_weight(setting)]
    columns += [f"a message of somebody else, {peer.name}" for peer in everybody]
    jobs = [
        Job(name, functools.partial(_measure, setting, name))
        for name in PRESSES
        if _STORE in setting.stores and setting.wants("pressure", _STORE, name)
    ]
    return Table("pressure", legend, columns, jobs)


def _plain_peers(setting: Setting) -> list[Peer]:
    """The quickest of ours, the bare one, and the original."""
    others = () if setting.other is None else (setting.other,)
    return [setting.ours[-1], bare(), *others]


def _peers(setting: Setting) -> list[Peer]:
    """These, with a weight if one can be given: all is told of those that store."""
    group = setting.group
    return [peer if group is None else weighed(peer, group) for peer in _plain_peers(setting)]


def _peers_without_weight(setting: Setting) -> list[Peer]:
    """Those that store once more, of which it is told only what somebody else waits."""
    if setting.group is None:
        return []
    return [
        replace(peer, name=f"{peer.name} without weight")
        for peer in _plain_peers(setting)
        if peer.stores
    ]


def _measure(setting: Setting, name: str) -> Rows:
    run = functools.partial(_run_once, setting, PRESSES[name])
    peers = _peers(setting)
    taken = take_turns([*peers, *_peers_without_weight(setting)], setting.repeat, run)
    cells = [name]
    for results in [taken[peer] for peer in peers if peer.stores]:
        told = next((result.told for result in results if result.told), "")
        rate = statistics.median(result.rate for result in results)
        resident = [
            max(each) for each in zip(*(result.resident for result in results), strict=True)
        ]
        cells.append(told or f"{rate:,.0f}")
        cells.append(" + ".join(f"{each / 1e6:,.0f}" for each in resident if each))
    for results in taken.values():
        medians = [
            statistics.median(each)
            for each in zip(*(result.ack_us for result in results), strict=True)
        ]
        cells.append(" / ".join(f"{median / 1000:,.1f}" for median in medians))
    return [cells]


def _run_once(setting: Setting, press: Press, peer: Peer) -> Pressed:
    with Running(peer, _STORE, {}, UNLIMITED) as running:
        command = [sys.executable, "-m", "bench.neighbor", "--url", running.url]
        pipe = subprocess.PIPE
        with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as beside:
            assert beside.stdout is not None
            beside.stdout.readline()  # it is ready, or it failed
            try:
                told, rate = press(setting, running)
            except (RuntimeError, OSError) as error:
                told, rate = f"fails: {str(error).rpartition(': ')[2]}", 0.0
            pid = running.process.pid
            children = sum(peak_memory_bytes(child) for child in descendants(pid))
            resident = peak_memory_bytes(pid), children
            out, err = beside.communicate("", _TIMEOUT_S)
        if beside.returncode:
            told = f"{told} neighbor: {err.strip().splitlines()[-1]}".strip()
            out = '{"ack_us": [0, 0, 0]}'
        if lost := _LOST.search(running.process.output):
            told = f"{told} {lost[0]}".strip()
        median, p99, worst = json.loads(out)["ack_us"]
        return Pressed(told, rate, resident, (median, p99, worst))


def _run(module: str, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", module, *words],
        input="\n",
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_S,
        check=False,
    )
    if done.returncode:
        raise RuntimeError((done.stderr.strip() or "no reason").splitlines()[-1])
    return done.stdout
