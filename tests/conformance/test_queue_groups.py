"""Statements on queue groups: sharing, leaving, redelivery between members, durable groups."""

import asyncio
from collections.abc import Iterable

import pytest

from stan.wire import stan_pb2 as pb
from tests.tools.streaming_client import Client, Clients, Subscription
from tests.tools.streaming_server import StreamingServer


@pytest.fixture
async def quick_client(clients: Clients, quick_server: StreamingServer) -> Client:
    """A registered client of the server with the short ack waits."""
    return await clients.connect(quick_server)


async def gather(members: Iterable[Subscription], count: int) -> list[tuple[int, pb.MsgProto]]:
    """The next `count` messages of any of the members, as (member's index, message)."""
    waiting = {asyncio.ensure_future(m.next()): (i, m) for i, m in enumerate(members)}
    got: list[tuple[int, pb.MsgProto]] = []
    while len(got) < count:
        done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            index, member = waiting.pop(task)
            got.append((index, task.result()))
            waiting[asyncio.ensure_future(member.next())] = (index, member)
    for task in waiting:
        task.cancel()
    return got


@pytest.mark.statement(75)
async def test_each_group_gets_all_and_its_members_share(client: Client, channel: str) -> None:
    red = [await client.subscribe(channel, qGroup="red") for _ in range(2)]
    blue = [await client.subscribe(channel, qGroup="blue") for _ in range(2)]
    await client.publish_count(channel, 20)
    for group in (red, blue):
        got = await gather(group, 20)
        assert sorted(message.sequence for _, message in got) == list(range(1, 21))
        assert {index for index, _ in got} == {0, 1}


@pytest.mark.statement(76)
async def test_equal_members_take_turns(client: Client, channel: str) -> None:
    members = [await client.subscribe(channel, qGroup="g") for _ in range(2)]
    await client.publish_count(channel, 6)
    sequences = [await member.take_sequences(3) for member in members]
    assert sorted(sequences) == [[1, 3, 5], [2, 4, 6]]


@pytest.mark.statement(76)
async def test_member_with_the_fewest_unacked_is_next(client: Client, channel: str) -> None:
    members = [await client.subscribe(channel, qGroup="g") for _ in range(2)]
    await client.publish_count(channel, 4)
    idle, busy = members
    await idle.ack(*await idle.take_sequences(2))
    await busy.take(2)
    await client.round_trip()
    for number in (5, 6):
        await client.publish(channel)
        assert (await idle.next()).sequence == number
    assert busy.messages.empty()


@pytest.mark.statement(77)
async def test_newcomer_cannot_choose_its_start(client: Client, channel: str) -> None:
    first = await client.subscribe(channel, qGroup="g")
    await client.publish_count(channel, 4)
    await first.take(4, ack=True)
    second = await client.subscribe(
        channel, qGroup="g", startPosition=pb.SequenceStart, startSequence=1
    )
    await client.publish_count(channel, 2)
    got = await gather([first, second], 2)
    assert sorted(message.sequence for _, message in got) == [5, 6]
    assert not any(message.redelivered for _, message in got)


@pytest.mark.statement(78)
@pytest.mark.parametrize("verb", ["subclose", "unsub"])
async def test_last_member_takes_a_plain_group_along(
    client: Client, channel: str, verb: str
) -> None:
    members = [await client.subscribe(channel, qGroup="g") for _ in range(2)]
    await client.publish_count(channel, 2)
    await gather(members, 2)
    for member in members:
        assert await client.leave(member, verb) == ""
    anew = await client.subscribe(channel, qGroup="g")
    got = await anew.take(2)
    assert [(message.sequence, message.redelivered) for message in got] == [(1, False), (2, False)]


@pytest.mark.statement(79)
async def test_durable_group_outlives_its_members(client: Client, channel: str) -> None:
    durable = {"qGroup": "g", "durableName": "d"}
    members = [await client.subscribe(channel, **durable) for _ in range(2)]
    await client.publish_count(channel, 4)
    for member in members:
        await member.take(2, ack=True)
        assert await client.close_subscription(member) == ""
    await client.publish(channel)
    later = await client.subscribe(channel, **durable)
    message = await later.next()
    assert (message.sequence, message.redelivered) == (5, False)
    assert await later.is_quiet()


@pytest.mark.statement(79)
async def test_durable_group_resumes_with_its_unacked(client: Client, channel: str) -> None:
    durable = {"qGroup": "g", "durableName": "d"}
    member = await client.subscribe(channel, **durable)
    await client.publish_count(channel, 3)
    await member.take(3)
    await member.ack(2)
    assert await client.close_subscription(member) == ""
    await client.publish(channel)
    later = await client.subscribe(channel, **durable)
    got = await later.take(3)
    marks = [(message.sequence, message.redelivered) for message in got]
    assert marks == [(1, True), (3, True), (4, False)]


@pytest.mark.statement(80)
async def test_unsubscribe_of_the_last_member_ends_a_durable_group(
    client: Client, channel: str
) -> None:
    durable = {"qGroup": "g", "durableName": "d"}
    member = await client.subscribe(channel, **durable)
    await client.publish_count(channel, 2)
    await member.take(2, ack=True)
    assert await client.unsubscribe(member) == ""
    anew = await client.subscribe(channel, **durable)
    assert await anew.take_sequences(2) == [1, 2]


@pytest.mark.statement(81)
async def test_unsubscribe_of_another_member_leaves_the_durable_group(
    client: Client, channel: str
) -> None:
    durable = {"qGroup": "g", "durableName": "d"}
    members = [await client.subscribe(channel, **durable) for _ in range(2)]
    await client.publish_count(channel, 2)
    for member in members:
        await member.take(1, ack=True)
    assert await client.unsubscribe(members[0]) == ""
    assert await client.close_subscription(members[1]) == ""
    await client.publish(channel)
    later = await client.subscribe(channel, **durable)
    assert (await later.next()).sequence == 3


@pytest.mark.statement(82)
@pytest.mark.parametrize("verb", ["subclose", "unsub", "close"])
@pytest.mark.parametrize("durable_name", ["", "d"], ids=["group", "durable-group"])
async def test_messages_of_a_leaving_member_go_to_the_others(
    clients: Clients, server: StreamingServer, channel: str, verb: str, durable_name: str
) -> None:
    leaver, stayer = await clients.connect(server), await clients.connect(server)
    group = {"qGroup": "g", "durableName": durable_name}
    leaving = await leaver.subscribe(channel, **group)
    staying = await stayer.subscribe(channel, **group)
    await stayer.publish_count(channel, 4)
    left = await leaving.take_sequences(2)
    await staying.take(2, ack=True)
    error = await (leaver.close() if verb == "close" else leaver.leave(leaving, verb))
    assert error == ""
    # Long before the ack wait of 30 s.
    got = await staying.take(2)
    assert [message.sequence for message in got] == left
    assert all(message.redelivered and message.redeliveryCount == 1 for message in got)


@pytest.mark.statement(83)
async def test_stalled_member_does_not_hold_the_group(client: Client, channel: str) -> None:
    stalled = await client.subscribe(channel, qGroup="g", maxInFlight=1)
    await client.publish(channel)
    assert (await stalled.next()).sequence == 1
    other = await client.subscribe(channel, qGroup="g")
    await client.publish_count(channel, 10)
    assert await other.take_sequences(10) == list(range(2, 12))
    assert stalled.messages.empty()


@pytest.mark.statement(83)
async def test_each_member_has_its_own_max_in_flight(client: Client, channel: str) -> None:
    small = await client.subscribe(channel, qGroup="g", maxInFlight=1)
    large = await client.subscribe(channel, qGroup="g", maxInFlight=3)
    await client.publish_count(channel, 10)
    assert (await small.next()).sequence == 1
    assert await large.take_sequences(3) == [2, 3, 4]
    assert await large.is_quiet()
    await small.ack(1)
    assert (await small.next()).sequence == 5
    assert large.messages.empty()


@pytest.mark.statement(84)
async def test_stalled_group_waits_for_an_ack_or_a_member(client: Client, channel: str) -> None:
    members = [await client.subscribe(channel, qGroup="g", maxInFlight=1) for _ in range(2)]
    await client.publish_count(channel, 5)
    got = await gather(members, 2)
    assert sorted(message.sequence for _, message in got) == [1, 2]
    assert await members[0].is_quiet()
    assert members[1].messages.empty()
    index, message = got[0]
    await members[index].ack(message.sequence)
    assert (await members[index].next()).sequence == 3
    newcomer = await client.subscribe(channel, qGroup="g", maxInFlight=1)
    assert (await newcomer.next()).sequence == 4


@pytest.mark.statement(85)
async def test_late_ack_on_the_old_members_inbox_counts(
    quick_client: Client, channel: str, quick_server: StreamingServer
) -> None:
    wait = quick_server.ack_wait(0.6)
    first = await quick_client.subscribe(channel, wait, qGroup="g")
    await quick_client.publish(channel)
    assert (await first.next()).sequence == 1
    second = await quick_client.subscribe(channel, wait, qGroup="g")
    ((index, message),) = await gather([first, second], 1)
    assert (index, message.redeliveryCount) == (1, 1)  # the member with fewer unacked
    await first.ack(1)
    assert await second.is_quiet(wait.seconds * 2)
    assert first.messages.empty()


@pytest.mark.statement(86)
async def test_redeliveries_count_across_the_members(
    quick_client: Client, channel: str, quick_server: StreamingServer
) -> None:
    wait = quick_server.ack_wait(0.2)
    members = [await quick_client.subscribe(channel, wait, qGroup="g") for _ in range(2)]
    await quick_client.publish(channel)
    got = await gather(members, 4)
    assert [message.redeliveryCount for _, message in got] == [0, 1, 2, 3]
    assert {index for index, _ in got} == {0, 1}


@pytest.mark.statement(87)
async def test_durable_and_plain_group_of_one_name_are_two(client: Client, channel: str) -> None:
    plain = await client.subscribe(channel, qGroup="g")
    durable = await client.subscribe(channel, qGroup="g", durableName="d")
    await client.publish_count(channel, 3)
    assert await plain.take_sequences(3) == [1, 2, 3]
    assert await durable.take_sequences(3) == [1, 2, 3]


@pytest.mark.statement(88)
async def test_another_client_may_resume_a_durable_group(
    clients: Clients, server: StreamingServer, channel: str
) -> None:
    durable = {"qGroup": "g", "durableName": "d"}
    first, second = await clients.connect(server), await clients.connect(server)
    member = await first.subscribe(channel, **durable)
    await first.publish_count(channel, 3)
    await member.take(1, ack=True)
    await member.take(2)
    assert await first.close() == ""
    later = await second.subscribe(channel, **durable)
    got = await later.take(2)
    assert [(message.sequence, message.redelivered) for message in got] == [(2, True), (3, True)]
