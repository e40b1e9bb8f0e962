"""Getting in again: what was asked for at first still counts after the NATS server was away.

Fails when the parts of nats-py that the entrance leans on move.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from nats.errors import Error, SecureConnWantedError

from stan.link.connecting import hide_password
from stan.link.taps import Link
from tests.tools.identities import Authority, Realm
from tests.tools.processes import NatsServer


class Entering:
    """A link, its errors, and its reconnects."""

    def __init__(self) -> None:
        self.link = Link(lambda frames: None)
        self.errors: asyncio.Queue[Exception] = asyncio.Queue()
        self.reconnected = asyncio.Event()

    async def open(self, url: str, **options: Any) -> None:
        async def again() -> None:
            self.reconnected.set()

        await self.link.open(
            [url], self.errors.put, reconnect_time_wait=0.05, reconnected_cb=again, **options
        )

    async def error(self, is_wanted: Callable[[Exception], bool]) -> Exception:
        """The next error of this kind."""
        async with asyncio.timeout(20):
            while True:
                error = await self.errors.get()
                if is_wanted(error):
                    return error

    async def back(self) -> None:
        """Wait until the link stands again."""
        async with asyncio.timeout(20):
            await self.reconnected.wait()
        assert self.link.is_connected


@pytest.fixture
async def entering() -> AsyncIterator[Entering]:
    entering = Entering()
    yield entering
    await entering.link.close()


async def test_plain_text_is_refused_when_the_server_comes_back_without_tls(
    entering: Entering, restartable_nats: NatsServer, tmp_path: Path
) -> None:
    authority = Authority(tmp_path, "ca")
    issued = authority.issue("server", "127.0.0.1")
    flags = ("--tls", "--tlscert", issued.certificate, "--tlskey", issued.key)
    restartable_nats.stop()
    restartable_nats.start(*flags)
    context = ssl.create_default_context(cafile=authority.file)
    await entering.open(restartable_nats.url, tls=context)
    await entering.link.flush()
    restartable_nats.kill()
    restartable_nats.start()
    await entering.error(lambda error: isinstance(error, SecureConnWantedError))
    assert not entering.link.is_connected
    restartable_nats.kill()
    restartable_nats.start(*flags)
    await entering.back()


async def test_credentials_may_be_replaced_while_the_server_is_away(
    entering: Entering, restartable_nats: NatsServer, tmp_path: Path
) -> None:
    old, new = Realm(), Realm()
    credentials, configuration = tmp_path / "user.creds", tmp_path / "nats.conf"
    old.write_credentials(credentials)
    configuration.write_text(old.configuration())
    restartable_nats.stop()
    restartable_nats.start("-c", str(configuration))
    await entering.open(restartable_nats.url, user_credentials=str(credentials))
    restartable_nats.kill()
    credentials.write_text("half of a file")
    configuration.write_text(new.configuration())
    restartable_nats.start("-c", str(configuration))
    error = await entering.error(lambda error: "JWT" in str(error) or "seed" in str(error))
    assert isinstance(error, Error)
    new.write_credentials(credentials)
    await entering.back()


async def test_a_callback_that_fails_is_reported_and_the_connection_comes_back(
    entering: Entering, restartable_nats: NatsServer
) -> None:
    restartable_nats.stop()
    restartable_nats.start("--auth", "a-token")
    tokens: list[str] = ["a-token"]
    await entering.open(restartable_nats.url, token=tokens.pop)
    restartable_nats.kill()
    restartable_nats.start("--auth", "a-token")
    await entering.error(lambda error: str(error).startswith("nats: no credentials: IndexError"))
    tokens.extend(["a-token"] * 100)
    await entering.back()


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("nats://h:1", "nats://h:1"),
        ("nats://u:p@a:1, tls://t@b", "nats://a:1, tls://b"),
        ("u:p@a", "a"),
        ("nats://u:p/q@r,s@h:1", "nats://h:1"),
    ],
)
def test_urls_are_shown_without_secrets(url: str, shown: str) -> None:
    assert hide_password(url) == shown
