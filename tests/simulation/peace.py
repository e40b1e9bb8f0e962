"""What must be complete once faults have stopped: found by comparing three sides.

The model says what is kept, the observer what clients really received, and the engine what
it believes. Whatever differs is named in a sentence; an empty list means completeness.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from stan.engine import invariants
from stan.engine.engine import Engine
from stan.engine.state import Cursor

if TYPE_CHECKING:
    from tests.simulation.client import Client
    from tests.simulation.world import World

# Refusals that are lawful in peace, too.
LAWFUL = ("too many channels", "stan: channel is being deleted", "overloaded")


def find_missing(world: World, living: list[Client]) -> list[str]:
    """Sentences about what is not complete yet."""
    if world.server.dead:
        return ["the server is down"]
    if world.server.committing is not None:
        return ["a commit is under way"]
    invariants.check(world.server.engine)
    return [
        *unanswered(world, living),
        *undelivered(world, living),
        *above_limits(world),
        *differences(world),
        *unpaid(world),
        *(world.writers.missing() if world.writers is not None else ()),
    ]


def unanswered(world: World, living: list[Client]) -> Iterator[str]:
    known = world.server.engine.clients.by_id
    for client in living:
        if client.state != "up":
            continue
        if client.pending:
            yield f"{client.client_id}: {len(client.pending)} publishes have no ack"
        registered = known.get(client.client_id)
        if registered is None or registered.record.connection_id != client.connection_id:
            continue
        for error in client.errors:
            if not any(words in error for words in LAWFUL):
                yield f"{client.client_id}: a publish was refused: {error}"


def unpaid(world: World) -> Iterator[str]:
    """What was held while nobody led must be stored, or its publisher be told."""
    for guid in world.server.owed:
        if not world.store.published.is_settled(guid):
            yield f"{guid!r} was held, and is neither stored nor refused"


def undelivered(world: World, living: list[Client]) -> Iterator[str]:
    inboxes = {mine.inbox for client in living for mine in client.subscriptions}
    for record in world.store.subscriptions.values():
        if record.is_closed or record.inbox not in inboxes:
            continue
        story = world.server.observer.story_of(record.subscription_id)
        log = world.store.logs[record.channel_id]
        who = f"{log.record.name}/{record.subscription_id} {record.queue_group}"
        if story is None:
            yield f"{who}: nobody knows it"
            continue
        if story.is_moved:
            continue
        for sequence in range(max(story.start + 1, log.first), log.last + 1):
            if sequence not in story.received and sequence not in log.removed:
                yield f"{who}: message {sequence} was never received"
        if record.in_flight and world.profile.persistent:
            yield f"{who}: {record.in_flight} stay in flight"


def above_limits(world: World) -> Iterator[str]:
    for log in world.store.logs.values():
        limits = log.limits(world.profile.settings.limits)
        if 0 < limits.max_messages < log.count:
            yield f"{log.record.name}: {log.count} messages are too many"
        if 0 < limits.max_bytes < log.bytes_held and log.count > 1:
            yield f"{log.record.name}: {log.bytes_held} bytes are too many"
        age_ns = limits.max_age_ns
        if age_ns and log.count:
            oldest_ns = world.clock_ns() - log.ever[log.first].timestamp_ns
            if oldest_ns > age_ns + 1_000_000_000:
                yield f"{log.record.name}: message {log.first} is too old"


def differences(world: World) -> Iterator[str]:
    """What the engine believes and the store does not hold, nothing being under way."""
    engine = world.server.engine
    if engine.changes.urgent or engine.changes.progressed or engine.publishing.queued_messages:
        yield "something waits to be stored"
        return
    guids = engine.publishing.guids
    if guids.holds or guids.passing or guids.unsettled or guids.held_bytes or guids.closes:
        yield "publishes are held, or thought to be on their way"
    yield from channel_differences(world, engine)
    stored, believed = world.store.subscriptions, {}
    for channel in engine.channels.by_id.values():
        for number, member in channel.subscriptions.items():
            believed[number] = member.record()
    if stored.keys() != believed.keys():
        yield f"stored subscriptions {sorted(stored)}, believed {sorted(believed)}"
    elif world.profile.persistent:
        yield from position_differences(world, engine)
        for number, record in stored.items():
            mine = believed[number]
            if (record.inbox, record.is_closed, record.in_flight) != (
                mine.inbox, mine.is_closed, mine.in_flight,
            ):  # fmt: skip
                yield f"stored {record}, believed {mine}"
    clients = {client.client_id: client.record for client in engine.clients.by_id.values()}
    if clients != world.store.clients:
        yield f"stored clients {sorted(world.store.clients)}, believed {sorted(clients)}"


def position_differences(world: World, engine: Engine) -> Iterator[str]:
    """What a restart would send again although it was sent and nothing waits."""
    for channel in engine.channels.by_id.values():
        log = world.store.logs[channel.channel_id]
        stored: dict[Cursor, int] = {}
        for number, member in channel.subscriptions.items():
            last_sent = world.store.subscriptions[number].last_sent
            stored[member.cursor] = max(stored.get(member.cursor, 0), last_sent)
        for cursor, last_sent in stored.items():
            last_sent = max(last_sent, log.first - 1)
            while last_sent + 1 in log.removed:
                last_sent += 1
            if last_sent < cursor.last_sent:
                yield f"{channel.name}/{cursor.group}: stored {last_sent}, sent {cursor.last_sent}"


def channel_differences(world: World, engine: Engine) -> Iterator[str]:
    if world.store.logs.keys() != engine.channels.by_id.keys():
        yield "stored channels are others than believed"
        return
    for channel_id, log in world.store.logs.items():
        channel = engine.channels.by_id[channel_id]
        have = (channel.first, channel.last, channel.count, channel.bytes_held)
        if have != (log.first, log.last, log.count, log.bytes_held):
            yield f"{channel.name}: believed bounds {have}, stored {log.bounds()}"
