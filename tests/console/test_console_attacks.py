"""What the console is attacked with, attack by attack: none changes, reads or runs anything."""

import asyncio
import re
from collections.abc import Mapping
from typing import Any

import bcrypt
import pytest

from stan.console import passwords, sessions
from stan.console.access import is_loopback
from stan.console.passwords import Login, TooManyAttempts, matches
from stan.console.sessions import Sessions
from tests.console.conftest import Serve, Served
from tests.console.pretending import PAYLOADS, PretendedOperations

PURGE = {"channel": "orders.new", "kind": "all", "confirmed": "1"}
LOGIN = {"user": "admin", "password": "s3cret"}


async def purge(served: Served, headers: Mapping[str, str] | None, token: str) -> int:
    """Try the worst."""
    sent = None if headers is None else dict(headers)
    status, _ = await served.post("change", sent, token=token, operation="channel.purge", **PURGE)
    return status


async def log_in(served: Served, user: str = "admin", password: str = "s3cret") -> int:
    """Log in as a person does."""
    token = await served.token("login")
    status, _ = await served.post("login", token=token, user=user, password=password)
    return status


# Forged requests.


async def test_a_change_of_ours_is_done(served: Served) -> None:
    assert await purge(served, None, await served.token()) == 303
    assert served.operations.changes() == [
        ("channel.purge", {"channel": "orders.new", "all": True})
    ]


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "", "http://127.0.0.1:1", "http://localhost"]
)
async def test_another_site_changes_nothing_even_with_the_token(
    served: Served, origin: str
) -> None:
    assert await purge(served, {"Origin": origin}, await served.token()) == 403
    assert served.operations.changes() == []


async def test_a_request_without_an_origin_changes_nothing(served: Served) -> None:
    token = await served.token()
    assert await purge(served, {}, token) == 403
    assert await purge(served, {"Sec-Fetch-Site": "cross-site"}, token) == 403
    assert await purge(served, {"Sec-Fetch-Site": "same-site"}, token) == 403
    assert served.operations.changes() == []


async def test_a_wrong_token_or_none_changes_nothing(served: Served) -> None:
    token = await served.token()
    for wrong in ("", "x", token[:-1], token + "x", "é"):
        assert await purge(served, None, wrong) == 403
    assert served.operations.changes() == []


async def test_the_token_of_another_session_changes_nothing(served: Served) -> None:
    token = await served.token()
    served.web.cookie_jar.clear()
    await served.token()
    assert await purge(served, None, token) == 403
    assert served.operations.changes() == []


async def test_a_token_without_the_cookie_changes_nothing(served: Served) -> None:
    token = await served.token()
    served.web.cookie_jar.clear()
    assert await purge(served, None, token) == 403
    assert served.operations.changes() == []


async def test_the_cookie_is_kept_from_scripts_and_from_other_sites(serve: Serve) -> None:
    for is_secure in (False, True):
        served = await serve(is_secure=is_secure)
        async with served.web.get(served.url + "channels") as answer:
            (cookie,) = answer.headers.getall("Set-Cookie")
        assert "HttpOnly" in cookie
        assert "SameSite=Strict" in cookie
        assert ("Secure" in cookie) == is_secure
        assert str(served.monitor.port) in cookie.partition("=")[0]


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "PATCH"])
async def test_only_a_posted_form_changes_anything(served: Served, method: str) -> None:
    token = await served.token()
    query = {"token": token, "operation": "channel.purge", **PURGE}
    address = served.url + "change"
    async with served.web.request(method, address, params=query) as answer:
        assert answer.status == 404
    assert served.operations.changes() == []


@pytest.mark.parametrize("kind", ["text/plain", "application/json", "multipart/form-data"])
async def test_what_other_sites_can_send_without_asking_is_no_form(
    served: Served, kind: str
) -> None:
    token = await served.token()
    headers = {"Origin": served.origin, "Content-Type": kind}
    body = f"token={token}&operation=channel.purge&channel=orders.new&kind=all&confirmed=1"
    async with served.web.post(served.url + "change", data=body, headers=headers) as answer:
        assert answer.status == 400
    assert served.operations.changes() == []


@pytest.mark.parametrize("body", [b"\xff\xfe", b"token=%ff", b"a" * 100])
async def test_a_broken_form_is_refused_in_words(served: Served, body: bytes) -> None:
    await served.token()
    headers = {
        "Origin": served.origin,
        "Content-Type": "application/x-www-form-urlencoded; charset=nonsense",
    }
    async with served.web.post(served.url + "change", data=body, headers=headers) as answer:
        assert answer.status in (400, 403)


async def test_only_named_operations_are_run(served: Served) -> None:
    for operation in ("server.config", "channel.list", "__class__", "server.stop", ""):
        status, _ = await served.change(operation, channel="orders.new")
        assert status == 400
    assert served.operations.changes() == []


# Rebinding: a foreign name that was made to point to this machine.


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "10.0.0.1", "", "[::"])
async def test_a_foreign_name_for_this_machine_reads_nothing(served: Served, host: str) -> None:
    for page in ("", "channel?channel=orders.new", "live?topic=server"):
        status, text = await served.get(page, Host=host)
        assert status in (400, 421)
        assert "test-cluster" not in text
        assert "billing" not in text


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:8222", "[::1]:8222", "LOCALHOST:1"])
async def test_the_names_of_this_machine_are_known(served: Served, host: str) -> None:
    assert (await served.get("", Host=host))[0] == 200


async def test_rebinding_changes_nothing(served: Served) -> None:
    token = await served.token()
    headers = {"Host": "evil.example", "Origin": "http://evil.example"}
    assert await purge(served, headers, token) == 421
    assert served.operations.changes() == []


# Rights.


async def test_another_machine_changes_and_reads_nothing_without_a_login(serve: Serve) -> None:
    served = await serve(host="0.0.0.0")
    status, text = await served.get("channel?channel=orders.new")
    assert status == 200
    assert "order&#34;: 1" not in text
    assert 'name="operation"' not in text
    assert (await served.get("download?channel=orders.new&sequence=1"))[0] == 403
    token = await served.token("login")
    assert await purge(served, None, token) == 403
    assert served.operations.changes() == []


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "X-Real-IP", "Via"])
async def test_who_comes_through_a_proxy_does_not_sit_at_the_machine(
    served: Served, header: str
) -> None:
    token = await served.token()
    sent = {"Origin": served.origin, header: "10.1.2.3"}
    assert await purge(served, sent, token) == 403
    _, text = await served.get("channel?channel=orders.new", **{header: "10.1.2.3"})
    assert 'name="operation"' not in text
    assert served.operations.changes() == []


@pytest.mark.parametrize("mode", ["read", "off"])
async def test_without_admin_full_nothing_is_changed(serve: Serve, mode: str) -> None:
    served = await serve(PretendedOperations(mode=mode))
    token = await served.token("login")
    assert await purge(served, None, token) == 403
    assert 'name="operation"' not in (await served.get("channel?channel=orders.new"))[1]
    assert served.operations.changes() == []


async def test_with_admin_off_no_payload_is_read(serve: Serve) -> None:
    served = await serve(PretendedOperations(mode="off"))
    assert (await served.get("channel?channel=orders.new"))[0] == 200
    assert (await served.get("download?channel=orders.new&sequence=1"))[0] == 403
    assert "message.get" not in [endpoint for endpoint, _, _ in served.operations.asked]


# Logging in.


async def test_a_configured_login_is_needed_on_the_machine_too(serve: Serve) -> None:
    served = await serve(**LOGIN)
    token = await served.token("login")
    assert await purge(served, None, token) == 403
    assert await log_in(served) == 303
    assert await purge(served, None, await served.token()) == 303
    ((_, _, who),) = [one for one in served.operations.asked if one[0] == "channel.purge"]
    assert who == "console admin@127.0.0.1"


async def test_the_session_before_the_login_is_worth_nothing_after_it(serve: Serve) -> None:
    served = await serve(**LOGIN)
    token = await served.token("login")
    before = {one.key: one.value for one in served.web.cookie_jar}
    assert await log_in(served) == 303
    served.web.cookie_jar.clear()
    served.web.cookie_jar.update_cookies(before)
    assert await purge(served, None, token) == 403
    assert served.operations.changes() == []


async def test_after_logging_out_the_cookie_is_worth_nothing(serve: Serve) -> None:
    served = await serve(**LOGIN)
    await log_in(served)
    token = await served.token()
    kept = {one.key: one.value for one in served.web.cookie_jar}
    assert (await served.post("logout", token=token))[0] == 303
    served.web.cookie_jar.clear()
    served.web.cookie_jar.update_cookies(kept)
    assert await purge(served, None, token) == 403
    assert served.operations.changes() == []


async def test_another_site_cannot_log_a_browser_in(serve: Serve) -> None:
    served = await serve(**LOGIN)
    token = await served.token("login")
    sent = {"Origin": "http://evil.example"}
    assert (await served.post("login", sent, token=token, **LOGIN))[0] == 403
    served.web.cookie_jar.clear()
    assert (await served.post("login", token="", **LOGIN))[0] == 403


async def test_guessing_is_stopped_and_then_the_password_is_not_heard_either(serve: Serve) -> None:
    served = await serve(**LOGIN)
    for _ in range(passwords.MOST_FAILURES):
        assert await log_in(served, password="guess") == 403
    assert await log_in(served) == 429


async def test_many_guesses_at_once_are_counted_too() -> None:
    login = Login("admin", "s3cret")
    tries = [login.check("10.0.0.1", "admin", f"{number}") for number in range(50)]
    results = await asyncio.gather(*tries, return_exceptions=True)
    assert results.count(False) == passwords.MOST_FAILURES
    assert all(isinstance(one, TooManyAttempts) for one in results[passwords.MOST_FAILURES :])


async def test_a_pause_ends_and_concerns_one_address() -> None:
    now_s = 100.0
    login = Login("admin", "s3cret", lambda: now_s)
    for _ in range(passwords.MOST_FAILURES):
        assert not await login.check("10.0.0.1", "admin", "guess")
    with pytest.raises(TooManyAttempts):
        await login.check("10.0.0.1", "admin", "s3cret")
    assert await login.check("10.0.0.2", "admin", "s3cret")
    now_s += passwords.PAUSE_S
    assert await login.check("10.0.0.1", "admin", "s3cret")


async def test_failures_of_very_many_addresses_cost_no_memory() -> None:
    login = Login("admin", "s3cret")
    for number in range(passwords.MOST_ADDRESSES + 10):
        await login.check(f"address {number}", "admin", "guess")
    assert len(login._failures) == passwords.MOST_ADDRESSES


@pytest.mark.parametrize(
    ("given", "fits"),
    [("s3cret", True), ("S3cret", False), ("", False), ("s3cret\0", False), ("x" * 200, False)],
)
def test_passwords_are_plain_or_hashed_as_nats_hashes_them(given: str, fits: bool) -> None:
    hashed = bcrypt.hashpw(b"s3cret", bcrypt.gensalt(4)).decode()
    for configured in ("s3cret", hashed, "$2a$" + hashed[4:]):
        assert matches(configured, given) == fits
    assert not matches("$2b$nonsense", given)


def test_a_hash_is_no_password() -> None:
    hashed = bcrypt.hashpw(b"s3cret", bcrypt.gensalt(4)).decode()
    assert not matches(hashed, hashed)


def test_guests_push_nobody_out_who_logged_in() -> None:
    kept = Sessions()
    user = kept.begin(0.0, "admin")
    for _ in range(sessions.MOST_SESSIONS + 10):
        kept.begin(1.0)
    assert kept.find(user.key, 2.0) is user
    assert len(kept._guests) == sessions.MOST_SESSIONS


@pytest.mark.parametrize("later_s", [sessions.IDLE_S + 1, sessions.LIFETIME_S + 1])
def test_a_session_ends(later_s: float) -> None:
    kept = Sessions()
    session = kept.begin(0.0, "admin")
    assert kept.find(session.key, later_s) is None
    assert kept.find(session.key, 1.0) is None


# Payloads and names.


async def test_payloads_and_names_are_never_html(served: Served) -> None:
    name = "%3Cb%3E%26amp;%27%22x"
    for page in (
        "channel?channel=orders.new&sequence=1&view=text",
        "channel?channel=orders.new",
        "channels",
        f"channel?channel={name}",
        "channels?filter=%22%3E%3Cscript%3E",
        "durables?channel=%3Cscript%3E",
        "channel?channel=%3Cscript%3Ealert(1)%3C/script%3E",
        "client?client_id=%3Cscript%3E",
    ):
        _, text = await served.get(page)
        assert re.findall(r"<script(?! src=\"static/)|<img|<b>", text) == []


async def test_a_download_is_saved_and_never_shown(served: Served) -> None:
    address = f"{served.url}download?channel=orders.new&sequence=2"
    async with served.web.get(address) as answer:
        assert await answer.read() == PAYLOADS[1]
        assert answer.headers["Content-Type"].startswith("application/octet-stream")
        assert answer.headers["Content-Disposition"] == 'attachment; filename="message-2.bin"'
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert "sandbox" in answer.headers["Content-Security-Policy"]


@pytest.mark.parametrize("sequence", ["0", "-1", "1e3", "9" * 30, "99", "", "1;x", "²"])
async def test_a_download_of_nothing_is_a_sentence(served: Served, sequence: str) -> None:
    status, _ = await served.get(f"download?channel=orders.new&sequence={sequence}")
    assert status in (400, 404)


@pytest.mark.parametrize("page", ["", "channels", "login", "nonsense", "static/console.js"])
async def test_every_answer_carries_the_policy(served: Served, page: str) -> None:
    async with served.web.get(served.url + page) as answer:
        policy = answer.headers["Content-Security-Policy"]
        text = await answer.text()
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    if not page.startswith("static"):
        assert re.search(r"<style|\sstyle=|\son[a-z]+=|javascript:", text) is None
        assert re.search(r"(src|href|action)=\"(https?:)?//", text) is None


def test_what_loopback_is() -> None:
    yes: list[Any] = ["127.0.0.1", "127.9.9.9", "::1", "[::1]", "localhost"]
    no: list[Any] = ["0.0.0.0", "", "::", "10.0.0.1", "localhost.evil", "127.0.0.1.evil"]
    assert [is_loopback(one) for one in yes + no] == [True] * len(yes) + [False] * len(no)
