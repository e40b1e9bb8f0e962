"""Monitoring over HTTP: the original's documents, health and metrics. Reads, never changes.

Runs in the server's own loop, beside the pump; whatever takes long is made in slices. Only
GET and HEAD are answered, and nothing that could be asked for raises past this module.
"""

import asyncio
import logging
import os
import re
import ssl as tls
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence

from aiohttp import web

from stan.engine.rows import SubscriptionView
from stan.engine.views import View
from stan.errors import MonitorError, StoreError
from stan.server.complaints import Complaints
from stan.server.monitor import process
from stan.server.monitor.browsing import Browsing
from stan.server.monitor.documents import (
    describe_client,
    describe_limits,
    describe_totals,
    format_time,
    format_uptime,
    write_channel,
    write_subscriptions,
)
from stan.server.monitor.exposition import CONTENT_TYPE
from stan.server.monitor.gojson import (
    PLACE,
    Map,
    Raw,
    Slices,
    Value,
    enclose,
    encode,
    encode_list,
    fill_in,
    indentation,
    quote,
)
from stan.server.monitor.identity import FT_ACTIVE, Identity
from stan.server.monitor.index import INDEX_HTML
from stan.server.monitor.metrics import Group, Metrics
from stan.server.monitor.pages import Pages
from stan.server.pump import Pump
from stan.store.contract import Store
from stan.units import SECOND_NS

log = logging.getLogger("stan.server")
# What aiohttp has to say concerns malformed requests only; the log is not for those.
_http_log = logging.getLogger("stan.server.http")
_http_log.setLevel(logging.CRITICAL + 1)

DEFAULT_LIMIT = 1024
MAX_INT64 = 2**63 - 1
# How much of a long answer is handed to the socket at a time.
WRITE_BYTES = 65_536
# A message as a form carries it: three characters for a byte, and NATS carries a megabyte.
MAX_REQUEST_BYTES = 4 * 1024 * 1024
# How long a store may take to prove that it is there.
READY_TIMEOUT_S = 2.0
# Answers to readiness questions are reused this long, whoever asks.
READY_FRESH_S = 0.5

_INTEGER = re.compile(r"[+-]?[0-9]+")
_NO_SNIFFING = {"X-Content-Type-Options": "nosniff"}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Monitor:
    """The monitoring port of one server."""

    def __init__(
        self,
        identity: Identity,
        pump: Pump,
        store: Store,
        is_connected: Callable[[], bool],
        clock: Callable[[], int] = time.time_ns,
        most_channels: int = 0,
        group: Group | None = None,
        complaints: Complaints | None = None,
        make_pages: Callable[[], Pages] | None = None,
    ) -> None:
        """`most_channels` get series of their own among the metrics; 0: all. `make_pages`
        makes what browsers see, when one asks."""
        self.identity = identity
        self.port = 0
        self._is_connected = is_connected
        self._clock = clock
        self._most_channels = most_channels
        self._group = group
        self._complaints = complaints
        self._browsing = Browsing(make_pages)
        self.show(pump, store)
        self._runner: web.AppRunner | None = None
        self._ready_at_s = 0.0
        self._store_answers = False
        self._asking = asyncio.Lock()

    def show(self, pump: Pump, store: Store) -> None:
        """Tell of this pump and this store from now on."""
        self._store = store
        self._view = View(pump.engine)
        self._metrics = Metrics(
            self.identity,
            self._view,
            pump,
            store,
            self._clock,
            most_channels=self._most_channels,
            group=self._group,
            complaints=self._complaints,
        )

    async def start(self, host: str, port: int, ssl: tls.SSLContext | None = None) -> None:
        """Listen; port 0 takes a free one, and `port` tells which. Raises MonitorError."""
        application = web.Application(
            middlewares=[_answer_failures], client_max_size=MAX_REQUEST_BYTES
        )
        self._browsing.add_to(application)
        for path, respond in (
            ("/", self._browsing.welcoming(self._index)),
            ("/streaming", self._index),
            ("/streaming/serverz", self._serverz),
            ("/streaming/storez", self._storez),
            ("/streaming/clientsz", self._clientsz),
            ("/streaming/channelsz", self._channelsz),
            ("/streaming/isFTActive", self._is_ft_active),
            ("/healthz", self._ready),
            ("/healthz/ready", self._ready),
            ("/healthz/live", self._live),
            ("/metrics", self._metrics_page),
        ):
            application.router.add_get(path, respond)
        application.on_response_prepare.append(_drop_server_header)
        runner = web.AppRunner(
            application,
            access_log=None,
            handle_signals=False,
            logger=_http_log,
            shutdown_timeout=1.0,
            keepalive_timeout=75.0,
        )
        await runner.setup()
        try:
            await web.TCPSite(runner, host or None, port, ssl_context=ssl).start()
        except OSError as error:
            await runner.cleanup()
            reason = os.strerror(error.errno) if error.errno else str(error)
            raise MonitorError(f"cannot listen on {host}:{port} for monitoring: {reason}") from None
        self._runner = runner
        self.port = int(runner.addresses[0][1])

    async def stop(self) -> None:
        """Close the port and the connections. Safe to call twice."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await self._browsing.close()
            await runner.cleanup()

    # Documents.

    async def _index(self, _: web.Request) -> web.Response:
        return web.Response(
            body=INDEX_HTML.encode(), headers={"Content-Type": "text/html; charset=utf-8"}
        )

    async def _serverz(self, request: web.Request) -> web.Response:
        identity, now_ns = self.identity, self._clock()
        document: dict[str, Value] = {
            "cluster_id": identity.cluster_id,
            "server_id": identity.server_id,
            "version": identity.version,
            "go": identity.language,
            "state": identity.state,
            "now": format_time(now_ns),
            "start_time": format_time(identity.start_ns),
            "uptime": format_uptime(max(0, now_ns - identity.start_ns) // SECOND_NS),
        }
        document |= describe_totals(self._view.totals())
        for name, count in (
            ("open_fds", process.count_open_files()),
            ("max_fds", process.max_open_files()),
        ):
            if count:
                document[name] = count
        return _json(request, document)

    async def _storez(self, request: web.Request) -> web.Response:
        settings, totals = self._view.store_limits(), self._view.totals()
        limits: dict[str, Value] = {"max_channels": settings.max_channels}
        limits |= describe_limits(settings.defaults)
        channels = Map({name: describe_limits(some) for name, some in self._view.limits()})
        if channels:
            limits["channels"] = channels
        document = self._head()
        document |= {
            "type": self._store.kind,
            "limits": limits,
            "total_msgs": totals.messages,
            "total_bytes": totals.stored_bytes,
        }
        return _json(request, document)

    async def _clientsz(self, request: web.Request) -> web.StreamResponse:
        with_subscriptions = _integer(request, "subs") == 1
        wanted = request.query.get("client", "")
        if wanted:
            one = await self._client(wanted, with_subscriptions, 0)
            return _json(request, Raw(one)) if one else _not_found(f"Client {wanted} not found")
        ids = self._view.client_ids()
        document, page = self._page(request, ids)
        found = await encode_list(page, lambda one: self._client(one, with_subscriptions, 2), 1)
        document |= {"count": found.length, "total": len(ids), "clients": PLACE}
        return await _send(request, fill_in(document, found))

    async def _channelsz(self, request: web.Request) -> web.StreamResponse:
        with_subscriptions = _integer(request, "subs") == 1
        wanted = request.query.get("channel", "")
        if wanted:
            one = await self._channel(wanted, with_subscriptions, 0)
            return _json(request, Raw(one)) if one else _not_found(f"Channel {wanted} not found")
        names = self._view.channel_names()
        document, page = self._page(request, names)
        if with_subscriptions:
            found = await encode_list(page, lambda name: self._channel(name, True, 2), 1)
        else:
            found = await encode_list(page, _name, 1)
        document |= {"count": found.length, "total": len(names)}
        if found.length:
            document["channels" if with_subscriptions else "names"] = PLACE
        return await _send(request, fill_in(document, found))

    def _head(self) -> dict[str, Value]:
        return {
            "cluster_id": self.identity.cluster_id,
            "server_id": self.identity.server_id,
            "now": format_time(self._clock()),
        }

    def _page(self, request: web.Request, names: list[str]) -> tuple[dict[str, Value], list[str]]:
        """The head of a list, and the names on the page that was asked for."""
        offset = max(_integer(request, "offset"), 0)
        limit = _integer(request, "limit")
        limit = limit if limit > 0 else DEFAULT_LIMIT
        head = self._head() | {"offset": offset, "limit": limit}
        return head, names[offset : offset + limit]

    async def _client(self, client_id: str, with_subscriptions: bool, depth: int) -> str | None:
        """A client that stands `depth` levels deep; it may have very many subscriptions."""
        client = self._view.client(client_id)
        if client is None:
            return None
        lines = []
        if with_subscriptions:
            slices, inside = Slices(), indentation(depth + 2)
            for name, some in self._view.client_subscriptions(client_id):
                lines.append(f"{inside}{quote(name)}: {write_subscriptions(some, depth + 2)}")
                await slices.pause()
        subscriptions = enclose("{}", lines, depth + 1) if lines else ""
        return encode(describe_client(client, subscriptions), depth)

    async def _channel(self, name: str, with_subscriptions: bool, depth: int) -> str | None:
        """A channel that stands `depth` levels deep."""
        channel = self._view.channel(name)
        if channel is None:
            return None
        some: list[SubscriptionView] = []
        if with_subscriptions and channel.subscriptions_count:
            some = self._view.channel_subscriptions(name)
        return write_channel(channel, some, depth)

    # Health.

    async def _is_ft_active(self, _: web.Request) -> web.Response:
        return web.Response(status=200 if self.identity.state == FT_ACTIVE else 204)

    async def _live(self, request: web.Request) -> web.Response:
        return _json(request, {"status": "ok"})

    async def _ready(self, request: web.Request) -> web.Response:
        nats, store = self._is_connected(), await self._store_is_available()
        role: dict[str, Value] = {}
        if self._group is not None:
            role = {"role": "active" if self.identity.is_active else "standby"}
        if nats and store:
            return _json(request, {"status": "ok", **role})
        return _json(request, {"status": "unavailable", "nats": nats, "store": store, **role}, 503)

    async def _store_is_available(self) -> bool:
        """Ask the store, or know the answer that somebody just had."""
        async with self._asking:
            if time.monotonic() - self._ready_at_s > READY_FRESH_S:
                store = self._store
                answer = store.outcome() if self.identity.is_active else store.read_holder()
                try:
                    await asyncio.wait_for(answer, READY_TIMEOUT_S)
                    self._store_answers = True
                except (StoreError, TimeoutError):
                    self._store_answers = False
                self._ready_at_s = time.monotonic()
            return self._store_answers

    # Metrics.

    async def _metrics_page(self, request: web.Request) -> web.StreamResponse:
        return await _send(request, await self._metrics.page(), CONTENT_TYPE)


def _integer(request: web.Request, name: str) -> int:
    """A parameter as Go reads it: 0 when it is no number, the nearest one when too large."""
    text = request.query.get(name, "")
    if not _INTEGER.fullmatch(text):
        return 0
    digits = text.lstrip("+-").lstrip("0")[:20] or "0"  # no more are needed to know
    value = min(int(digits), MAX_INT64)
    return -value if text.startswith("-") else value


def _json(request: web.Request, document: Value, status: int = 200) -> web.Response:
    """The document, or for `callback=f` a script that calls f with it."""
    text = encode(document)
    callback = request.query.get("callback", "")
    if callback:
        headers = {"Content-Type": "application/javascript", **_NO_SNIFFING}
        return web.Response(body=f"{callback}({text})".encode(), headers=headers, status=status)
    headers = {"Content-Type": "application/json", "Access-Control-Allow-Origin": "*"}
    return web.Response(body=text.encode(), headers=headers, status=status)


async def _name(name: str) -> str:
    return quote(name)


async def _send(
    request: web.Request, chunks: Sequence[bytes], content_type: str = ""
) -> web.StreamResponse:
    """Send a long answer piece by piece, no faster than the client takes it."""
    callback = "" if content_type else request.query.get("callback", "")
    if callback:
        chunks = [f"{callback}(".encode(), *chunks, b")"]
        headers = {"Content-Type": "application/javascript", **_NO_SNIFFING}
    elif content_type:
        headers = {"Content-Type": content_type}
    else:
        headers = {"Content-Type": "application/json", "Access-Control-Allow-Origin": "*"}
    response = web.StreamResponse(headers=headers)
    response.content_length = sum(map(len, chunks))
    await response.prepare(request)
    if request.method != "HEAD":
        slices = Slices()
        for some in _gather(chunks):
            await response.write(some)
            await slices.pause()
    await response.write_eof()
    return response


def _gather(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The same, in fewer pieces: each is one call of the operating system."""
    held: list[bytes] = []
    held_bytes = 0
    for chunk in chunks:
        held.append(chunk)
        held_bytes += len(chunk)
        if held_bytes >= WRITE_BYTES:
            yield b"".join(held)
            held.clear()
            held_bytes = 0
    yield b"".join(held)


def _plain(text: str, status: int) -> web.Response:
    headers = {"Content-Type": "text/plain; charset=utf-8", **_NO_SNIFFING}
    return web.Response(body=f"{text}\n".encode(), headers=headers, status=status)


def _not_found(text: str) -> web.Response:
    return _plain(text, 404)


@web.middleware
async def _answer_failures(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Plain words for what cannot be answered; a defect is logged, never shown."""
    try:
        return await handler(request)
    except web.HTTPNotFound:
        return _not_found("404 page not found")
    except web.HTTPMethodNotAllowed as error:
        refusal = _plain("Method Not Allowed", 405)
        refusal.headers["Allow"] = ", ".join(sorted(error.allowed_methods))
        return refusal
    except web.HTTPException:
        raise
    except Exception as error:
        log.error("Monitoring %s failed: %s", request.path, error, exc_info=error)
        return _plain("Internal Server Error", 500)


async def _drop_server_header(_: web.Request, response: web.StreamResponse) -> None:
    response.headers.pop("Server", None)
