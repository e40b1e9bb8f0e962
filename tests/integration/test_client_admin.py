"""The admin client, against a service that answers what a test wants."""

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import nats
import pytest

import stan
from stan.client.answers import read_time, read_time_ns
from stan.client.transport import dial_plainly
from tests.integration.conftest import fresh_name
from tests.tools.admin_service import AdminService, Fields, page
from tests.tools.processes import NatsServer


@pytest.fixture
async def service(nats_server: NatsServer) -> AsyncIterator[AdminService]:
    service = await AdminService(nats_server.url).start()
    yield service
    await service.stop()


@pytest.fixture
async def admin(service: AdminService, nats_server: NatsServer) -> AsyncIterator[stan.Admin]:
    client = await dial_plainly([nats_server.url], "test", {})
    yield stan.admin(client, service.cluster)
    await client.close()


async def test_answers_are_typed(admin: stan.Admin, service: AdminService) -> None:
    service.answers["channel.info"] = {
        "name": "orders",
        "messages": 3,
        "first_time": "2026-01-02T03:04:05.678901234Z",
        "last_time": "",
        "limits": {"max_msgs": 10, "max_age_s": 1.5},
        "of_a_newer_server": True,
    }
    info = await admin.channel("orders")
    assert service.asked == [("channel.info", {"channel": "orders"})]
    assert (info.name, info.messages, info.last_time) == ("orders", 3, None)
    assert info.first_time == datetime(2026, 1, 2, 3, 4, 5, 678901, UTC)
    assert info.limits == stan.Limits(max_msgs=10, max_age_s=1.5)
    service.answers["message.get"] = {"messages": [{"sequence": 7, "data": "w6Q="}]}
    (message,) = await admin.messages("orders", last=1)
    assert (message.sequence, message.data) == (7, "ä".encode())
    service.answers["durable.info"] = {"lag": 2, "members": [{"client_id": "me", "pending": 2}]}
    durable = await admin.durable("orders", client_id="me", durable="d")
    assert durable.members == (stan.MemberInfo("me", pending=2),)


async def test_lists_are_fetched_page_by_page(admin: stan.Admin, service: AdminService) -> None:
    names = [f"c{number:04}" for number in range(2500)]

    rows = [{"name": name} for name in names]
    service.answers["channel.list"] = lambda fields: page(fields, "channels", rows)
    assert [channel.name async for channel in admin.channels("c*")] == names
    assert [fields["offset"] for _, fields in service.asked] == [0, 1024, 2048]
    assert all(fields["filter"] == "c*" for _, fields in service.asked)


@pytest.mark.parametrize("way", ["body", "headers"])
async def test_a_refusal_has_code_and_words(
    admin: stan.Admin, service: AdminService, way: str
) -> None:
    words = 'channel "a" does not exist'
    if way == "headers":
        service.headers = {"Nats-Service-Error-Code": "404", "Nats-Service-Error": words}
        service.answers["channel.delete"] = b""
    else:
        service.answers["channel.delete"] = {"error": {"code": 404, "description": words}}
    with pytest.raises(stan.AdminError, match="does not exist") as caught:
        await admin.delete_channel("a", dry_run=True)
    assert (caught.value.code, str(caught.value)) == (404, words)
    assert service.asked == [("channel.delete", {"channel": "a", "dry_run": True})]


@pytest.mark.parametrize("answer", [b"hello", [1], {"messages": "many", "limits": 5}])
async def test_what_is_no_answer_is_an_admin_error(
    admin: stan.Admin, service: AdminService, answer: Any
) -> None:
    service.answers["channel.info"] = answer
    with pytest.raises(stan.AdminError):
        await admin.channel("a")


async def test_nobody_answers(nats_server: NatsServer, admin: stan.Admin) -> None:
    client = await dial_plainly([nats_server.url], "test", {})
    with pytest.raises(stan.AdminError, match="-admin read") as caught:
        await stan.admin(client, fresh_name("nobody")).server_info()
    assert caught.value.code == 503
    silent = fresh_name("silent")
    await client.subscribe(f"_STAN.admin.{silent}.>")
    with pytest.raises(stan.RequestTimeoutError):
        await stan.admin(client, silent, timeout=0.05).server_info()
    await client.close()
    with pytest.raises(stan.InvalidConnectionError):
        await stan.admin(client, silent).server_info()


NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
ME: Fields = {"channel": "a", "client_id": "me", "durable": "d"}
CALLS: list[tuple[str, Callable[[stan.Admin], Awaitable[Any]], Fields]] = [
    ("server.info", lambda a: a.server_info(), {}),
    ("server.reload", lambda a: a.reload(), {}),
    ("server.handover", lambda a: a.handover(), {}),
    ("channel.create", lambda a: a.create_channel("a"), {"channel": "a"}),
    (
        "channel.create",
        lambda a: a.create_channel("a", max_msgs=5),
        {"channel": "a", "limits": {"max_msgs": 5}},
    ),
    (
        "channel.limits",
        lambda a: a.set_limits("a", max_age_s=1.5),
        {"channel": "a", "limits": {"max_age_s": 1.5}},
    ),
    ("channel.limits", lambda a: a.reset_limits("a"), {"channel": "a", "limits": None}),
    ("channel.purge", lambda a: a.purge("a", all=True), {"channel": "a", "all": True}),
    ("channel.purge", lambda a: a.purge("a", up_to=0), {"channel": "a", "up_to": 0}),
    (
        "channel.purge",
        lambda a: a.purge("a", before=NOON, dry_run=True),
        {"channel": "a", "before": "2026-01-31T12:00:00.000000Z", "dry_run": True},
    ),
    (
        "channel.delete",
        lambda a: a.delete_channel("a", force=True),
        {"channel": "a", "force": True},
    ),
    ("message.get", lambda a: a.messages("a", sequence=3), {"channel": "a", "sequence": 3}),
    (
        "message.get",
        lambda a: a.messages("a", time=NOON, count=2, max_bytes=9),
        {"channel": "a", "time": "2026-01-31T12:00:00.000000Z", "count": 2, "max_bytes": 9},
    ),
    ("message.delete", lambda a: a.delete_message("a", 3), {"channel": "a", "sequence": 3}),
    ("message.publish", lambda a: a.publish("a", b"x"), {"channel": "a", "data": "eA=="}),
    ("durable.info", lambda a: a.durable("a", client_id="me", durable="d"), ME),
    (
        "durable.move",
        lambda a: a.move_durable("a", queue_group="d:g", to="new"),
        {"channel": "a", "queue_group": "d:g", "to": "new"},
    ),
    (
        "durable.move",
        lambda a: a.move_durable("a", client_id="me", durable="d", time=NOON),
        ME | {"time": "2026-01-31T12:00:00.000000Z"},
    ),
    ("durable.delete", lambda a: a.delete_durable("a", client_id="me", durable="d"), ME),
    ("durable.resend", lambda a: a.resend("a", client_id="me", durable="d"), ME),
    ("client.info", lambda a: a.client("me"), {"client_id": "me"}),
    ("client.disconnect", lambda a: a.disconnect("me"), {"client_id": "me"}),
]


@pytest.mark.parametrize(("endpoint", "call", "fields"), CALLS)
async def test_a_method_asks_its_endpoint_for_what_was_given_and_no_more(
    admin: stan.Admin,
    service: AdminService,
    endpoint: str,
    call: Callable[[stan.Admin], Awaitable[Any]],
    fields: Fields,
) -> None:
    service.answers[endpoint] = {}
    await call(admin)
    assert service.asked == [(endpoint, fields)]


async def test_durables_and_clients_are_iterated(admin: stan.Admin, service: AdminService) -> None:
    service.answers["durable.list"] = {"total": 1, "durables": [{"channel": "a", "lag": 2}]}
    assert [row.lag async for row in admin.durables("a", stalled=True)] == [2]
    service.answers["client.list"] = {"total": 1, "clients": [{"client_id": "me"}]}
    assert [row.client_id async for row in admin.clients()] == ["me"]


def test_times_are_exact() -> None:
    assert read_time_ns("2026-01-02T03:04:05.678901234Z") == 1767323045678901234
    assert read_time_ns("1970-01-01T00:00:01.5+00:00") == 1_500_000_000
    assert (read_time_ns(""), read_time("")) == (0, None)
    with pytest.raises(ValueError, match="is not a time in UTC"):
        read_time_ns("yesterday")


async def test_a_connection_has_an_admin(connect: Any, nats_server: NatsServer) -> None:
    connection = await connect()
    client = await nats.connect(nats_server.url)

    async def answer(message: Any) -> None:
        await message.respond(b'{"cluster_id": "x"}')

    subject = f"_STAN.admin.{connection.cluster_id}.server.info"
    await client.subscribe(subject, "fake", cb=answer)
    await client.flush()
    try:
        info = await connection.admin.server_info()
        assert isinstance(info, stan.ServerInfo)
    finally:
        await client.close()
