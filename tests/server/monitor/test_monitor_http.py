"""The port itself: health, the page for browsers, methods, what is not there, start and stop."""

import asyncio
import json
import socket
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from stan.errors import MonitorError, StoreUnavailableError
from stan.server.monitor.identity import FT_ACTIVE, Identity
from stan.server.monitor.monitor import Monitor
from tests.server.monitor.conftest import Monitored


class Unreachable:
    """A store that has gone away."""

    async def outcome(self) -> int:
        raise StoreUnavailableError("gone")


def ask(url: str, method: str) -> tuple[int, dict[str, str], bytes]:
    """A request with another method than GET."""
    try:
        with urlopen(Request(url, method=method), timeout=20) as response:
            return response.status, dict(response.headers), response.read()
    except HTTPError as error:
        with error:
            return error.code, dict(error.headers), error.read()


async def test_index_links_to_the_four_documents(monitored: Monitored) -> None:
    for path in ("streaming", ""):
        page = await monitored.get(path)
        assert (page.status, page.content_type) == (200, "text/html; charset=utf-8")
        for name in ("serverz", "storez", "clientsz", "channelsz"):
            assert f'href="./streaming/{name}"' in page.body


async def test_health_when_all_is_well(monitored: Monitored) -> None:
    for path in ("healthz", "healthz/live", "healthz/ready"):
        answer = await monitored.get(path)
        assert (answer.status, json.loads(answer.body)) == (200, {"status": "ok"})


async def test_alive_but_not_ready_without_the_store(monitored: Monitored) -> None:
    monitored.monitor._store = Unreachable()  # type: ignore[assignment]
    assert (await monitored.get("healthz/live")).status == 200
    for path in ("healthz", "healthz/ready"):
        answer = await monitored.get(path)
        assert answer.status == 503
        assert json.loads(answer.body) == {"status": "unavailable", "nats": True, "store": False}


async def test_alive_but_not_ready_without_nats(monitored: Monitored) -> None:
    await monitored.transport.close()
    assert (await monitored.get("healthz/live")).status == 200
    answer = await monitored.get("healthz/ready")
    assert answer.status == 503
    assert json.loads(answer.body) == {"status": "unavailable", "nats": False, "store": True}


async def test_active_probe_follows_the_state(monitored: Monitored) -> None:
    assert (await monitored.get("streaming/isFTActive")).status == 204
    monitored.monitor.identity.state = FT_ACTIVE
    assert (await monitored.get("streaming/isFTActive")) == (200, "", "")


async def test_only_reading_is_possible(monitored: Monitored) -> None:
    url = f"{monitored.url}/streaming/channelsz"
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        status, headers, _ = await asyncio.to_thread(ask, url, method)
        assert (status, headers["Allow"]) == (405, "GET, HEAD")
    status, headers, body = await asyncio.to_thread(ask, url, "HEAD")
    assert (status, body) == (200, b"")
    assert int(headers["Content-Length"]) > 100


async def test_unknown_paths(monitored: Monitored) -> None:
    for path in ("nothing", "streaming/", "streaming/SERVERZ", "varz"):
        assert await monitored.get(path) == (
            404,
            "text/plain; charset=utf-8",
            "404 page not found\n",
        )


async def test_offset_far_beyond_the_end(monitored: Monitored) -> None:
    answer = await monitored.get("streaming/clientsz?offset=99999999999999999999")
    page = json.loads(answer.body)
    assert (page["offset"], page["count"], page["clients"]) == (2**63 - 1, 0, [])


async def test_defect_becomes_a_plain_500(
    monitored: Monitored, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise RuntimeError("a defect")

    monkeypatch.setattr(monitored.monitor._view, "totals", fail)
    answer = await monitored.get("streaming/serverz")
    assert answer == (500, "text/plain; charset=utf-8", "Internal Server Error\n")
    assert "Monitoring /streaming/serverz failed: a defect" in caplog.text


async def test_malformed_request_says_nothing_in_the_log(
    monitored: Monitored, caplog: pytest.LogCaptureFixture
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", monitored.monitor.port)
    writer.write(b"NONSENSE\r\n\r\n")
    assert (await reader.readline()).split()[1] == b"400"
    writer.close()
    assert caplog.text == ""


async def test_taken_port_is_one_clear_line(monitored: Monitored) -> None:
    parts = monitored.monitor
    other = Monitor(
        Identity("c", "id", "0", 1), parts._metrics._pump, monitored.store, lambda: True
    )
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(
            MonitorError, match=f"127.0.0.1:{port} for monitoring: Address already in use$"
        ):
            await other.start("127.0.0.1", port)
    await other.stop()


async def test_stop_twice_and_refuse_afterwards(monitored: Monitored) -> None:
    port = monitored.monitor.port
    await monitored.monitor.stop()
    await monitored.monitor.stop()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)
