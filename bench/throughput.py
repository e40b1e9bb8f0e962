"""The table of throughput: each kind of work on each store, all peers beside each other.

How many messages a load has is found for each peer by trying, so that every load lasts
about as long; the table says how many they were.
"""

import functools
from collections.abc import Sequence

from bench.cost import LEGEND
from bench.loads import LOADS, ONE_TO_ONE, SIZES, Load, Measurement, measure, median_measurement
from bench.peers import Peer, Running
from bench.rates import compare_peers
from bench.report import Job, Rows, Table
from bench.rounds import find_count
from bench.setting import MOST_MESSAGES, Setting


def tabulate_throughput(setting: Setting) -> Table:
    """The table, not measured yet."""
    return _tabulate(setting, "throughput", LOADS, "")


def tabulate_sizes(setting: Setting) -> Table:
    """The table of payloads of other sizes, not measured yet."""
    about = "One publisher and one subscriber, of payloads of these sizes. "
    return _tabulate(setting, "sizes", SIZES, about)


def _tabulate(setting: Setting, name: str, loads: tuple[Load, ...], about: str) -> Table:
    legend = (
        f"{about}Load by {setting.generator_name}. Each lasts about {setting.seconds:g} s, with as "
        f"many messages as that takes (at most {MOST_MESSAGES:,}), in the last column for each. A "
        "ratio above 1 is in our favor. " + LEGEND
    )
    return Table(name, legend, setting.rate_columns, _jobs(setting, name, loads))


def sustain(setting: Setting, store: str, peer: Peer, load: Load = ONE_TO_ONE) -> int:
    """How many messages of this load last as long as the setting wants."""
    run = functools.partial(run_once, setting, store, load, peer)
    return find_count(
        lambda messages: run(messages).rate, load.first, setting.seconds, MOST_MESSAGES
    )


def run_once(setting: Setting, store: str, load: Load, peer: Peer, messages: int) -> Measurement:
    """Measure a load on a fresh server."""
    with Running(peer, store, setting.databases) as running:
        return measure(load, messages, running, setting.generator)


def _jobs(setting: Setting, table: str, loads: tuple[Load, ...]) -> list[Job]:
    return [
        Job(f"{store}, {load.name}", functools.partial(_measure, setting, store, load))
        for store in setting.stores
        for load in loads
        if setting.wants(table, store, load.name)
    ]


def _measure(setting: Setting, store: str, load: Load) -> Rows:
    cells, taken = compare_peers(
        setting,
        lambda peer: sustain(setting, store, peer, load),
        functools.partial(run_once, setting, store, load),
        _tell,
    )
    if load is ONE_TO_ONE:
        for peer, measurements in taken.items():
            setting.sustained[store, peer] = median_measurement(measurements).published_per_s
    return [[store, load.name, *cells]]


def _tell(measurements: Sequence[Measurement]) -> list[str]:
    median = median_measurement(measurements)
    return [_text(median), str(median.cost)]


def _text(measurement: Measurement) -> str:
    if measurement.published_per_s and measurement.received_per_s:
        return f"{measurement.published_per_s:,.0f} in, {measurement.received_per_s:,.0f} out"
    return f"{measurement.rate:,.0f}"
