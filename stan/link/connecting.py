"""How a NATS connection gets in: TLS, credentials, and one clear line when it does not.

nats-py does the connecting. What this adds: TLS that was asked for is insisted upon;
credentials files are checked before and read anew each time; each server is tried once; a
refusal fails at once and says what the server said; closing never waits for long. Of
nats-py's internals this touches `_connect_to_server`, `_process_connect_init`,
`_process_info`, `_connect_command`, `_close`, `_public_nkey`, `_flush_queue`, `_pending`
and `_status`; tests/integration fails when they move.
"""

import asyncio
import json
import os
import re
import socket
import ssl
import time
from collections import UserString
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any
from urllib.parse import unquote

from nats.aio.client import DEFAULT_BUFFER_SIZE, Client
from nats.aio.transport import TcpTransport
from nats.errors import Error, NoServersError, SecureConnWantedError

from stan.link.credentials import Nkey, UserCredentials
from stan.link.websocket import WebSocket

_CONNECT = b"CONNECT "
_WEBSOCKET = ("ws", "wss")
# How long closing waits for what was written before.
_LAST_WORDS_S = 2.0
# A server was there, and did not let us in.
_ANSWERS = (Error, ssl.SSLError, ConnectionResetError, ConnectionAbortedError, BrokenPipeError)
# All up to the last @ of a URL: a password may hold characters that nobody encoded.
_USER_INFO = re.compile(r"(?:(?<=://)|(?<!\S))(?:(?!://)\S)*@")
_QUOTED = re.compile(r"nats: '(.*)'")

OnError = Callable[[Exception], Awaitable[None]]


class SecureClient(Client):
    """A nats-py client that gets in safely, or says why not."""

    was_closed = False
    """Whether it was asked to close, or gave up reconnecting; not when its server closed it."""

    async def open(self, servers: list[str], on_error: OnError, **options: Any) -> None:
        """Connect, trying each server once; a connection that stood is then kept up as
        `max_reconnect_attempts` says (for ever, if it does not). Each error goes to `on_error`.

        Raises nats.errors.NoServersError, with the reason as its cause, when no server
        answered; nats.errors.Error, with one clear line, when one did and did not let us
        in; what nats-py's connect raises for options that make no sense, and ImportError.
        """
        attempts = options.pop("max_reconnect_attempts", -1)
        errors: list[Exception] = []
        in_progress = True

        async def report(error: Exception) -> None:
            if in_progress:
                errors.append(error)
            await on_error(error)

        try:
            # Below one: nats-py then drops a server from the round after its first failure.
            few: dict[str, Any] = {"max_reconnect_attempts": 0.5}
            await self.connect(servers, error_cb=report, **self._identify(options), **few)
        except NoServersError:
            self._abort()
            raise _verdict(errors) from (errors[-1] if errors else None)
        except BaseException:
            await self._abandon()
            raise
        finally:
            in_progress = False
        self.options["max_reconnect_attempts"] = attempts

    async def close(self) -> None:
        """Close for good, after what was written has left if that does not take long. Nothing
        happens when there never was a connection."""
        if not self._was_tried:
            return
        self.was_closed = True
        try:
            async with asyncio.timeout(_LAST_WORDS_S):
                await super().close()
        except (OSError, TimeoutError):  # it died or fell silent: what is left cannot leave
            self._pending = []
            self._pending_data_size = 0
            self._abort()
            self._status = Client.DISCONNECTED
            await super().close()

    def move(self) -> None:
        """Leave this NATS server; the next connection is to the next one of those known, when
        the order is kept (`dont_randomize`)."""
        if self.is_connected:
            self._abort()

    def _abort(self) -> None:
        """Tear the connection down: nothing waits for what it has not sent."""
        if isinstance(self._transport, _Tcp):
            self._transport.abort()

    async def _abandon(self) -> None:
        if self._was_tried and not self.is_closed:
            await self._close(Client.CLOSED, do_cbs=False)
        self._abort()  # nats-py leaves a later attempt open once it closed an earlier one

    @property
    def is_clustered(self) -> bool:
        """Whether the NATS server is one of several, as it says itself."""
        return bool(self._server_info.get("cluster"))

    @property
    def server_id(self) -> str:
        """The ID of the NATS server connected to; empty without a connection."""
        return str(self._server_info.get("server_id", "")) if self.is_connected else ""

    @property
    def _was_tried(self) -> bool:
        return self._flush_queue is not None

    def _identify(self, options: dict[str, Any]) -> dict[str, Any]:
        """The options with our way of reading credentials in place of nats-py's, which waits
        for ever for the JWT in a file that has none."""
        known = dict(options)
        credentials = known.pop("user_credentials", None)
        if credentials is not None:
            return known | UserCredentials(credentials).options()
        path, text = known.pop("nkeys_seed", None), known.pop("nkeys_seed_str", None)
        if path is None and text is None:
            return known
        nkey = Nkey(path if path is not None else UserString(text))
        self._public_nkey = nkey.public()
        return known | {"signature_cb": nkey.sign}

    async def _connect_to_server(self, s: Any) -> None:
        if s.uri.scheme in _WEBSOCKET:
            if not self._transport:
                self._transport = WebSocket(self.options["ws_connection_headers"])
            await super()._connect_to_server(s)
            return
        s.last_attempt = time.monotonic()
        if self._transport is not None:
            # nats-py leaves it open when a handshake failed.
            self._transport.close()  # type: ignore[no-untyped-call]
        tcp = _Tcp()
        await tcp.connect(s.uri, DEFAULT_BUFFER_SIZE, self.options["connect_timeout"])
        self._transport = tcp
        if self.was_closed:  # meanwhile; the cancellation came too late
            tcp.abort()
            raise ConnectionResetError("nats: connection closed")

    async def _process_info(self, info: dict[str, Any], initial_connection: bool = False) -> None:
        if initial_connection:
            self._insist_on_tls(info)
        await super()._process_info(info, initial_connection)

    def _insist_on_tls(self, info: dict[str, Any]) -> None:
        """nats-py goes on in plain text when the server, or who claims to be it, offers no TLS."""
        assert self._current_server is not None
        scheme = self._current_server.uri.scheme
        wanted = self.options.get("tls") is not None or scheme == "tls"
        if not wanted or scheme in _WEBSOCKET or self.options["tls_handshake_first"]:
            return
        if not (info.get("tls_required") or info.get("tls_available")):
            raise SecureConnWantedError
        info["tls_required"] = True  # nats-py leaves alone what is merely available

    async def _process_connect_init(self) -> None:
        try:
            await super()._process_connect_init()
        except ssl.SSLCertVerificationError:
            raise
        except (ssl.SSLError, ConnectionError) as error:
            if self._server_info.get("tls_verify"):
                raise Error(
                    f"nats: the NATS server wants a client certificate it trusts ({explain(error)})"
                ) from error
            raise
        except (Error, OSError, TypeError):  # the last one is about an option
            raise
        except Exception as error:  # nats-py would end reconnecting
            raise Error(f"nats: what answers is no NATS server ({explain(error)})") from error

    def _connect_command(self) -> bytes:
        try:
            command: bytes = super()._connect_command()
        except (Error, OSError):
            raise
        except Exception as error:  # of a callback; nats-py would end reconnecting
            raise Error(f"nats: no credentials: {type(error).__name__}: {error}") from error
        return self._unquoted(command)

    def _unquoted(self, command: bytes) -> bytes:
        """User and password in a URL are percent-encoded, which nats-py does not undo."""
        uri = self._current_server.uri if self._current_server is not None else None
        if uri is None or "%" not in uri.netloc.rpartition("@")[0]:
            return command
        words = json.loads(command[len(_CONNECT) :])
        for name, part in (
            ("user", uri.username),
            ("pass", uri.password),
            ("auth_token", uri.username),
        ):
            if part is not None and words.get(name) == part:
                words[name] = unquote(part)
        return _CONNECT + json.dumps(words, sort_keys=True).encode() + b"\r\n"


class _Tcp(TcpTransport):
    """nats-py's TCP transport, for one connection.

    CONNECT leaves together with the PING behind it: a server that refuses us has then read
    all we sent, and its last words are not lost to a reset. A failed TLS handshake ends the
    connection instead of leaving something that is waited for in vain.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._held = b""
        self._broken = False

    def write(self, payload: bytes) -> None:
        if payload.startswith(_CONNECT):
            self._held = payload
        else:
            payload, self._held = self._held + payload, b""
            super().write(payload)  # type: ignore[no-untyped-call]

    async def readline(self) -> bytes:
        if self._held:
            self.write(b"")
        line: bytes = await super().readline()  # type: ignore[no-untyped-call]
        if not line:
            raise ConnectionResetError("nats: the server closed the connection")
        return line

    async def connect_tls(
        self, uri: Any, ssl_context: ssl.SSLContext, buffer_size: int, connect_timeout: int
    ) -> None:
        # A reader of its own: what came in plain text must not count as said over TLS.
        reader = asyncio.StreamReader(buffer_size)
        protocol = _TlsProtocol(reader)
        assert self._io_writer is not None
        plain = self._io_writer.transport
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(connect_timeout):
                transport = await loop.start_tls(
                    plain, protocol, ssl_context, server_hostname=_host(uri)
                )
        except BaseException:
            self.abort()
            raise
        if transport is None:
            raise ConnectionResetError("nats: the server closed the connection")
        reader.set_transport(transport)
        self._io_reader = reader
        self._io_writer = asyncio.StreamWriter(transport, protocol, reader, loop)

    def abort(self) -> None:
        """Close at once, without waiting for what has not left; `wait_closed` has no more to do."""
        self._broken = True
        if self._io_writer is not None:
            self._io_writer.transport.abort()

    async def wait_closed(self) -> None:
        if not self._broken:
            with suppress(OSError):  # how it ended was told where it ended
                await super().wait_closed()  # type: ignore[no-untyped-call]


class _TlsProtocol(asyncio.StreamReaderProtocol):
    """The stream over TLS, which cannot stay open one way."""

    def eof_received(self) -> bool:
        super().eof_received()
        return False


def _host(uri: Any) -> str:
    return uri if isinstance(uri, str) else str(uri.hostname)


def hide_password(servers: str) -> str:
    """URLs, separated by commas, as they may be shown: without user, password and token."""
    return _USER_INFO.sub("", servers)


def explain(error: BaseException) -> str:
    """One line for people on why a connection failed, without what only programmers read."""
    if isinstance(error, SecureConnWantedError):
        return "nats: secure connection not available: this NATS server speaks no TLS"
    if isinstance(error, ssl.SSLCertVerificationError):
        reason = error.verify_message.rstrip(".")
        return f"the certificate of the NATS server cannot be trusted: {reason}"
    if isinstance(error, ssl.SSLError):
        return (error.reason or str(error)).replace("_", " ").lower()
    if isinstance(error, socket.gaierror):
        return error.strerror or str(error)
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno).lower()
    text = str(error) or ("timeout" if isinstance(error, TimeoutError) else type(error).__name__)
    quoted = _QUOTED.fullmatch(text)
    return f"nats: {quoted[1]}" if quoted else text


def is_refusal(error: BaseException) -> bool:
    """Whether a NATS server was there and did not accept who we are."""
    return "authorization" in str(error).lower() or "authentication" in str(error).lower()


def _verdict(errors: list[Exception]) -> Error:
    """What to raise: the last answer of a server, or that none answered."""
    answers = [error for error in errors if isinstance(error, _ANSWERS)]
    return Error(explain(answers[-1])) if answers else NoServersError()
