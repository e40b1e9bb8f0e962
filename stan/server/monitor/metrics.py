"""What is measured for Prometheus, under the names and labels that dashboards already use.

The `nss_*` names of server, channels and subscriptions are those of the old exporter;
`nss_chan_consumer_*` is what it lacked, one series per durable or queue group. Everything
comes from views and counters; a page is made in slices, so no scrape keeps the pump waiting.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Protocol

from stan.engine.rows import ChannelRow, ConsumerRow, SubscriptionRow, Totals
from stan.engine.views import View
from stan.server.banner import is_compiled
from stan.server.complaints import Complaints
from stan.server.monitor import process
from stan.server.monitor.exposition import Exposition, Family, label
from stan.server.monitor.gojson import Slices
from stan.server.monitor.identity import Identity
from stan.server.monitor.message_ages import Ages
from stan.server.pump import Pump
from stan.server.standby import Standby
from stan.store.contract import Store
from stan.units import SECOND_NS

_CHANNEL = (
    ("bytes_total", "gauge", "Bytes stored now"),
    ("msgs_total", "gauge", "Messages stored now"),
    ("last_seq", "gauge", "The last sequence given"),
    ("first_seq", "gauge", "The first sequence kept"),
    ("dropped_msgs_total", "counter", "Messages removed by limits or age"),
)
_SUBSCRIPTION = (
    ("subs_last_sent", "gauge", "The last sequence sent"),
    ("subs_pending_count", "gauge", "Messages sent and not acknowledged"),
    ("subs_max_inflight", "gauge", "The most messages sent and not acknowledged"),
    ("subs_stalled", "gauge", "Whether it must acknowledge, or read, before it gets more"),
    ("subs_undeliverable_msgs", "gauge", "Messages that stop it: NATS carries none so large"),
)
_CONSUMER = (
    ("consumer_lag_msgs", "gauge", "Messages not acknowledged, sent or not"),
    ("consumer_pending_msgs", "gauge", "Messages sent and not acknowledged"),
    ("consumer_members", "gauge", "Subscriptions at work; 0 when offline"),
    ("consumer_stalled", "gauge", "Whether nobody can take another message"),
    ("consumer_redelivered_msgs_total", "counter", "Messages sent again since the start"),
    ("consumer_lost_msgs_total", "counter", "Messages dropped by limits before they were sent"),
)
_AGE = (
    (
        "consumer_oldest_unacked_seconds",
        "gauge",
        "Age of the oldest message not acknowledged, sent or not; 0 when there is none",
    ),
)
# Of the channels that have no series of their own; gauges only, since a sum from which a channel
# goes would look like a counter that began anew.
_SUMMED = ("bytes_total", "msgs_total", "consumer_lag_msgs", "consumer_pending_msgs")
_BLOCK_CHANNELS = 64
_MOST_LABELS = 65_536


class Group(Protocol):
    """What a member of a group of servers is measured by."""

    takeovers: int
    standby: Standby


class Metrics:
    """Makes pages of metrics, one at a time."""

    def __init__(
        self,
        identity: Identity,
        view: View,
        pump: Pump,
        store: Store,
        clock: Callable[[], int] = time.time_ns,
        most_channels: int = 0,
        group: Group | None = None,
        complaints: Complaints | None = None,
    ) -> None:
        self._most_channels = most_channels
        self._group = group
        self._complaints = complaints
        self._identity = identity
        self._pump = pump
        self._view = view
        self._ages = Ages(self._view, store)
        self._clock = clock
        self._one_at_a_time = asyncio.Lock()

    async def page(self) -> list[bytes]:
        """All metrics, as text in pieces."""
        async with self._one_at_a_time:
            exposition, slices = Exposition(), Slices()
            totals = self._view.totals()
            self._server(exposition, totals)
            self._traffic(exposition, totals)
            if self._complaints is not None:
                self._losses(exposition, self._complaints)
            if self._group is not None:
                self._standby(exposition, self._group)
            self._process(exposition)
            await slices.pause()
            await self._channels(exposition, slices)
            return exposition.pieces()

    # The server.

    def _server(self, page: Exposition, totals: Totals) -> None:
        identity = self._identity
        server = label("server_id", identity.server_id)
        page.gauge("nss_server_info", "Always 1; the labels tell", identity.labels(), 1)
        page.gauge(
            "nss_server_active",
            "Whether this server serves clients",
            server,
            int(identity.is_active),
        )
        page.gauge(
            "nss_server_compiled", "Whether the engine is compiled to C", server, int(is_compiled())
        )
        for name, text, value in (
            ("bytes_total", "Bytes stored now", totals.stored_bytes),
            ("msgs_total", "Messages stored now", totals.messages),
            ("channels", "Channels", totals.channels),
            ("subscriptions", "Subscriptions, offline durables included", totals.subscriptions),
            ("clients", "Registered clients", totals.clients),
        ):
            page.gauge(f"nss_server_{name}", text, server, value)
        for name, text, value in (
            ("in_msgs_total", "Publish requests received", totals.in_messages),
            ("in_bytes_total", "Bytes of publish requests received", totals.in_bytes),
            ("out_msgs_total", "Messages sent, again or first", totals.out_messages),
            ("out_bytes_total", "Bytes of messages sent", totals.out_bytes),
        ):
            page.counter(f"nss_server_{name}", text, server, value)

    def _traffic(self, page: Exposition, totals: Totals) -> None:
        pump = self._pump
        relaying = pump.engine.batches.relaying
        server = label("server_id", self._identity.server_id)
        for name, text, value in (
            ("redelivered_msgs_total", "Messages sent again", totals.redelivered),
            ("refused_msgs_total", "Publish requests refused", totals.refused),
            (
                "dropped_sends_total",
                "Pieces of output dropped for want of a NATS connection",
                pump.dropped_sends,
            ),
            ("outbox_msgs_total", "Rows of the outbox that became messages", relaying.relayed),
            ("outbox_duplicates_total", "Rows known by their msg_id", relaying.duplicates),
            ("outbox_parked_total", "Rows that cannot be published", relaying.parked),
        ):
            page.counter(f"nss_server_{name}", text, server, value)
        for name, text, value in (
            ("queued_msgs", "Messages waiting for a commit", totals.queued_messages),
            ("queued_bytes", "Bytes waiting for a commit", totals.queued_bytes),
            ("held_msgs", "Messages waiting outside the queue", pump.intake.held_messages),
            ("held_bytes", "Bytes waiting outside the queue", pump.intake.held_bytes),
            ("cache_bytes", "Bytes of messages held for delivery", totals.cache_bytes),
            ("cache_limit_bytes", "What cache_bytes may grow to", totals.cache_limit_bytes),
        ):
            page.gauge(f"nss_server_{name}", text, server, value)
        page.family(
            "nss_server_commit_seconds", "histogram", "How long each commit took"
        ).add_histogram(server, pump.commit_s)
        page.family(
            "nss_server_batch_msgs", "histogram", "Messages stored by each commit that had any"
        ).add_histogram(server, pump.batch_messages)

    def _losses(self, page: Exposition, complaints: Complaints) -> None:
        server = label("server_id", self._identity.server_id)
        for name, text, value in (
            ("losses_total", "Losses of the NATS connection", complaints.losses),
            (
                "slow_losses_total",
                "How often NATS cut us off, as is known or likely, since we read too slowly",
                complaints.slow_losses,
            ),
        ):
            page.counter(f"nss_server_nats_{name}", text, server, value)

    def _standby(self, page: Exposition, group: Group) -> None:
        server, standby = label("server_id", self._identity.server_id), group.standby
        for name, text, value in (
            ("takeovers_total", "How often this server began to serve", group.takeovers),
            (
                "dropped_msgs_total",
                "What clients sent and this standby had no room for",
                standby.dropped_frames,
            ),
        ):
            page.counter(f"nss_ft_{name}", text, server, value)
        for name, text, value in (
            ("standby", "Whether this server stands by", int(not self._identity.is_active)),
            ("held_msgs", "What clients sent lately, held", standby.held_frames),
            ("held_bytes", "Memory that it takes", standby.held_bytes),
        ):
            page.gauge(f"nss_ft_{name}", text, server, value)

    def _process(self, page: Exposition) -> None:
        for name, text, value in (
            ("resident_memory_bytes", "Resident memory", process.resident_bytes()),
            ("open_fds", "Open file descriptors", process.count_open_files()),
            ("max_fds", "The most file descriptors", process.max_open_files()),
            ("start_time_seconds", "Start since the epoch", self._identity.start_ns / SECOND_NS),
        ):
            page.gauge(f"process_{name}", text, "", value)
        page.counter("process_cpu_seconds_total", "Processor time", "", process.cpu_s())

    # Channels.

    async def _channels(self, page: Exposition, slices: Slices) -> None:
        channels, subscriptions, consumers, (age,) = (
            [page.family(f"nss_chan_{name}", kind, text) for name, kind, text in metrics]
            for metrics in (_CHANNEL, _SUBSCRIPTION, _CONSUMER, _AGE)
        )
        server = label("server_id", self._identity.server_id)
        names, others = self._choose_channels()
        page.gauge(
            "nss_server_unlisted_channels",
            "Channels without series of their own",
            server,
            len(others),
        )
        if others:
            families = {family.name: family for family in (*channels, *consumers)}
            sums = await self._sum_up(others, slices)
            for name, value in zip(_SUMMED, sums, strict=True):
                families[f"nss_chan_{name}"].add(f'{server},channel=""', value)
        self._ages.begin()
        for start in range(0, len(names), _BLOCK_CHANNELS):
            block = self._view.block(names[start : start + _BLOCK_CHANNELS])
            add_channels(channels, server, block.channels)
            add_subscriptions(subscriptions, server, block.subscriptions)
            labels = add_consumers(consumers, server, block.consumers)
            await self._add_ages(age, labels, block.consumers, slices)
            await slices.pause()

    def _choose_channels(self) -> tuple[list[str], list[str]]:
        """The channels that are listed, in byte order, and the others."""
        most = self._most_channels
        names = self._view.channel_names()
        if not most or len(names) <= most:
            return names, []
        by_use = self._view.channels_by_use()
        return sorted(by_use[:most]), by_use[most:]

    async def _sum_up(self, names: list[str], slices: Slices) -> tuple[int, int, int, int]:
        """What _SUMMED says, of all these channels together."""
        stored_bytes = messages = lag = pending = 0
        for start in range(0, len(names), _BLOCK_CHANNELS):
            block = self._view.block(names[start : start + _BLOCK_CHANNELS])
            stored_bytes += sum(row.stored_bytes for row in block.channels)
            messages += sum(row.messages for row in block.channels)
            lag += sum(row.lag for row in block.consumers)
            pending += sum(row.pending for row in block.consumers)
            await slices.pause()
        return stored_bytes, messages, lag, pending

    async def _add_ages(
        self,
        age: Family,
        labels: Sequence[str],
        consumers: Sequence[ConsumerRow],
        slices: Slices,
    ) -> None:
        """How long each consumer's oldest message has waited; nothing where it is unknown."""
        known, waits_s = [], []
        ages, now_ns = self._ages, self._clock()
        for some, row in zip(labels, consumers, strict=True):
            sequence, channel_id = row.oldest_sequence, row.channel_id
            wait_ns = 0
            if sequence:
                stored_ns = row.oldest_stored_ns
                if not stored_ns:
                    stored_ns = ages.known_ns(channel_id, row.channel, sequence)
                if not stored_ns:
                    stored_ns = await ages.load_ns(channel_id, row.channel, sequence)
                    await slices.pause()
                if not stored_ns:
                    continue
                wait_ns = max(0, now_ns - stored_ns)
            known.append(some)
            waits_s.append(wait_ns / SECOND_NS)
        age.add_many(known, waits_s)


# Very many samples: made column by column, so that little is done for each of them.


def add_channels(families: Sequence[Family], server: str, rows: Sequence[ChannelRow]) -> None:
    """A sample of each channel metric for each of these."""
    labels = [channel_labels(server, row.name) for row in rows]
    numbers = (
        [row.stored_bytes for row in rows],
        [row.messages for row in rows],
        [row.last for row in rows],
        [row.first for row in rows],
        [row.dropped for row in rows],
    )
    _add(families, labels, numbers)


def add_subscriptions(
    families: Sequence[Family], server: str, rows: Sequence[SubscriptionRow]
) -> None:
    """A sample of each subscription metric for each of these."""
    labels = [
        subscription_labels(
            server,
            row.channel,
            row.client_id,
            row.inbox,
            row.queue_name,
            row.durable_name,
            row.is_durable,
            row.is_offline,
        )
        for row in rows
    ]
    numbers = (
        [row.last_sent for row in rows],
        [row.pending for row in rows],
        [row.max_in_flight for row in rows],
        [int(row.is_stalled) for row in rows],
        [row.undeliverable for row in rows],
    )
    _add(families, labels, numbers)


def add_consumers(
    families: Sequence[Family], server: str, rows: Sequence[ConsumerRow]
) -> list[str]:
    """A sample of each consumer metric for each of these. Returns the labels of each."""
    labels = [
        consumer_labels(
            server,
            row.channel,
            row.client_id,
            row.queue_name,
            row.durable_name,
            row.is_durable,
        )
        for row in rows
    ]
    numbers = (
        [row.lag for row in rows],
        [row.pending for row in rows],
        [row.members for row in rows],
        [int(row.is_stalled) for row in rows],
        [row.redelivered for row in rows],
        [row.lost for row in rows],
    )
    _add(families, labels, numbers)
    return labels


def _add(
    families: Sequence[Family], labels: Sequence[str], columns: Sequence[Iterable[float]]
) -> None:
    for family, column in zip(families, columns, strict=True):
        family.add_many(labels, column)


# Labels seldom change and are longer than all else: those used lately are kept.


@lru_cache(maxsize=_MOST_LABELS)
def channel_labels(server: str, channel: str) -> str:
    """The labels of a channel."""
    return _labels(server, channel=channel)


@lru_cache(maxsize=_MOST_LABELS)
def subscription_labels(
    server: str,
    channel: str,
    client_id: str,
    inbox: str,
    queue_name: str,
    durable_name: str,
    is_durable: bool,
    is_offline: bool,
) -> str:
    """The labels of a subscription, as the old exporter gave them."""
    durable, queue = split_names(durable_name, queue_name, is_durable)
    return _labels(
        server,
        channel=channel,
        client_id=client_id,
        inbox=inbox,
        queue_name=queue,
        is_durable=str(is_durable).lower(),
        is_offline=str(is_offline).lower(),
        durable_name=durable,
    )


@lru_cache(maxsize=_MOST_LABELS)
def consumer_labels(
    server: str,
    channel: str,
    client_id: str,
    queue_name: str,
    durable_name: str,
    is_durable: bool,
) -> str:
    """The labels of a durable or a queue group."""
    durable, queue = split_names(durable_name, queue_name, is_durable)
    return _labels(
        server, channel=channel, client_id=client_id, queue_name=queue, durable_name=durable
    )


def split_names(durable_name: str, queue_name: str, is_durable: bool) -> tuple[str, str]:
    """Durable and queue name apart: a durable group is known as "durable:group"."""
    if is_durable and queue_name:
        durable_name, _, queue_name = queue_name.partition(":")
    return durable_name, queue_name


def _labels(server: str, **values: str) -> str:
    return f"{{{','.join((server, *map(label, values.keys(), values.values())))}}}"
