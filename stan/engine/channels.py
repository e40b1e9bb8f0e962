"""The channels: which exist, within which limits, and when one goes away.

They are created on first use within the limits and deleted after `max_inactivity` without
an active subscription or a new message. Names are unique without regard to case, except
where the store says otherwise.
"""

from stan.engine.cache import Cache
from stan.engine.changes import Changes
from stan.engine.limits import ChannelLimits, ChannelOverrides
from stan.engine.outbox import Outbox
from stan.engine.records import NO_LIMITS, ChannelRecord
from stan.engine.settings import Settings
from stan.engine.state import Channel
from stan.engine.timers import Timers
from stan.wire.subjects import is_valid_channel, pattern_matches

# A longer name cannot be a NATS subject under any sensible max_control_line. Other names that
# clients choose are held, logged, stored and shown just like those of channels.
MAX_NAME_BYTES = 1024


class Refusal(Exception):
    """A request that the protocol answers with this error string."""


class Channels:
    def __init__(
        self, settings: Settings, changes: Changes, timers: Timers, outbox: Outbox, cache: Cache
    ) -> None:
        self.by_name: dict[str, Channel] = {}
        self.by_id: dict[int, Channel] = {}
        self.next_channel_id: int = 1
        # Folded names that the store has in several spellings: originals before 0.25 allowed it.
        self.twins: set[str] = set()
        self._by_folded_name: dict[str, str] = {}
        self._settings = settings
        self._changes = changes
        self._timers = timers
        self._outbox = outbox
        self._cache = cache

    def open(self, name: str, now_ns: int, limits: ChannelOverrides = NO_LIMITS) -> Channel:
        """The channel of this valid name, created when the limits allow, with limits of its own.
        Raises Refusal."""
        channel = self.by_name.get(name)
        if channel is not None:
            return channel
        self.require_room(name)
        record = ChannelRecord(self.next_channel_id, name, limits)
        self.next_channel_id += 1
        channel = self.add(record)
        self._changes.create_channel(record)
        self._outbox.log("info", f'Channel "{name}" has been created')
        self.watch_inactivity(channel, now_ns)
        return channel

    def require_room(self, name: str) -> None:
        """Raise Refusal when no channel of this name, which does not exist, may be created."""
        other = self._by_folded_name.get(name.lower())
        if other is not None:
            # The typo is the protocol's.
            raise Refusal(
                f'rejecting channel "{name}" because channel "{other}" alreay exists '
                "(different cases not allowed)"
            )
        most = self._settings.limits.max_channels
        if most > 0 and len(self.by_name) >= most:
            raise Refusal("too many channels")

    def serves(self, name: str) -> bool:
        """Whether this valid channel is ours to answer for, and not another partition's."""
        served = self._settings.served_channels
        return not served or any(pattern_matches(pattern, name) for pattern in served)

    def add(self, record: ChannelRecord) -> Channel:
        """Take a channel that exists in the store, or is about to."""
        channel = Channel(record, self._resolve(record))
        self.by_name[record.name] = channel
        self.by_id[record.channel_id] = channel
        folded = record.name.lower()
        if self._by_folded_name.setdefault(folded, record.name) != record.name:
            self.twins.add(folded)
        return channel

    def take_limits(self, now_ns: int) -> None:
        """Give every channel the limits that the settings hold now."""
        for channel in self.by_id.values():
            limits = self._resolve(channel.record)
            if limits != channel.limits:
                self._limit(channel, limits, now_ns)

    def limit(self, channel: Channel, own: ChannelOverrides, now_ns: int) -> None:
        """Give a channel limits of its own in place of those it had."""
        channel.record = ChannelRecord(channel.channel_id, channel.name, own)
        self._changes.limit_channel(channel.record)
        limits = self._resolve(channel.record)
        if limits != channel.limits:
            self._limit(channel, limits, now_ns)

    def _resolve(self, record: ChannelRecord) -> ChannelLimits:
        configured = self._settings.limits.resolve(record.name)
        return (
            configured if record.limits is NO_LIMITS else configured.with_overrides(record.limits)
        )

    def _limit(self, channel: Channel, limits: ChannelLimits, now_ns: int) -> None:
        """Let a channel live within other limits: the clocks that run go on from where they
        began, one that did not run begins now."""
        timer = channel.inactivity_timer
        since_ns = now_ns
        if timer.deadline_ns:
            since_ns = timer.deadline_ns - channel.limits.max_inactivity_ns
        self._timers.clear(timer)
        self._timers.clear(channel.age_timer)
        channel.limits = limits
        channel.warned = False
        self.watch_inactivity(channel, since_ns)
        self.watch_age(channel)
        self._changes.trims_due[channel.channel_id] = None

    def watch_inactivity(self, channel: Channel, since_ns: int) -> None:
        """Start the inactivity clock of a channel without active subscriptions, or stop it."""
        if channel.limits.max_inactivity_ns <= 0:
            return
        if channel.has_active_subscriptions():
            self._timers.clear(channel.inactivity_timer)
        else:
            deadline_ns = since_ns + channel.limits.max_inactivity_ns
            self._timers.set(channel.inactivity_timer, deadline_ns)

    def watch_age(self, channel: Channel) -> None:
        """Set the deadline of the channel's oldest message."""
        if channel.limits.max_age_ns > 0 and channel.count > 0:
            deadline_ns = channel.first_timestamp_ns + channel.limits.max_age_ns
            self._timers.set(channel.age_timer, deadline_ns)

    def delete(self, channel: Channel) -> None:
        """Delete a channel with its messages and subscriptions."""
        channel.deleted = True
        del self.by_name[channel.name]
        del self.by_id[channel.channel_id]
        if self._by_folded_name.get(channel.name.lower()) == channel.name:
            del self._by_folded_name[channel.name.lower()]
        self._timers.clear(channel.age_timer)
        self._timers.clear(channel.inactivity_timer)
        self._cache.drop(channel.shelf)
        self.end_purge(channel, "the channel was deleted meanwhile")
        self._changes.delete_channel(channel.channel_id, channel.subscriptions)
        self._outbox.log("info", f'Channel "{channel.name}" has been deleted')

    def end_purge(self, channel: Channel, error: str = "") -> None:
        """Tell the outcome of a purge under way, if there is one: done, or what ended it."""
        floor = channel.floor
        if floor is not None:
            channel.floor = None
            floor.outcome.error = error
            self._outbox.outcomes.append(floor.outcome)


def is_acceptable_channel(name: str) -> bool:
    """Whether a client may use this name: valid, and not absurdly long."""
    return is_valid_channel(name) and len(name.encode()) <= MAX_NAME_BYTES


def find_long_name(*names: tuple[str, int]) -> str:
    """The error of the first of these names, each with its bytes, that is absurdly long."""
    for name, size in names:
        if size > MAX_NAME_BYTES:
            return f"stan: {name} is longer than {MAX_NAME_BYTES} bytes"
    return ""
