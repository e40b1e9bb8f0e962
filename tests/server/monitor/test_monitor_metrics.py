"""The page for Prometheus: names and labels of the old exporter, and what it lacked."""

import re
from collections import Counter
from collections.abc import Iterable

import pytest

from stan.engine.rows import Block, ChannelRow
from stan.engine.views import View
from stan.errors import StoreUnavailableError
from stan.server.histogram import Histogram
from stan.server.monitor.exposition import Exposition, label
from stan.server.monitor.message_ages import Ages
from stan.server.monitor.monitor import Monitor
from tests.server.monitor.conftest import Monitored
from tests.server.monitor.traffic import Traffic

_SAMPLE = re.compile(r"([a-z_]+)(?:\{(.*)\})? (-?[0-9.e+-]+)")
_LABEL = re.compile(r'([a-z_]+)="((?:[^"\\]|\\.)*)"')

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def parse(text: str) -> Samples:
    """All samples of a page; fails where a scraper would."""
    samples: Samples = {}
    kinds: dict[str, str] = {}
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert name not in kinds, f"{name} is declared twice"
            kinds[name] = kind
        elif not line.startswith("# HELP "):
            found = _SAMPLE.fullmatch(line)
            assert found is not None, line
            name, labels, value = found.groups()
            assert name in kinds or re.sub("_(bucket|sum|count)$", "", name) in kinds, name
            key = (name, frozenset(_LABEL.findall(labels or "")))
            assert key not in samples, f"{line} stands there twice"
            samples[key] = float(value)
    return samples


def value(samples: Samples, name: str, **labels: str) -> float:
    """The one sample of this name that has all these labels."""
    (found,) = [
        number
        for (one, some), number in samples.items()
        if one == name and frozenset(labels.items()) <= some
    ]
    return found


def total(samples: Samples, name: str) -> float:
    """The sum of all samples of this name."""
    return sum(number for (one, _), number in samples.items() if one == name)


class CrowdedView(View):
    """An engine as it looks with very many channels of seven messages each."""

    COUNT = 10_000

    def channel_names(self) -> list[str]:
        return sorted(self.channels_by_use())

    def channels_by_use(self) -> list[str]:
        return [f"crowd.{n:04}" for n in reversed(range(self.COUNT))]

    def block(self, names: Iterable[str]) -> Block:
        lasts = [(name, int(name[6:]) + 1) for name in names]
        rows = [ChannelRow(name, 700, 7, last, last - 6, last - 7) for name, last in lasts]
        return Block(rows, [], [])


async def scrape(played: Monitored) -> Samples:
    """One scrape."""
    answer = await played.get("metrics")
    assert answer.content_type == "text/plain; version=0.0.4; charset=utf-8"
    return parse(answer.body)


async def test_names_and_labels_of_the_exporter(played: Monitored) -> None:
    labels: dict[str, set[str]] = {}
    for name, some in await scrape(played):
        labels.setdefault(name, set()).update(key for key, _ in some)
    server = {"server_id"}
    for name in ("bytes_total", "msgs_total", "channels", "subscriptions", "clients", "active"):
        assert labels[f"nss_server_{name}"] == server
    info = {"cluster_id", "version", "go_version", "state", "role", "start_time"}
    assert labels["nss_server_info"] == server | info
    for name in ("bytes_total", "msgs_total", "last_seq"):
        assert labels[f"nss_chan_{name}"] == server | {"channel"}
    one = {"client_id", "inbox", "queue_name", "is_durable", "is_offline", "durable_name"}
    for name in ("last_sent", "pending_count", "max_inflight"):
        assert labels[f"nss_chan_subs_{name}"] == server | {"channel"} | one


async def test_values_after_the_traffic(played: Monitored) -> None:
    samples = await scrape(played)
    assert value(samples, "nss_server_msgs_total") == 15
    assert value(samples, "nss_server_in_msgs_total") == 21
    assert value(samples, "nss_server_refused_msgs_total") == 1
    assert value(samples, "nss_server_redelivered_msgs_total") == 3
    assert value(samples, "nss_chan_last_seq", channel="foo") == 10
    assert value(samples, "nss_chan_dropped_msgs_total", channel="foo") == 5
    group = {"channel": "zed", "queue_name": "group", "durable_name": "dur"}
    assert value(samples, "nss_chan_subs_pending_count", **group) == 2
    assert value(samples, "nss_chan_subs_stalled", inbox="_INBOX.alpha.stalled") == 1
    assert (
        value(samples, "nss_server_commit_seconds_count")
        == played.monitor._metrics._pump.commit_s.count
    )
    assert value(samples, "nss_server_batch_msgs_sum") == 20  # all that were not refused
    assert value(samples, "nss_server_cache_bytes") > 0
    assert value(samples, "process_resident_memory_bytes") > 1_000_000


async def test_consumers_lag_and_wait(played: Monitored) -> None:
    samples = await scrape(played)
    offline = {"channel": "foo", "durable_name": "closed", "client_id": "gamma"}
    assert value(samples, "nss_chan_consumer_lag_msgs", **offline) == 4
    assert value(samples, "nss_chan_consumer_members", **offline) == 0
    assert 0 < value(samples, "nss_chan_consumer_oldest_unacked_seconds", **offline) < 60
    idle = {"channel": "foo", "durable_name": "dur", "client_id": "beta"}
    assert value(samples, "nss_chan_consumer_lag_msgs", **idle) == 0
    assert value(samples, "nss_chan_consumer_oldest_unacked_seconds", **idle) == 0
    workers = {"channel": "bar.one", "queue_name": "workers", "durable_name": ""}
    assert value(samples, "nss_chan_consumer_members", **workers) == 2
    assert value(samples, "nss_chan_consumer_pending_msgs", **workers) == 2


async def test_every_consumer_has_one_series(played: Monitored) -> None:
    counts = Counter(name for name, _ in await scrape(played))
    consumers = [name for name in counts if name.startswith("nss_chan_consumer_")]
    assert len(consumers) == 7
    assert {counts[name] for name in consumers} == {6}


async def test_the_busiest_channels_are_listed_and_the_others_summed(
    played: Monitored, monkeypatch: pytest.MonkeyPatch
) -> None:
    everything = await scrape(played)
    assert value(everything, "nss_server_unlisted_channels") == 0
    monkeypatch.setattr(played.monitor._metrics, "_most_channels", 1)
    samples = await scrape(played)
    assert value(samples, "nss_server_unlisted_channels") == (
        value(samples, "nss_server_channels") - 1
    )
    listed = {dict(labels).get("channel") for name, labels in samples if "_chan_" in name}
    assert listed == {"foo", ""}
    for name in ("bytes_total", "msgs_total", "consumer_lag_msgs", "consumer_pending_msgs"):
        assert total(samples, f"nss_chan_{name}") == total(everything, f"nss_chan_{name}") > 0
    assert total(samples, "nss_chan_dropped_msgs_total") == 5


async def test_a_page_does_not_grow_with_ten_thousand_channels(played: Monitored) -> None:
    view = CrowdedView(played.engine)
    sizes = {}
    for most in (1000, 0):
        monitor = Monitor(
            *(played.monitor.identity, played.monitor._metrics._pump, played.store),
            lambda: True,
            most_channels=most,
        )
        monitor._metrics._view = view
        pieces = await monitor._metrics.page()
        samples = parse(b"".join(pieces).decode())
        sizes[most] = len(samples), len(b"".join(pieces))
        assert total(samples, "nss_chan_msgs_total") == 7 * view.COUNT
        if most:
            assert value(samples, "nss_chan_last_seq", channel="crowd.9999") == 10_000
            assert value(samples, "nss_server_unlisted_channels") == view.COUNT - most
    assert sizes[1000][0] < 5_200 < 50_000 < sizes[0][0]
    assert sizes[1000][1] < 1_000_000 < sizes[0][1]


async def test_age_is_read_from_the_store_once(played: Monitored) -> None:
    view = View(played.engine)
    ages = Ages(view, played.store)
    channel = view.channel("foo")
    assert channel is not None
    played.engine.cache.limit_bytes = 0
    played.engine.cache.evict()
    assert view.message_time_ns("foo", 8) == 0
    loads = []
    read = played.store.read_times
    key = (channel.channel_id, "foo", 8)

    async def counting(one):  # type: ignore[no-untyped-def]
        loads.append(one)
        return await read(one)

    played.store.read_times = counting  # type: ignore[method-assign]
    for _ in range(3):
        ages.begin()
        stored_ns = ages.known_ns(*key) or await ages.load_ns(*key)
        assert channel.first_timestamp_ns <= stored_ns <= channel.last_timestamp_ns
    assert len(loads) == 1


async def test_age_is_unknown_while_the_store_is_away(played: Monitored) -> None:
    class Away:
        async def read_times(self, _: object) -> None:
            raise StoreUnavailableError("gone")

    played.engine.cache.limit_bytes = 0
    played.engine.cache.evict()
    view = View(played.engine)
    channel = view.channel("foo")
    assert channel is not None
    ages = Ages(view, Away())  # type: ignore[arg-type]
    ages.begin()
    assert ages.known_ns(channel.channel_id, "foo", 8) == 0
    assert await ages.load_ns(channel.channel_id, "foo", 8) == 0


@pytest.mark.parametrize("text", ["plain", 'quo"te', "back\\slash", "new\nline", "é<>&"])
def test_labels_hold_any_text(text: str) -> None:
    (found,) = _LABEL.findall(label("name", text))
    assert found[1].encode("latin-1", "backslashreplace").decode("unicode_escape") == text


async def test_histograms_are_cumulative() -> None:
    histogram = Histogram((1, 2, 4))
    for number in (1, 2, 2, 3, 9):
        histogram.observe(number)
    page = Exposition()
    page.family("h", "histogram", "text").add_histogram('a="b"', histogram)
    text = b"".join(page.pieces()).decode()
    assert text.splitlines()[2:] == [
        'h_bucket{a="b",le="1"} 1',
        'h_bucket{a="b",le="2"} 3',
        'h_bucket{a="b",le="4"} 4',
        'h_bucket{a="b",le="+Inf"} 5',
        'h_sum{a="b"} 17.0',
        'h_count{a="b"} 5',
    ]


async def test_messages_lost_to_limits_are_counted_once(monitored: Monitored) -> None:
    async with Traffic(monitored.nats_url) as traffic:
        client = await traffic.client("me")
        await client.publish("foo", b"1")
        first = await client.subscribe("foo", durableName="d")
        await first.take(1, ack=True)
        await client.close_subscription(first)
        await client.publish_count("foo", 8, first=2)
        labels = {"channel": "foo", "durable_name": "d"}
        away = await scrape(monitored)
        assert value(away, "nss_chan_consumer_lost_msgs_total", **labels) == 3
        assert value(away, "nss_chan_consumer_lag_msgs", **labels) == 5
        second = await client.subscribe("foo", durableName="d")
        await second.take(5)
        back = await scrape(monitored)
        assert value(back, "nss_chan_consumer_lost_msgs_total", **labels) == 3
        assert value(back, "nss_chan_consumer_pending_msgs", **labels) == 5
        assert value(back, "nss_chan_consumer_lag_msgs", **labels) == 5


async def test_sends_without_a_connection_are_counted(monitored: Monitored) -> None:
    await monitored.transport.close()
    pump = monitored.monitor._metrics._pump
    monitored.engine.outbox.send(b"nobody", b"hears this")
    pump.receive([])
    assert value(await scrape(monitored), "nss_server_dropped_sends_total") == 1
