"""The table of hops: what a message that travels alone costs on its way, hop by hop.

The way from a publish to its ack, through the real server, through one that acks at once and
does nothing else (`bench.bare`), and through the original; and what the stages inside ours take
of it (`bench.stages`).
"""

import functools
import os
import statistics
import subprocess
import sys

from bench.cost import LEGEND, Cost, Meter, median_cost
from bench.loads import LOADS, generate, read_rate
from bench.peers import CHECKOUT, Peer, Running, bare
from bench.report import Job, Rows, Table
from bench.rounds import find_count, take_turns
from bench.setting import Setting
from bench.stages import STAGES

_ALONE = next(load for load in LOADS if load.name == "one at a time")
_MOST = 100_000
_MEANING = {
    "frame": "finding the message in the bytes that were read",
    "receive": "decoding, checking and queueing it",
    "seal": "sequence, time, and its bytes as subscribers get them",
    "commit": "keeping it in memory",
    "settle": "writing the ack, looking for who is to get it",
    "collect": "handing over what is to be sent, the next deadline",
}


def tabulate_hops(setting: Setting) -> Table:
    """The table, not measured yet."""
    legend = (
        "One message of 128 bytes at a time, in memory, load by "
        f"{setting.generator_name}. `bare` is our server's processes, sockets and event loop with "
        "an ack at once and nothing else. Stages are measured in a process that does nothing but "
        "this, so it finds its code and data in the processor's caches. " + LEGEND
    )
    columns = ["what", "us a message", "CPU us"]
    jobs = []
    if "memory" in setting.stores and setting.wants("hops", "memory", _ALONE.name):
        jobs.append(Job("the way", functools.partial(_measure_ways, setting)))
        jobs += [
            Job(f"stages, {peer.name}", functools.partial(_measure_stages, setting, peer))
            for peer in setting.ours
        ]
    return Table("hops", legend, columns, jobs)


def _measure_ways(setting: Setting) -> Rows:
    peers = (bare(), *setting.peers)
    run = functools.partial(_run_once, setting)

    def count(peer: Peer) -> int:
        return find_count(lambda tried: run(peer, tried)[0], _ALONE.first, setting.seconds, _MOST)

    counts = {peer: count(peer) for peer in peers}
    taken = take_turns(peers, setting.repeat, lambda peer: run(peer, counts[peer]))
    return [
        [
            f"from publish to ack, {peer.name}",
            f"{statistics.median(1e6 / rate for rate, _ in results):.0f}",
            str(median_cost([cost for _, cost in results])),
        ]
        for peer, results in taken.items()
    ]


def _run_once(setting: Setting, peer: Peer, messages: int) -> tuple[float, Cost]:
    with Running(peer, "memory", {}) as running:
        meter = Meter(running)
        output = generate(setting.generator, running, _ALONE.flags, messages)
        return read_rate(output, "Pub"), meter.read(messages)


def _measure_stages(setting: Setting, peer: Peer) -> Rows:
    """Each stage inside our server, the median of several processes."""
    took: dict[str, list[float]] = {name: [] for name in STAGES}
    for _ in range(setting.repeat):
        done = subprocess.run(
            [sys.executable, "-m", "bench.stages"],
            cwd=peer.folder,
            env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"the stages could not be measured: {done.stderr.strip()[-200:]}")
        for line in done.stdout.splitlines():
            name, _, took_us = line.partition("\t")
            took[name].append(float(took_us))
    medians = {name: statistics.median(each) for name, each in took.items()}
    rows = [
        [f"{peer.name}: {name}, {_MEANING[name]}", f"{median:.1f}", ""]
        for name, median in medians.items()
    ]
    return [*rows, [f"{peer.name}: all stages", f"{sum(medians.values()):.1f}", ""]]
