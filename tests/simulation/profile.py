"""What kind of world a seed makes: limits, sizes, faults and tempers, drawn once.

Every number is small on purpose, so that the rare paths of the engine are the usual ones.
"""

from dataclasses import dataclass
from random import Random

from stan.engine.limits import ChannelLimits, ChannelOverrides, StoreLimits
from stan.engine.records import (
    CreateChannel,
    DeleteDurable,
    DeleteMessage,
    Disconnect,
    DurableName,
    LimitChannel,
    MoveDurable,
    Operation,
    PublishMessage,
    Purge,
    ResendPending,
)
from stan.engine.settings import Settings

MS = 1_000_000


@dataclass(slots=True)
class Faults:
    """Chances, each between 0 and 1 (per frame, commit, load, or action)."""

    lose_frame: float = 0.0
    commit_unavailable: float = 0.0
    commit_refused: float = 0.0
    commit_unknown: float = 0.0
    load_fails: float = 0.0
    crash: float = 0.0
    cut_link: float = 0.0
    clock_step: float = 0.0


@dataclass(slots=True)
class Profile:
    """One world. Times are nanoseconds."""

    settings: Settings
    faults: Faults
    persistent: bool
    channels: list[str]
    client_ids: list[str]
    think_ns: int
    network_ns: int
    store_ns: int
    late_ns: int
    trim_step: int
    publish_burst: int
    payload_bytes: int
    misbehave: float


def draw(rng: Random) -> Profile:
    """The world of a seeded generator."""
    pick, chance = rng.choice, rng.random
    defaults = draw_defaults(rng)
    overrides = draw_overrides(rng)
    persistent = chance() < 0.9
    settings = Settings(
        limits=StoreLimits(draw_max_channels(rng), defaults, overrides),
        heartbeat_interval_ns=pick([200, 1000, 5000]) * MS,
        heartbeat_timeout_ns=pick([50, 300]) * MS,
        heartbeat_fail_count=pick([0, 1, 3]),
        duplicate_check_timeout_ns=pick([20, 200]) * MS,
        replace_durable=chance() < 0.3,
        persistent=persistent,
        cache_bytes=pick([0, 60, 300, 2000, 1 << 20]),
        outbox_bytes=pick([1, 100, 1 << 20]),
        client_pending_bytes=pick([0, 1, 300, 3000, 1 << 20]),
        max_in_flight_limit=pick([0, 0, 2]),
        queue_messages=pick([4, 30, 1000]),
        queue_bytes=pick([200, 3000, 1 << 20]),
        batch_messages=pick([1, 4, 64]),
        batch_bytes=pick([50, 500, 1 << 20]),
        load_messages=pick([1, 2, 5, 100]),
        load_bytes=pick([1, 60, 500, 1 << 20]),
        progress_interval_ns=pick([1, 50, 200]) * MS,
        retry_interval_ns=pick([5, 50]) * MS,
        test_timers=True,
    )
    return Profile(
        settings=settings,
        faults=draw_faults(rng, persistent),
        persistent=persistent,
        channels=["foo", "bar", "kept.one", "kept.two"][: pick([1, 2, 4])],
        client_ids=["a", "b", "c", "d"][: pick([1, 2, 4])],
        think_ns=pick([1, 4, 20]) * MS,
        network_ns=pick([0, 1, 10]) * MS,
        store_ns=pick([0, 1, 5, 40]) * MS,
        late_ns=pick([0, 0, 5, 400]) * MS,
        trim_step=pick([0, 0, 1, 3]),
        publish_burst=pick([1, 3, 12]),
        payload_bytes=pick([0, 20, 150]),
        misbehave=pick([0.0, 0.02, 0.1]),
    )


def draw_defaults(rng: Random) -> ChannelLimits:
    """The limits of a channel that has none of its own."""
    pick = rng.choice
    return ChannelLimits(
        max_subscriptions=pick([0, 3, 6, 50]),
        max_messages=pick([0, 0, 1, 3, 10, 40]),
        max_bytes=pick([0, 0, 30, 200, 1000]),
        max_age_ns=pick([0, 0, 0, 300 * MS, 2000 * MS]),
        max_inactivity_ns=pick([0, 0, 100 * MS, 700 * MS, 3000 * MS]),
    )


def draw_overrides(rng: Random) -> dict[str, ChannelOverrides]:
    """Often some channels have no limits at all."""
    return {"kept.*": ChannelOverrides(0, 0, 0, 0, 0)} if rng.random() < 0.7 else {}


def draw_max_channels(rng: Random) -> int:
    """How many channels there may be."""
    return rng.choice([0, 2, 3, 100])


def draw_limits(rng: Random) -> StoreLimits:
    """Other limits for a world that lives already."""
    return StoreLimits(draw_max_channels(rng), draw_defaults(rng), draw_overrides(rng))


def draw_operation(rng: Random, profile: "Profile") -> Operation:
    """What an operator may ask for at any time."""
    channel = rng.choice(profile.channels)
    kind = rng.random()
    if kind < 0.1:
        return Purge(channel)
    if kind < 0.2:
        return Purge(channel, keep=rng.choice((0, 1, 5)))
    if kind < 0.3:
        return Purge(channel, up_to=rng.randrange(40))
    if kind < 0.35:
        return CreateChannel(channel, draw_own_limits(rng))
    if kind < 0.45:
        return LimitChannel(channel, draw_own_limits(rng))
    if kind < 0.65:
        return DeleteMessage(channel, rng.randrange(1, 60))
    if kind < 0.7:
        return PublishMessage(channel, b"operator %d" % rng.randrange(1 << 60))
    if kind < 0.9:
        return draw_operation_on_durable(rng, channel, profile)
    return Disconnect(rng.choice(profile.client_ids))


def draw_own_limits(rng: Random) -> ChannelOverrides:
    """Of one channel, or none; what inactivity ended is not known afterwards."""
    return ChannelOverrides(
        max_messages=rng.choice((None, None, 0, 3, 20)), max_bytes=rng.choice((None, 0, 300))
    )


def draw_operation_on_durable(rng: Random, channel: str, profile: "Profile") -> Operation:
    """A durable or group is moved, deleted, or sent again what is pending."""
    if rng.random() < 0.5:
        name = DurableName(channel, rng.choice(profile.client_ids), rng.choice(("d", "e")))
    else:
        name = DurableName(channel, queue_group=rng.choice(("g", "d:g", "e:g")))
    kind = rng.random()
    if kind < 0.2:
        return DeleteDurable(name, force=rng.random() < 0.5)
    if kind < 0.5:
        return ResendPending(name)
    if kind < 0.7:
        return MoveDurable(name, sequence=rng.randrange(1, 60))
    return MoveDurable(name, position=rng.choice(("first", "last", "new")))


def draw_faults(rng: Random, persistent: bool) -> Faults:
    """About a third of the worlds have each fault."""

    def some(*chances: float) -> float:
        return rng.choice([0.0, 0.0, *chances])

    faults = Faults(
        lose_frame=some(0.01, 0.1),
        commit_unavailable=some(0.05, 0.3),
        commit_refused=some(0.02, 0.1),
        commit_unknown=some(0.05, 0.3),
        load_fails=some(0.1, 0.4),
        crash=some(0.003, 0.02),
        cut_link=some(0.003, 0.01),
        clock_step=some(0.01),
    )
    if not persistent:
        faults.crash = 0.0
    return faults
