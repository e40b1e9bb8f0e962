"""The operations that only read: the server, channels, durables and groups, clients, messages.

Answers are made of views and, for messages, of the store; nothing is kept between two
requests. Long lists are looked through in slices, so that the pump has its turns. Invariant:
nothing here changes anything.
"""

import base64
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from operator import itemgetter
from typing import Any

from stan.engine.limits import ChannelOverrides
from stan.engine.records import NO_LIMITS, RangeLoad, TimeLoad
from stan.engine.rows import ChannelView, ConsumerName
from stan.engine.views import View
from stan.errors import AdminError, StoreError
from stan.server.admin.consumers import Consumer, complete, describe_subscription
from stan.server.admin.times import format_time, parse_time
from stan.server.config.config import Config
from stan.server.monitor.gojson import Slices
from stan.server.monitor.identity import Identity
from stan.server.monitor.message_ages import Ages
from stan.server.pump import Pump
from stan.store.contract import Store
from stan.wire.messages import unframe_message
from stan.wire.stan_pb2 import MsgProto

DEFAULT_ROWS = 256
MOST_ROWS = 1024
MOST_MESSAGES = 256
# As many channels or clients are looked at in a fraction of a millisecond.
SLICE_NAMES = 512
# About how much of a channel one request reads.
READ_BYTES = 8 * 1024 * 1024

Answer = dict[str, Any]
Request = Mapping[str, Any]


@dataclass(slots=True, frozen=True)
class Served:
    """What is read: a server's parts as they are now."""

    identity: Identity
    config: Config
    pump: Pump
    store: Store
    standbys: list[str] = field(default_factory=list)


class Reading:
    """The endpoints about channels, durables, clients and messages, on one server."""

    def __init__(self, served: Served) -> None:
        self._store = served.store
        self._view = View(served.pump.engine)
        self._config = served.config
        self.endpoints: dict[str, Callable[[Request], Awaitable[Answer]]] = {
            "channel.list": self.list_channels,
            "channel.info": self.show_channel,
            "durable.list": self.list_durables,
            "durable.info": self.show_durable,
            "client.list": self.list_clients,
            "client.info": self.show_client,
            "message.get": self.get_messages,
        }

    # Channels.

    async def list_channels(self, request: Request) -> Answer:
        """A page of the channels."""
        view, sort = self._view, request.get("sort", "name")
        names = select(view.channel_names(), request.get("filter", ""))
        if sort != "name":
            sizes: list[tuple[int, str]] = []
            async for some in in_slices(names):
                sizes += view.channel_sizes(some, sort)
            names = [name for _, name in sorted(sizes, key=itemgetter(0))]
        if request.get("reverse"):
            names.reverse()
        page, answer = cut(names, request)
        rows = [self._describe_channel(found) for name in page if (found := view.channel(name))]
        return {**answer, "channels": rows}

    async def show_channel(self, request: Request) -> Answer:
        """One channel."""
        return self._describe_channel(self.find_channel(request))

    def find_channel(self, request: Request) -> ChannelView:
        """The channel that a request names. Raises AdminError."""
        name = str(request.get("channel", ""))
        channel = self._view.channel(name)
        if channel is None:
            raise AdminError(404, f'channel "{name}" does not exist')
        return channel

    def describe_limits_with(self, name: str, own: ChannelOverrides) -> Answer:
        """The limits of a channel if these were its own, and where they are from."""
        configured = self._view.store_limits()
        source = "configured" if name in configured.channels else "global"
        return {
            "limits": describe_limits(configured.resolve(name).with_overrides(own)),
            "limits_source": source if own == NO_LIMITS else "stored",
        }

    def _describe_channel(self, one: ChannelView) -> Answer:
        return {
            "name": one.name,
            "messages": one.messages,
            "bytes": one.stored_bytes,
            "first_sequence": one.first,
            "last_sequence": one.last,
            "first_time": format_time(one.first_timestamp_ns),
            "last_time": format_time(one.last_timestamp_ns),
            "subscriptions": one.subscriptions_count,
            "durables": len(self._view.consumer_names([one.name])),
            **self.describe_limits_with(one.name, one.own_limits),
            "removing": one.removing,
        }

    # Durables and groups.

    async def list_durables(self, request: Request) -> Answer:
        """A page of the durables and groups."""
        view, wanted = self._view, request.get("filter", "")
        stalled = bool(request.get("stalled"))
        only = request.get("channel")
        channels = [only] if only is not None else view.channel_names()
        # Only what is on the page is looked at closely.
        found: list[tuple[str, ConsumerName]] = []
        async for some in in_slices(channels):
            found += [
                (channel, name)
                for channel, name in view.consumer_names(some, stalled)
                if not wanted or any(wanted in text for text in (channel, *name))
            ]
        page, answer = cut(found, request)
        shown = [
            one
            for channel, name in page
            if (consumer := view.consumer(channel, name)) is not None
            for one in complete(view, channel, [consumer])
        ]
        return {**answer, "durables": await self._describe(shown)}

    async def show_durable(self, request: Request) -> Answer:
        """One durable or group, with its members."""
        channel = self.find_channel(request)
        client_id, durable, group = (
            str(request.get(name, "")) for name in ("client_id", "durable", "queue_group")
        )
        view = self._view.consumer(channel.name, (client_id, durable, group))
        if view is None:
            raise AdminError(404, f'channel "{channel.name}" has no such durable or group')
        (one,) = complete(self._view, channel.name, [view])
        (answer,) = await self._describe([one])
        return {**answer, "members": one.describe_members()}

    async def _describe(self, shown: list[Consumer]) -> list[Answer]:
        ages = Ages(self._view, self._store)
        oldest = [(one.channel_id, one.channel, one.view.oldest_sequence) for one in shown]
        await ages.load(
            [
                (channel_id, sequence)
                for channel_id, channel, sequence in oldest
                if sequence and not ages.known_ns(channel_id, channel, sequence)
            ]
        )
        times = [format_time(ages.known_ns(*one) if one[2] else 0) for one in oldest]
        return [
            {**one.describe(), "oldest_unacked_time": time}
            for one, time in zip(shown, times, strict=True)
        ]

    # Clients.

    async def list_clients(self, request: Request) -> Answer:
        """A page of the clients."""
        names = select(self._view.client_ids(), request.get("filter", ""))
        page, answer = cut(names, request)
        rows = [one for client_id in page if (one := self._client(client_id)) is not None]
        return {**answer, "clients": rows}

    async def show_client(self, request: Request) -> Answer:
        """One client, with its subscriptions."""
        client_id = str(request.get("client_id", ""))
        client = self._client(client_id)
        if client is None:
            raise AdminError(404, f'client "{client_id}" does not exist')
        subscriptions = []
        slices = Slices()
        for channel, some in self._view.client_subscriptions(client_id):
            subscriptions += [{"channel": channel, **describe_subscription(one)} for one in some]
            await slices.pause()
        return {**client, "subscriptions": subscriptions}

    def _client(self, client_id: str) -> Answer | None:
        one = self._view.client(client_id)
        if one is None:
            return None
        return {
            "client_id": client_id,
            "heartbeat_inbox": one.heartbeat_inbox,
            "subscriptions_count": one.subscriptions_count,
            "failed_heartbeats": one.failed_heartbeats,
            "last_heard": format_time(one.heard_ns),
        }

    # Messages.

    async def get_messages(self, request: Request) -> Answer:
        """Messages by sequence, by time, or the last ones."""
        channel = self.find_channel(request)
        count = min(int(request.get("last", request.get("count", 1))), MOST_MESSAGES)
        answer: Answer = {"channel": channel.name, "messages": [], "next_sequence": 0}
        try:
            start = await self._find_start(channel, request, count)
            if not start:
                return answer
            load = RangeLoad(0, channel.channel_id, channel.name, start, count, READ_BYTES)
            history = await self._store.load(load)
        except StoreError as error:
            raise AdminError(503, f"the store cannot be read: {error}") from None
        most = request.get("max_bytes")
        found = [describe_message(framed, most) for framed in history.framed[:count]]
        following = found[-1]["sequence"] + 1 if found else 0
        return {**answer, "messages": found, "next_sequence": following}

    async def require_message(self, channel: ChannelView, sequence: int) -> None:
        """Raise AdminError when this message is not there."""
        load = RangeLoad(0, channel.channel_id, channel.name, max(sequence, 1), 1, 1)
        try:
            history = await self._store.load(load)
        except StoreError as error:
            raise AdminError(503, f"the store cannot be read: {error}") from None
        if history.sequences[:1] != [sequence]:
            raise AdminError(404, f'channel "{channel.name}" has no message {sequence}')

    async def find_time(self, channel: ChannelView, time: str) -> int | None:
        """The sequence of the first message that is not older. Raises AdminError, StoreError."""
        history = await self._store.load(TimeLoad(0, channel.channel_id, parse_time(time)))
        return history.sequences[0] if history.sequences else None

    async def _find_start(self, channel: ChannelView, request: Request, count: int) -> int:
        """The sequence to read from; 0 when there is nothing."""
        if not channel.last:
            return 0
        if "sequence" in request:
            return max(int(request["sequence"]), channel.first, 1)
        if "time" in request:
            return await self.find_time(channel, str(request["time"])) or 0
        return max(channel.last - count + 1, channel.first)


def describe_message(framed: bytes, most_bytes: int | None) -> Answer:
    """A stored message."""
    message = MsgProto.FromString(unframe_message(framed))
    data = message.data if most_bytes is None else message.data[:most_bytes]
    return {
        "sequence": message.sequence,
        "time": format_time(message.timestamp),
        "size_bytes": len(message.data),
        "data": base64.b64encode(data).decode("ascii"),
        "reply": message.reply,
    }


def describe_limits(limits: Any) -> Answer:
    """The limits of a channel or of all."""
    return {
        "max_msgs": limits.max_messages,
        "max_bytes": limits.max_bytes,
        "max_age_s": limits.max_age_ns / 1e9,
        "max_inactivity_s": limits.max_inactivity_ns / 1e9,
        "max_subs": limits.max_subscriptions,
    }


def select(names: list[str], wanted: str) -> list[str]:
    """Those that contain this, or that fit this pattern."""
    if any(one in wanted for one in "*?["):
        return [name for name in names if fnmatchcase(name, wanted)]
    return [name for name in names if wanted in name] if wanted else names


def cut(rows: list[Any], request: Request) -> tuple[list[Any], Answer]:
    """The page that was asked for, and what stands before it in the answer."""
    offset = max(int(request.get("offset", 0)), 0)
    limit = min(max(int(request.get("limit", DEFAULT_ROWS)), 1), MOST_ROWS)
    return rows[offset : offset + limit], {"total": len(rows), "offset": offset}


async def in_slices(names: list[str]) -> AsyncIterator[list[str]]:
    """So many names as can be looked at in one go; the pump has its turns in between."""
    slices = Slices()
    for start in range(0, len(names), SLICE_NAMES):
        yield names[start : start + SLICE_NAMES]
        if slices.are_over:
            await slices.pause()
