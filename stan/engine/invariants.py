"""What is always true of an engine between two calls.

`check` reads everything and changes nothing; it raises AssertionError with a sentence that
names what is wrong. Its cost grows with the whole state, so tests and the simulation call
it, a server does not. Each function covers one part; a rule is stated once.
"""

from collections import Counter

from stan.engine.channels import Channels
from stan.engine.clients import DuplicateCheck
from stan.engine.engine import Engine
from stan.engine.state import Channel, Client, Cursor, Subscription
from stan.engine.timers import Timer


def check(engine: Engine) -> None:
    """Raise AssertionError when an invariant of the engine is broken."""
    armed = check_timers(engine)
    check_channel_names(engine.channels)
    held = 0
    waiting: list[Cursor] = []
    for channel in engine.channels.by_id.values():
        check_bounds(channel)
        held += check_shelf(channel)
        waiting += check_loads(engine, channel)
        check_subscriptions(engine, channel, armed)
        check_channel_timers(engine, channel, armed)
    check_waiting(waiting, engine.channels)
    check_cache(engine, held)
    check_reachable(engine)
    check_starting(engine)
    check_clients(engine, armed)
    check_queue(engine)
    check_changes(engine)


def check_timers(engine: Engine) -> set[int]:
    """Every timer with a deadline has an entry that comes up no later. Returns who is armed."""
    timers = engine.timers
    entries = {(id(timer), entry_ns) for entry_ns, _, timer in timers.entries()}
    armed = set()
    for _, _, timer in timers.entries():
        if timer.deadline_ns:
            assert 0 < timer.entry_ns <= timer.deadline_ns, "a timer comes up too late"
            assert (id(timer), timer.entry_ns) in entries, "a timer's entry is not in the heap"
            armed.add(id(timer))
    return armed


def is_armed(timer: Timer, armed: set[int]) -> bool:
    return timer.deadline_ns != 0 and id(timer) in armed


def check_channel_names(channels: Channels) -> None:
    assert len(channels.by_id) == len(channels.by_name), "names and IDs differ in number"
    folded = Counter(name.lower() for name in channels.by_name)
    twins = {name for name, count in folded.items() if count > 1}
    assert twins <= channels.twins, "two channels differ in case only"
    for channel_id, channel in channels.by_id.items():
        assert channel.channel_id == channel_id, "a channel is filed under another ID"
        assert channels.by_name.get(channel.name) is channel, f"{channel.name} is not by name"
        assert not channel.deleted, f"{channel.name} was deleted"
        assert channel_id < channels.next_channel_id, "a channel ID may be given twice"


def check_bounds(channel: Channel) -> None:
    name = channel.name
    assert 1 <= channel.first <= channel.last + 1, f"{name}: bounds are crossed"
    assert 0 <= channel.count <= channel.last - channel.first + 1, f"{name}: impossible count"
    assert channel.first_position <= channel.end_position, f"{name}: positions are crossed"
    if channel.count == 0:
        assert channel.first == channel.last + 1, f"{name}: empty, but the bounds are not"
        assert channel.bytes_held == 0, f"{name}: empty, but holds bytes"
    else:
        assert channel.bytes_held > 0, f"{name}: holds messages of no bytes"
        assert channel.first_timestamp_ns <= channel.last_timestamp_ns, f"{name}: time runs back"


def check_shelf(channel: Channel) -> int:
    """The blocks are ascending, do not overlap and hold what they say. Returns their bytes."""
    name, shelf = channel.name, channel.shelf
    assert shelf.firsts == [block.first for block in shelf.blocks], f"{name}: shelf index is off"
    end = 0
    held = 0
    for block in shelf.blocks:
        assert block.shelf is shelf, f"{name}: a block of another shelf"
        assert end <= block.first < block.next, f"{name}: blocks overlap or are not in order"
        assert block.next <= channel.last + 1, f"{name}: a block reaches beyond the last message"
        end = block.next
        if block.sequences is None:
            assert len(block.framed) == block.next - block.first, f"{name}: a block is not dense"
        else:
            assert len(block.framed) == len(block.sequences), f"{name}: a block's lists differ"
            assert all(block.first <= s < block.next for s in block.sequences)
            assert block.sequences == sorted(set(block.sequences))
        assert block.bytes_held == sum(map(len, block.framed)), f"{name}: a block's bytes are off"
        assert block.largest >= max(map(len, block.framed), default=0)
        held += block.bytes_held
    return held


def check_cache(engine: Engine, held: int) -> None:
    cache = engine.cache
    assert cache.bytes_held == held, f"the cache says {cache.bytes_held} bytes, holds {held}"
    assert held <= cache.limit_bytes, "the cache is over its limit"
    blocks = sum(len(channel.shelf.blocks) for channel in engine.channels.by_id.values())
    assert cache.block_count() == blocks, "the cache keeps blocks that no shelf holds"


def check_loads(engine: Engine, channel: Channel) -> list[Cursor]:
    """Nobody waits for a load that does not exist. Returns the cursors that wait."""
    loads = engine.loads.asked
    for load_id in channel.loading.values():
        assert load_id in loads, f"{channel.name}: a load is forgotten"
        assert loads[load_id][0] is channel
    assert len(set(channel.loading.values())) == len(channel.loading)
    waiting: list[Cursor] = []
    for load_id, cursors in channel.waiting.items():
        assert load_id in loads, f"{channel.name}: somebody waits for no load"
        waiting += cursors
    return waiting


def check_waiting(waiting: list[Cursor], channels: Channels) -> None:
    assert len(set(waiting)) == len(waiting), "a cursor waits twice"
    assert all(cursor.waiting for cursor in waiting), "a cursor waits without knowing"
    known = set(waiting)
    for channel in channels.by_id.values():
        for cursor in channel.cursors:
            assert not cursor.waiting or cursor in known, "a cursor waits for nothing"


def check_subscriptions(engine: Engine, channel: Channel, armed: set[int]) -> None:
    cursors = {member.cursor: None for member in channel.subscriptions.values()}
    for number, member in channel.subscriptions.items():
        assert member.subscription_id == number < engine.subscriptions.next_subscription_id
        assert member.cursor.channel is channel, "a subscription of another channel"
        if member.active:
            check_active(engine, channel, member, armed)
        else:
            check_offline(channel, member)
    for cursor in cursors:
        check_cursor(channel, cursor)
    assert channel.cursors.keys() <= cursors.keys(), "a cursor without subscriptions"
    assert set(channel.groups.values()) <= cursors.keys(), "a group without subscriptions"
    for (client_id, name), durable in channel.durables.items():
        assert channel.subscriptions.get(durable.subscription_id) is durable
        assert (durable.client_id, durable.durable) == (client_id, name)


def check_active(engine: Engine, channel: Channel, member: Subscription, armed: set[int]) -> None:
    who = f"{channel.name}/{member.subscription_id}"
    client = member.client
    assert client is not None, f"{who}: active without a client"
    assert engine.clients.by_id.get(member.client_id) is client, f"{who}: its client is gone"
    assert client.subscriptions.get(member.subscription_id) is member, f"{who}: client lost it"
    assert member in member.cursor.members, f"{who}: active, not a member"
    by_ack_inbox = engine.subscriptions.by_ack_inbox
    assert by_ack_inbox.get(member.ack_inbox.encode()) is member, f"{who}: acks do not arrive"
    if member.in_flight and member.started:
        assert is_armed(member, armed), f"{who}: in flight and no timer"


def check_offline(channel: Channel, member: Subscription) -> None:
    who = f"{channel.name}/{member.subscription_id}"
    assert member.is_durable or member.cursor.vacant is member, f"{who}: offline, not durable"
    assert member.client is None, f"{who}: offline with a client"
    assert member.deadline_ns == 0, f"{who}: offline with a timer"
    assert not member.started, f"{who}: offline and started"
    if member.group:
        assert member.cursor.vacant is member, (
            f"{who}: an offline member that is not its group's record"
        )
    else:
        assert channel.durables.get((member.client_id, member.durable)) is member


def check_cursor(channel: Channel, cursor: Cursor) -> None:
    who = f"{channel.name}/{cursor.group}"
    assert len(set(cursor.members)) == len(cursor.members), f"{who}: a member twice"
    assert all(member.active for member in cursor.members), f"{who}: a member is not active"
    assert (cursor in channel.cursors) == bool(cursor.members), f"{who}: lost from the channel"
    assert 0 <= cursor.last_sent <= channel.last, f"{who}: sent what does not exist"
    if cursor.group:
        assert channel.groups.get(cursor.group) is cursor, f"{who}: not the group of its name"
        assert bool(cursor.members) != (cursor.vacant is not None), (
            f"{who}: members beside the record of a vacant group"
        )
    else:
        assert len(cursor.members) <= 1, f"{who}: a plain subscription with members"
        assert cursor.vacant is None, f"{who}: the record of a vacant group without a group"
    holders = list(cursor.members)
    if cursor.vacant is not None:
        holders.append(cursor.vacant)
    if not holders:
        return  # an offline durable
    held: set[int] = set()
    for member in holders:
        assert held.isdisjoint(member.in_flight), f"{who}: a message has two holders"
        held.update(member.in_flight)
    assert all(sequence <= cursor.last_sent for sequence in held), f"{who}: in flight, not sent"
    assert held.issuperset(cursor.redeliveries), f"{who}: counts redeliveries of nothing"
    queued = list(cursor.resend)
    assert len(set(queued)) == len(queued), f"{who}: a message waits twice to be sent again"


def check_channel_timers(engine: Engine, channel: Channel, armed: set[int]) -> None:
    name, limits = channel.name, channel.limits
    if limits.max_age_ns > 0 and channel.count > 0:
        assert (
            is_armed(channel.age_timer, armed)
            or channel.channel_id in engine.changes.trims_due
            or engine.batches.is_trimming(channel.channel_id)
        ), f"{name}: nobody watches its age"
    if limits.max_inactivity_ns > 0:
        idle = not channel.has_active_subscriptions()
        assert is_armed(channel.inactivity_timer, armed) == idle, f"{name}: inactivity unwatched"


def check_reachable(engine: Engine) -> None:
    for inbox, member in engine.subscriptions.by_ack_inbox.items():
        channel = member.cursor.channel
        assert member.ack_inbox.encode() == inbox
        assert member.active, f"acks to {inbox!r} reach an inactive subscription"
        assert engine.channels.by_id.get(channel.channel_id) is channel
        assert channel.subscriptions.get(member.subscription_id) is member


def check_starting(engine: Engine) -> None:
    """Whoever may not be sent anything yet has a response on its way that will change it."""
    promised = {
        reply.ack_inbox for reply in engine.batches.replies() if reply.subscription is not None
    }
    for member in engine.subscriptions.by_ack_inbox.values():
        assert member.started or member.ack_inbox in promised, (
            f"subscription {member.subscription_id} will never start"
        )


def check_clients(engine: Engine, armed: set[int]) -> None:
    clients = engine.clients
    for client_id, client in clients.by_id.items():
        assert client.client_id == client_id
        assert not client.gone, f"{client_id} is gone"
        assert is_armed(client, armed), f"{client_id}: no heartbeat is planned"
        assert not client.beat or clients.beats.get(client.beat) is client
        check_proofs(engine, client, armed)
        for number, member in client.subscriptions.items():
            assert member.subscription_id == number
            assert member.client is client
            assert member.active, f"{client_id}: keeps an inactive subscription"
            assert engine.subscriptions.by_ack_inbox.get(member.ack_inbox.encode()) is member
    for connection_id, client in clients.by_connection_id.items():
        assert client.record.connection_id == connection_id
        assert clients.by_id.get(client.client_id) is client, "a connection ID of nobody"
    for client in engine.proofs.asked.values():
        assert clients.by_id.get(client.client_id) is client, "a question to nobody"
    for beat, waiting in clients.beats.items():
        assert waiting.beat == beat
        if isinstance(waiting, DuplicateCheck):
            assert clients.checks.get(waiting.request.clientID) is waiting
            assert is_armed(waiting, armed), "a duplicate check never ends"
        elif isinstance(waiting, Client):
            assert clients.by_id.get(waiting.client_id) is waiting, "a heartbeat of nobody"


def check_proofs(engine: Engine, client: Client, armed: set[int]) -> None:
    """Whoever waits for a proof of reading waits for an answer that can come."""
    who, question, proofs = client.client_id, client.question, engine.proofs
    assert client.unproven_bytes >= 0, f"{who}: more is read than was delivered"
    assert client.is_held == (client.unproven_bytes >= proofs.limit_bytes), f"{who}: held"
    if question is None:
        assert client.unproven_bytes < proofs.ask_bytes, f"{who}: was not asked"
    else:
        assert proofs.asked.get(question.subject) is client, f"{who}: its answer is for nobody"
        assert question.covered_bytes <= client.unproven_bytes
        assert is_armed(question, armed), f"{who}: will not be asked again"
    assert client.is_held or not client.waiting, f"{who}: reads, and somebody waits for that"


def check_queue(engine: Engine) -> None:
    publishing = engine.publishing
    messages = queued_bytes = 0
    for burst in publishing.lanes:
        assert burst.guids, "an empty burst is queued"
        assert not burst.channel.deleted, "publishes to a deleted channel are queued"
        assert len(burst.guids) == len(burst.payloads)
        assert len(burst.replies) in (0, len(burst.guids))
        messages += len(burst.guids)
        queued_bytes += burst.queued_bytes
    assert publishing.queued_messages == messages, "the count of queued messages is off"
    assert publishing.queued_bytes == queued_bytes, "the bytes of queued messages are off"


def check_changes(engine: Engine) -> None:
    changes, by_id = engine.changes, engine.channels.by_id
    assert changes.channels_created.keys() <= by_id.keys(), "a deleted channel is to be created"
    assert by_id.keys().isdisjoint(changes.channels_deleted), "a living channel is to be deleted"
    assert changes.trims_due.keys() <= by_id.keys(), "a deleted channel is to be trimmed"
    for client_id, record in changes.clients.items():
        client = engine.clients.by_id.get(client_id)
        assert (record is None) == (client is None), f"{client_id}: stored otherwise than known"
        assert client is None or client.record is record
    for number, member in (*changes.subscriptions.items(), *changes.progressed.items()):
        if member is not None and not member.cursor.channel.deleted:
            kept = member.cursor.channel.subscriptions.get(number)
            assert kept is member, f"subscription {number} is to be stored, but is gone"
    if changes.channels_created or changes.channels_deleted or changes.clients:
        assert changes.urgent, "a change waits without urgency"
    if changes.subscriptions or changes.replies:
        assert changes.urgent, "a change waits without urgency"
