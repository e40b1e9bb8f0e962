"""The NATS permissions that docs/operations.md tells operators to give: these and no others.

The NATS server is configured with exactly the text on that page. Everything a client can do
must work within it, and a permission that is missing must be named in the log.
"""

import asyncio
import re
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import nats
import pytest

import stan
from tests.tools.processes import LoggedProcess, NatsServer, StartFailed
from tests.tools.streaming_client import until
from tests.tools.streaming_server import StreamingServer, implementation_under_test

GUIDE = Path(__file__).parents[2] / "docs" / "operations.md"
CLUSTER = "test-cluster"
WAIT_S = 20


def permissions() -> str:
    """The block of the operations guide that begins with `authorization`."""
    [block] = re.findall(r"```\n(authorization \{\n.*?)```", GUIDE.read_text(), re.DOTALL)
    return str(block)


class Place:
    """A NATS server with users, and streaming servers on it."""

    def __init__(self, directory: Path, configuration: str) -> None:
        path = directory / "nats.conf"
        path.write_text(configuration)
        self.nats = NatsServer().start("-c", str(path))
        self.url = self.nats.url
        self.server = StreamingServer(
            *(implementation_under_test(), self.url, "SQL", directory),
            ("-user", "streaming", "-pass", "secret-1"),
            cluster=CLUSTER,
        )

    def connect(self, client_id: str, **options: Any) -> Any:
        """A client, as the user that clients are."""
        return stan.connect(
            CLUSTER, client_id, servers=self.url, user="app", password="secret-2", **options
        )

    def stop(self) -> None:
        """End them."""
        self.server.stop()
        self.nats.stop()


Make = Callable[[str], Place]


@pytest.fixture
def make_place(tmp_path: Path) -> Iterator[Make]:
    places: list[Place] = []

    def make(configuration: str) -> Place:
        places.append(Place(tmp_path, configuration))
        return places[-1]

    yield make
    for place in places:
        place.stop()


async def receive(subscription: stan.Subscription, count: int) -> list[bytes]:
    """The payloads of the next messages, which are acked by hand."""
    received = []
    async with asyncio.timeout(WAIT_S):
        while len(received) < count:
            message = await anext(subscription)
            received.append(message.data)
            await message.ack()
    return received


async def test_the_permissions_of_the_guide_are_enough_for_everything(make_place: Make) -> None:
    place = make_place(permissions())
    await asyncio.to_thread(place.server.start)
    async with AsyncExitStack() as stack:
        sc = await stack.enter_async_context(place.connect("me", ping_interval=1))
        other = await stack.enter_async_context(place.connect("other"))
        durable = await sc.subscribe("orders.new", durable="mine", manual_acks=True)
        plain = await other.subscribe("orders.new", manual_acks=True)
        group = await other.subscribe(
            "orders.new", queue="workers", durable="group", manual_acks=True
        )
        await sc.publish("orders.new", b"1")
        assert await (await other.publish_async("orders.new", b"2"))
        for subscription in (durable, plain, group):
            assert await receive(subscription, 2) == [b"1", b"2"]
        # The server asks the first one whether it lives, and it answers.
        with pytest.raises(stan.StanError, match="clientID already registered"):
            await place.connect("me")
        await group.unsubscribe()
        await plain.close()
        # A restart listens to the same acks again.
        await asyncio.to_thread(place.server.kill)
        await asyncio.to_thread(place.server.start)
        await other.publish("orders.new", b"3")
        assert await receive(durable, 1) == [b"3"]
        await durable.close()
        again = await sc.subscribe("orders.new", durable="mine", manual_acks=True)
        await sc.publish("orders.new", b"4")
        assert await receive(again, 1) == [b"4"]
        await again.unsubscribe()
    assert "Violation" not in place.nats.process.output
    assert place.server.process is not None
    assert "violation" not in place.server.process.output


async def test_they_are_enough_for_a_group(make_place: Make) -> None:
    place = make_place(permissions())
    place.server.flags = (*place.server.flags, "-ft_group", "a")
    await asyncio.to_thread(place.server.start)
    standby = LoggedProcess(place.server.arguments())
    try:
        await asyncio.to_thread(standby.wait_for, "Starting in standby mode")
        async with place.connect("me") as sc:
            await sc.publish("orders.new", b"1")
            await asyncio.to_thread(place.server.kill)
            await asyncio.to_thread(standby.wait_for, "Server is active")
            await sc.publish("orders.new", b"2")
        assert "Violation" not in place.nats.process.output
    finally:
        standby.stop()


async def test_a_client_is_not_a_server(make_place: Make) -> None:
    """Who may not listen serves nobody, and says so instead of that it is ready."""
    place = make_place(permissions())
    place.server.flags = ("-user", "app", "-pass", "secret-2")
    with pytest.raises(StartFailed) as raised:
        await asyncio.to_thread(place.server.start)
    said = str(raised.value)
    assert (
        "Failed to start: the NATS user of this server may not subscribe to"
        " _STAN.pub.test-cluster.>, _STAN.sub.test-cluster, "
    ) in said
    place.nats.process.wait_for("Subscription Violation")  # which the other test must not find


async def test_a_user_without_the_last_two_of_them_has_a_server_without_admin_service(
    make_place: Make,
) -> None:
    place = make_place(permissions().replace(', "_STAN.admin.test-cluster.>", "$SRV.>"', ""))
    await asyncio.to_thread(place.server.start)
    process = place.server.process
    assert process is not None
    await asyncio.to_thread(process.wait_for, "No admin service: the NATS user")
    async with place.connect("me") as sc:
        await sc.publish("orders.new", b"1")
    assert not re.search(r"\[(ERR|WRN)\]", process.output), process.output
    await asyncio.to_thread(place.nats.process.wait_for, "Violation", nth=2)
    assert place.nats.process.output.count("Violation") == 2


def admin_permissions() -> tuple[str, str]:
    """What the admin guide lets readers and administrators do."""
    text = (GUIDE.parent / "admin.md").read_text()
    reader, administrator = re.findall(r"^permissions (\{.*?\})$", text, re.DOTALL | re.MULTILINE)
    return reader, administrator


async def test_readers_may_look_and_administrators_change(make_place: Make) -> None:
    reader, administrator = admin_permissions()
    place = make_place(
        "authorization { users: [\n"
        '{ user: streaming, password: "secret-1" }\n'
        '{ user: app, password: "secret-2" }\n'
        f"{{ user: reader, password: r, permissions: {reader} }}\n"
        f"{{ user: chief, password: c, permissions: {administrator} }}\n"
        "] }\n"
    )
    place.server.flags += ("-admin", "full")
    await asyncio.to_thread(place.server.start)
    async with place.connect("me") as sc:
        await sc.publish("orders", b"1")
        await sc.publish("orders", b"2")
    looking = await nats.connect(place.url, user="reader", password="r", error_cb=ignore)
    ruling = await nats.connect(place.url, user="chief", password="c")
    reads, rules = stan.admin(looking, CLUSTER), stan.admin(ruling, CLUSTER)

    async def is_offered() -> bool:
        try:
            return (await reads.server_info()).mode == "full"
        except stan.AdminError:
            return False

    await until(is_offered)
    assert [one.name async for one in reads.channels()] == ["orders"]
    assert [one.data for one in await reads.messages("orders", last=2)] == [b"1", b"2"]
    with pytest.raises(stan.AdminError, match=r"may not publish to .*channel\.purge") as refused:
        await reads.purge("orders", all=True)
    assert refused.value.code == 403
    assert (await rules.purge("orders", all=True)).purged == 2
    await looking.close()
    await ruling.close()


async def ignore(_: Exception) -> None:
    return None
