"""What is measured for Prometheus, under the names and labels that dashboards already use.

The `nss_*` names of server, channels and subscriptions are those of the old exporter;
`nss_chan_consumer_*` is what it lacked, one series per durable or queue group. Everything
comes from views and counters; a page is made in slices, so no scrape keeps the pump waiting.
"""

import asyncio
import time
from collections.abc import Callable

from stan.engine.engine import Engine
from stan.engine.views import ChannelView, ConsumerView, SubscriptionView, View
from stan.server import process
from stan.server.ages import Ages
from stan.server.exposition import Exposition, add_row, label
from stan.server.gojson import Slices
from stan.server.identity import Identity
from stan.server.pump import Pump
from stan.store.contract import Store

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
    ("subs_stalled", "gauge", "Whether it must acknowledge before it gets more"),
)
_CONSUMER = (
    ("consumer_lag_msgs", "gauge", "Messages not acknowledged, sent or not"),
    ("consumer_pending_msgs", "gauge", "Messages sent and not acknowledged"),
    ("consumer_members", "gauge", "Subscriptions at work; 0 when offline"),
    ("consumer_stalled", "gauge", "Whether nobody can take another message"),
    ("consumer_redelivered_msgs_total", "counter", "Messages sent again since the start"),
    ("consumer_lost_msgs_total", "counter", "Messages dropped by limits before they were sent"),
)


class Metrics:
    """Makes pages of metrics, one at a time."""

    def __init__(
        self,
        identity: Identity,
        engine: Engine,
        pump: Pump,
        store: Store,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self._identity = identity
        self._engine = engine
        self._pump = pump
        self._view = View(engine)
        self._ages = Ages(self._view, store)
        self._clock = clock
        self._one_at_a_time = asyncio.Lock()

    async def page(self) -> list[bytes]:
        """All metrics, as text in pieces."""
        async with self._one_at_a_time:
            exposition = Exposition()
            self._server(exposition)
            self._traffic(exposition)
            self._process(exposition)
            await self._channels(exposition)
            return await exposition.chunks()

    # The server.

    def _server(self, page: Exposition) -> None:
        identity, totals = self._identity, self._view.totals()
        server = label("server_id", identity.server_id)
        page.gauge("nss_server_info", "Always 1; the labels tell", identity.labels(), 1)
        page.gauge(
            "nss_server_active",
            "Whether this server serves clients",
            server,
            int(identity.is_active),
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

    def _traffic(self, page: Exposition) -> None:
        engine, pump = self._engine, self._pump
        server = label("server_id", self._identity.server_id)
        for name, text, value in (
            ("redelivered_msgs_total", "Messages sent again", engine.delivery.redelivered),
            ("refused_msgs_total", "Publish requests refused", engine.publishing.refused),
            (
                "dropped_sends_total",
                "Pieces of output dropped for want of a NATS connection",
                pump.dropped_sends,
            ),
        ):
            page.counter(f"nss_server_{name}", text, server, value)
        for name, text, value in (
            ("queued_msgs", "Messages waiting for a commit", engine.publishing.queued_messages),
            ("queued_bytes", "Bytes waiting for a commit", engine.publishing.queued_bytes),
            ("cache_bytes", "Bytes of messages held for delivery", engine.cache.bytes_held),
            ("cache_limit_bytes", "What cache_bytes may grow to", engine.cache.limit_bytes),
        ):
            page.gauge(f"nss_server_{name}", text, server, value)
        page.family(
            "nss_server_commit_seconds", "histogram", "How long each commit took"
        ).add_histogram(server, pump.commit_s)
        page.family(
            "nss_server_batch_msgs", "histogram", "Messages stored by each commit that had any"
        ).add_histogram(server, pump.batch_messages)

    def _process(self, page: Exposition) -> None:
        for name, text, value in (
            ("resident_memory_bytes", "Resident memory", process.resident_bytes()),
            ("open_fds", "Open file descriptors", process.count_open_files()),
            ("max_fds", "The most file descriptors", process.max_open_files()),
            ("start_time_seconds", "Start since the epoch", self._identity.start_ns / 1e9),
        ):
            page.gauge(f"process_{name}", text, "", value)
        page.counter("process_cpu_seconds_total", "Processor time", "", process.cpu_s())

    # Channels.

    async def _channels(self, page: Exposition) -> None:
        rows = _ChannelRows(page, label("server_id", self._identity.server_id))
        view, ages = self._view, self._ages
        ages.begin()
        slices = Slices()
        for name in view.channel_names():
            channel = view.channel(name)
            if channel is None:
                continue
            labels = rows.add_channel(channel)
            if channel.subscriptions_count:
                for one in view.channel_subscriptions(name):
                    rows.add_subscription(labels, one)
                for consumer in view.consumers(name):
                    labels_of_one = rows.add_consumer(labels, consumer)
                    if not consumer.oldest_sequence:
                        rows.add_age(labels_of_one, 0)
                        continue
                    stored_ns = await ages.timestamp_ns(channel, consumer.oldest_sequence)
                    if stored_ns:
                        rows.add_age(labels_of_one, self._clock() - stored_ns)
            await slices.pause()


class _ChannelRows:
    """The families whose samples come channel by channel."""

    def __init__(self, page: Exposition, server: str) -> None:
        self._server = server
        self._channel, self._subscription, self._consumer = (
            [page.family(f"nss_chan_{name}", kind, text) for name, kind, text in metrics]
            for metrics in (_CHANNEL, _SUBSCRIPTION, _CONSUMER)
        )
        self._age = page.family(
            "nss_chan_consumer_oldest_unacked_seconds",
            "gauge",
            "Age of the oldest message not acknowledged, sent or not; 0 when there is none",
        )

    def add_channel(self, one: ChannelView) -> str:
        """A row of each channel metric. Returns the channel's labels."""
        labels = f"{self._server},{label('channel', one.name)}"
        add_row(
            self._channel,
            labels,
            (one.stored_bytes, one.messages, one.last, one.first, one.dropped),
        )
        return labels

    def add_subscription(self, channel: str, one: SubscriptionView) -> None:
        """A row of each subscription metric."""
        durable, queue = split_names(one.durable_name, one.queue_name, one.is_durable)
        labels = ",".join(
            (
                channel,
                label("client_id", one.client_id),
                label("inbox", one.inbox),
                label("queue_name", queue),
                f'is_durable="{str(one.is_durable).lower()}"',
                f'is_offline="{str(one.is_offline).lower()}"',
                label("durable_name", durable),
            )
        )
        add_row(
            self._subscription,
            labels,
            (one.last_sent, one.pending, one.max_in_flight, int(one.is_stalled)),
        )

    def add_consumer(self, channel: str, one: ConsumerView) -> str:
        """A row of each consumer metric but the age. Returns the consumer's labels."""
        durable, queue = split_names(one.durable_name, one.queue_name, one.is_durable)
        labels = ",".join(
            (
                channel,
                label("client_id", one.client_id),
                label("queue_name", queue),
                label("durable_name", durable),
            )
        )
        add_row(
            self._consumer,
            labels,
            (
                one.unsent + one.pending,
                one.pending,
                one.members,
                int(one.is_stalled),
                one.redelivered,
                one.lost,
            ),
        )
        return labels

    def add_age(self, labels: str, age_ns: int) -> None:
        """How long a consumer's oldest message has waited."""
        self._age.add(labels, max(0, age_ns) / 1e9)


def split_names(durable_name: str, queue_name: str, is_durable: bool) -> tuple[str, str]:
    """Durable and queue name apart: a durable group is known as "durable:group"."""
    if is_durable and queue_name:
        durable_name, _, queue_name = queue_name.partition(":")
    return durable_name, queue_name
