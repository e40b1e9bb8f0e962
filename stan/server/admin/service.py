"""The operations over NATS: a micro-service with JSON in and out.

Requests to one endpoint are answered one after the other, so nobody can make the server do many
at once. Offered only while this server serves. Nothing here knows what an operation means.
"""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import nats.micro
from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.micro.request import Request
from nats.micro.service import EndpointConfig, Service, ServiceConfig

from stan.errors import AdminError
from stan.server.admin.requests import FIELDS
from stan.server.monitor.identity import Identity
from stan.server.transport import Transport

log = logging.getLogger("stan.server")

NAME = "stan-admin"
MOST_REQUEST_BYTES = 64 * 1024
# What a request may have that carries a payload, in base64.
MOST_BYTES = {"message.publish": 2 * 1024 * 1024}
# What comes in pages, by the name in the answer. Counts in it are of all, not of the page.
_LISTS = ("messages", "channels", "durables", "clients", "rows")
Run = Callable[[str, Mapping[str, Any], str], Awaitable[dict[str, Any]]]


class AdminService:
    """Offers the operations on a NATS connection that others own."""

    def __init__(self, transport: Transport, identity: Identity, mode: str, run: Run) -> None:
        self._transport = transport
        self._nats: Client = transport.lend()
        self._prefix = f"_STAN.admin.{identity.cluster_id}"
        self._config = ServiceConfig(
            name=NAME,
            version=identity.version,
            description=f"Operations on the streaming server of {identity.cluster_id}",
            metadata={
                "cluster_id": identity.cluster_id,
                "server_id": identity.server_id,
                "mode": mode,
            },
        )
        self._run = run
        self._service: Service | None = None
        self._changing = asyncio.Lock()

    async def follow(self, serves: bool) -> None:
        """Answer while the server serves, and no longer."""
        async with self._changing:
            try:
                await (self._offer() if serves else self._withdraw())
            except NatsError as error:
                # While the connection goes, so does the service.
                level = logging.WARNING if self._transport.is_connected else logging.DEBUG
                log.log(level, "The admin service could not be changed: %s", error)

    async def _offer(self) -> None:
        if self._service is not None:
            return
        if not await self._is_allowed():
            log.info(
                "No admin service: the NATS user of this server may not subscribe to %s.> and"
                " $SRV.>",
                self._prefix,
            )
            return
        service = await nats.micro.add_service(self._nats, self._config)
        try:
            for name in FIELDS:
                await service.add_endpoint(
                    EndpointConfig(
                        name=name.replace(".", "-"),
                        subject=f"{self._prefix}.{name}",
                        handler=self._answerer(name),
                    )
                )
            await self._nats.flush()  # from here on it is heard
        except NatsError:
            await service.stop()  # all of it or nothing
            raise
        self._service = service
        log.debug("Admin service on %s.>", self._prefix)

    async def _is_allowed(self) -> bool:
        """Whether our NATS user may listen there. Asked first, by two subjects: NATS logs an error
        for each that it refuses."""
        asked = [
            await self._nats.subscribe(subject)
            for subject in (f"{self._prefix}.probe", f"$SRV.PING.{NAME}.probe")
        ]
        await self._nats.flush()  # NATS answers in order: its refusals come before this answer
        for subscription in asked:
            await subscription.unsubscribe()
        return not self._transport.is_spare_refused

    async def _withdraw(self) -> None:
        service, self._service = self._service, None
        if service is not None:
            await service.stop()

    def _answerer(self, endpoint: str) -> Callable[[Request], Awaitable[None]]:
        async def answer(request: Request) -> None:
            await self._answer(endpoint, request)

        return answer

    async def _answer(self, endpoint: str, request: Request) -> None:
        if not request._msg.reply:
            return
        try:
            asked = read_request(request.data, MOST_BYTES.get(endpoint, MOST_REQUEST_BYTES))
            found = await self._run(endpoint, asked, "NATS")
            data = write_answer(found, self._nats.max_payload)
        except AdminError as error:
            await self._refuse(request, error.code, str(error))
        except Exception as error:
            log.error("The operation %s failed: %s", endpoint, error, exc_info=error)
            await self._refuse(request, 500, "an unexpected failure, see the server's log")
        else:
            await request.respond(data)

    async def _refuse(self, request: Request, code: int, text: str) -> None:
        body = json.dumps({"error": {"code": code, "description": text}}).encode()
        plain = text.encode("ascii", "replace").decode().replace("\r", " ").replace("\n", " ")
        await request.respond_error(str(code), plain, body)


def read_request(data: bytes, most_bytes: int = MOST_REQUEST_BYTES) -> dict[str, Any]:
    """The JSON object of a request; nothing at all is an empty one. Raises AdminError."""
    if not data.strip():
        return {}
    if len(data) > most_bytes:
        raise AdminError(400, f"the request has more than {most_bytes} bytes")
    try:
        asked = json.loads(data)
        json.dumps(asked, ensure_ascii=False).encode()  # half a surrogate pair is no text
    except (ValueError, RecursionError):
        raise AdminError(400, "the request is not JSON") from None
    if not isinstance(asked, dict):
        raise AdminError(400, "the request is not a JSON object")
    return asked


def write_answer(answer: dict[str, Any], most_bytes: int) -> bytes:
    """The answer as NATS carries it. Of a list whoever asked gets what fits, and asks on behind
    it: `total`, or `next_sequence`, says that there is more."""
    data = json.dumps(answer).encode()
    for name in _LISTS:
        rows = answer.get(name)
        while len(data) > most_bytes and isinstance(rows, list) and len(rows) > 1:
            rows = rows[: len(rows) // 2]
            answer = {**answer, name: rows}
            if name == "messages":
                answer["next_sequence"] = rows[-1]["sequence"] + 1
            data = json.dumps(answer).encode()
    if len(data) > most_bytes:
        raise AdminError(409, "the answer is larger than NATS carries: ask for less")
    return data
