"""The front door: `connect`, which can be awaited or used in ``async with``.

Only the options are put together here; they are checked before anything is awaited. What
connecting does is in `connection`.
"""

import ssl
from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from types import TracebackType
from typing import Any, TypedDict, Unpack

from stan.client.connection import (
    Connection,
    ConnectionLostCallback,
    InterruptedCallback,
    ResumedCallback,
)
from stan.client.options import (
    DEFAULT_CONNECT_WAIT_S,
    DEFAULT_MAX_PUB_ACKS_INFLIGHT,
    DEFAULT_MAX_PUB_BYTES_INFLIGHT,
    DEFAULT_PING_INTERVAL_S,
    DEFAULT_PING_MAX_OUT,
    DEFAULT_PUB_ACK_WAIT_S,
    ConnectOptions,
    Resend,
    WhileDisconnected,
    join_nats_options,
    split_urls,
)
from stan.client.transport import NatsClient
from stan.wire.subjects import DEFAULT_DISCOVER_PREFIX


class NatsOptions(TypedDict, total=False):
    """What passes through to `nats.connect`, for a connection of our own."""

    name: str
    user: str | Callable[[], str]
    password: str | Callable[[], str]
    token: str | Callable[[], str]
    user_credentials: Any
    user_jwt_cb: Callable[[], bytes | bytearray]
    signature_cb: Callable[[str], bytes]
    nkeys_seed: str
    nkeys_seed_str: str
    tls: ssl.SSLContext
    tls_hostname: str
    tls_handshake_first: bool
    connect_timeout: float
    allow_reconnect: bool
    reconnect_time_wait: float
    max_reconnect_attempts: int
    max_outstanding_pings: int
    dont_randomize: bool
    no_echo: bool
    pedantic: bool
    verbose: bool
    flusher_queue_size: int
    pending_size: int
    drain_timeout: float
    flush_timeout: float
    inbox_prefix: str | bytes
    ws_connection_headers: dict[str, list[str]]
    skip_subject_validation: bool
    reconnect_to_server_handler: Callable[..., Any]
    error_cb: Callable[[Exception], Awaitable[None] | None]
    disconnected_cb: Callable[[], Awaitable[None] | None]
    reconnected_cb: Callable[[], Awaitable[None] | None]
    closed_cb: Callable[[], Awaitable[None] | None]
    discovered_server_cb: Callable[[], Awaitable[None]]
    lame_duck_mode_cb: Callable[[], Awaitable[None]]


class Connecting:
    """What `connect` returns: await it, or use it in ``async with``."""

    def __init__(self, opening: Callable[[], Awaitable[Connection]]) -> None:
        self._opening = opening
        self._connection: Connection | None = None

    def __await__(self) -> Generator[Any, None, Connection]:
        return self._opening().__await__()

    async def __aenter__(self) -> Connection:
        self._connection = await self
        return self._connection

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._connection is not None
        await self._connection.__aexit__(kind, error, trace)


def connect(
    cluster_id: str,
    client_id: str,
    *,
    servers: str | Sequence[str] | None = None,
    nats: NatsClient | None = None,
    connection_lost_cb: ConnectionLostCallback | None = None,
    interrupted_cb: InterruptedCallback | None = None,
    resumed_cb: ResumedCallback | None = None,
    connect_wait: float = DEFAULT_CONNECT_WAIT_S,
    pub_ack_wait: float = DEFAULT_PUB_ACK_WAIT_S,
    max_pub_acks_inflight: int = DEFAULT_MAX_PUB_ACKS_INFLIGHT,
    max_pub_bytes_inflight: int = DEFAULT_MAX_PUB_BYTES_INFLIGHT,
    ping_interval: int = DEFAULT_PING_INTERVAL_S,
    ping_max_out: int = DEFAULT_PING_MAX_OUT,
    allow_close_retry: bool = False,
    discover_prefix: str = DEFAULT_DISCOVER_PREFIX,
    resume: bool = True,
    give_up_after: float | None = None,
    while_disconnected: WhileDisconnected = "wait",
    resend: Resend = "safe",
    nats_options: Mapping[str, Any] | None = None,
    **more_nats_options: Unpack[NatsOptions],
) -> Connecting:
    """Connect to the streaming server of a cluster, as this client ID.

    ``sc = await stan.connect(...)`` or ``async with stan.connect(...) as sc``. `servers` are
    NATS URLs (default nats://127.0.0.1:4222); or `nats` is a connected nats-py client, which
    is used and never closed. What is lost comes back by itself: `interrupted_cb(connection,
    reason)` and `resumed_cb(connection, report)` tell of it, and `connection_lost_cb(connection,
    error)` is called once if the connection is lost for good, not when it is closed; they may
    be plain or async. The other options are those of ConnectOptions; whatever else
    `nats.connect` accepts (TLS, credentials, tokens, nkeys, callbacks) passes through to a
    connection of our own. So does `nats_options`, which can also hold a name that means
    something else here: NATS's own `ping_interval`.

    Raises ConfigError for options that make no sense; awaiting raises ConnectTimeoutError,
    ClientIDTakenError, ConnectError and, for a `nats` that is not connected,
    InvalidConnectionError.
    """
    options = ConnectOptions(
        cluster_id=cluster_id,
        client_id=client_id,
        connect_wait=connect_wait,
        pub_ack_wait=pub_ack_wait,
        max_pub_acks_inflight=max_pub_acks_inflight,
        max_pub_bytes_inflight=max_pub_bytes_inflight,
        ping_interval=ping_interval,
        ping_max_out=ping_max_out,
        allow_close_retry=allow_close_retry,
        discover_prefix=discover_prefix,
        resume=resume,
        give_up_after=give_up_after,
        while_disconnected=while_disconnected,
        resend=resend,
    )
    urls = split_urls(servers)
    passed = join_nats_options(nats_options, more_nats_options)

    async def opening() -> Connection:
        connection = Connection(options, connection_lost_cb, interrupted_cb, resumed_cb)
        await connection._driver.open(urls, nats, passed)
        return connection

    return Connecting(opening)
