"""The admin service, asked over NATS: `stan.admin(nats, cluster_id)`, or `connection.admin`.

A method an endpoint; lists are iterated and fetched a page at a time. Nothing is decided here:
what a request means is the server's business. Only StanErrors leave: AdminError with the
service's code and words, RequestTimeoutError, and InvalidConnectionError.
"""

import base64
import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from datetime import datetime
from typing import Any

from stan.client.answers import (
    ChannelInfo,
    ClientInfo,
    Deleted,
    DurableInfo,
    ParkedRow,
    Purged,
    ServerInfo,
    StoredMessage,
    write_time,
)
from stan.client.transport import NatsClient, ask
from stan.errors import AdminError
from stan.wire.subjects import DEFAULT_CLUSTER_ID

ADMIN_PREFIX = "_STAN.admin"
DEFAULT_TIMEOUT_S = 10.0
PAGE_ROWS = 1024
_CODE = "Nats-Service-Error-Code"
_TEXT = "Nats-Service-Error"


class Admin:
    """The admin service of a cluster. Made by `stan.admin`, or `connection.admin`."""

    def __init__(self, nats: NatsClient, cluster_id: str, timeout: float) -> None:
        self._nats = nats
        self._timeout_s = timeout
        self.cluster_id = cluster_id

    # As the service speaks

    async def request(self, endpoint: str, /, **fields: Any) -> dict[str, Any]:
        """Ask one endpoint, such as ``channel.info``; what is None is not sent.

        The answer is the service's JSON object. Raises AdminError, RequestTimeoutError and
        InvalidConnectionError.
        """
        sent = {name: value for name, value in fields.items() if value is not None}
        return await self.send(endpoint, sent)

    async def send(self, endpoint: str, fields: Mapping[str, Any]) -> dict[str, Any]:
        """The same with all fields, None included."""
        subject = f"{ADMIN_PREFIX}.{self.cluster_id}.{endpoint}"
        answer = await ask(self._nats, subject, json.dumps(fields).encode(), self._timeout_s)
        if answer is None:
            raise AdminError(
                503,
                f'no admin service answers for cluster "{self.cluster_id}": is the server running, '
                "with -admin read or -admin full?",
            )
        headers, data = answer
        return _read(headers, data)

    async def rows(
        self, endpoint: str, key: str, /, page: int = PAGE_ROWS, **fields: Any
    ) -> AsyncGenerator[dict[str, Any], None]:
        """The rows of a list, such as ``rows("channel.list", "channels")``, page by page.

        A row that moves from one page to another meanwhile may come twice or not at all.
        """
        offset = 0
        while True:
            answer = await self.request(endpoint, offset=offset, limit=page, **fields)
            found = answer.get(key, [])
            for row in found:
                yield row
            offset += len(found)
            if not found or offset >= answer.get("total", 0):
                return

    # The server

    async def server_info(self) -> ServerInfo:
        """The active server: who it is, what it holds and what it has done."""
        return ServerInfo.read(await self.request("server.info"))

    async def reload(self) -> list[str]:
        """Read the configuration file again; what changed, a line each."""
        return list((await self.request("server.reload")).get("lines", []))

    async def handover(self) -> None:
        """Give the cluster to a standby."""
        await self.request("server.handover")

    # Channels

    async def channels(
        self, filter: str | None = None, *, sort: str | None = None, reverse: bool | None = None
    ) -> AsyncIterator[ChannelInfo]:
        """All channels, or those whose name contains or matches `filter`; `sort` is name,
        messages, bytes, last or subscriptions."""
        found = self.rows("channel.list", "channels", filter=filter, sort=sort, reverse=reverse)
        async for row in found:
            yield ChannelInfo.read(row)

    async def channel(self, channel: str) -> ChannelInfo:
        """One channel."""
        return ChannelInfo.read(await self.request("channel.info", channel=channel))

    async def create_channel(self, channel: str, **limits: float) -> ChannelInfo:
        """Create a channel, with limits of its own where given: max_msgs, max_bytes, max_age_s,
        max_inactivity_s, max_subs."""
        answer = await self.request("channel.create", channel=channel, limits=limits or None)
        return ChannelInfo.read(answer)

    async def set_limits(self, channel: str, **limits: float) -> ChannelInfo:
        """Change the limits that are given, 0 for none at all; the others stay."""
        return ChannelInfo.read(
            await self.request("channel.limits", channel=channel, limits=limits)
        )

    async def reset_limits(self, channel: str) -> ChannelInfo:
        """Back to the configured limits."""
        return ChannelInfo.read(await self.send("channel.limits", _reset(channel)))

    async def purge(
        self,
        channel: str,
        *,
        all: bool = False,
        up_to: int | None = None,
        before: datetime | None = None,
        keep: int | None = None,
        dry_run: bool = False,
    ) -> Purged:
        """Remove messages: `all`, or up to and with a sequence, or before a time, or all but the
        last `keep`."""
        answer = await self.request(
            "channel.purge",
            channel=channel,
            all=all or None,
            up_to=up_to,
            before=write_time(before) if before is not None else None,
            keep=keep,
            dry_run=dry_run or None,
        )
        return Purged.read(answer)

    async def delete_channel(
        self, channel: str, *, force: bool = False, dry_run: bool = False
    ) -> Deleted:
        """Delete a channel with all it holds; `force` when somebody is subscribed."""
        answer = await self.request(
            "channel.delete", channel=channel, force=force or None, dry_run=dry_run or None
        )
        return Deleted.read(answer)

    # Messages

    async def messages(
        self,
        channel: str,
        *,
        sequence: int | None = None,
        time: datetime | None = None,
        last: int | None = None,
        count: int | None = None,
        max_bytes: int | None = None,
    ) -> list[StoredMessage]:
        """Up to `count` messages from a sequence or a time on, or the `last` ones."""
        answer = await self.request(
            "message.get",
            channel=channel,
            sequence=sequence,
            time=write_time(time) if time is not None else None,
            last=last,
            count=count,
            max_bytes=max_bytes,
        )
        return [StoredMessage.read(row) for row in answer.get("messages", [])]

    async def publish(self, channel: str, data: bytes, *, reply: str = "") -> int:
        """Publish a message as nobody in particular; its sequence, when it is stored."""
        payload = base64.b64encode(data).decode("ascii")
        answer = await self.request(
            "message.publish", channel=channel, data=payload, reply=reply or None
        )
        return int(answer.get("sequence", 0))

    async def delete_message(self, channel: str, sequence: int, *, dry_run: bool = False) -> bool:
        """Delete one message; its sequence stays used, and readers go past it. Raises AdminError
        with the code 404 when it is not there."""
        answer = await self.request(
            "message.delete", channel=channel, sequence=sequence, dry_run=dry_run or None
        )
        return bool(answer.get("deleted"))

    # Durables and groups: by client ID and durable, or by queue group ("durable:group" for a
    # durable one)

    async def durables(
        self,
        channel: str | None = None,
        *,
        filter: str | None = None,
        stalled: bool | None = None,
    ) -> AsyncIterator[DurableInfo]:
        """All durables and groups, or those of a channel, or those that are stalled."""
        found = self.rows(
            "durable.list", "durables", channel=channel, filter=filter, stalled=stalled
        )
        async for row in found:
            yield DurableInfo.read(row)

    async def durable(
        self,
        channel: str,
        *,
        client_id: str | None = None,
        durable: str | None = None,
        queue_group: str | None = None,
    ) -> DurableInfo:
        """One of them, with its members."""
        named = _name(channel, client_id, durable, queue_group)
        return DurableInfo.read(await self.request("durable.info", **named))

    async def move_durable(
        self,
        channel: str,
        *,
        client_id: str | None = None,
        durable: str | None = None,
        queue_group: str | None = None,
        sequence: int | None = None,
        time: datetime | None = None,
        to: str | None = None,
        dry_run: bool = False,
    ) -> DurableInfo:
        """Have it go on at a sequence, a time, or `to` "first", "new" or "last"; what was sent
        and is not acknowledged is given up."""
        answer = await self.request(
            "durable.move",
            **_name(channel, client_id, durable, queue_group),
            sequence=sequence,
            time=write_time(time) if time is not None else None,
            to=to,
            dry_run=dry_run or None,
        )
        return DurableInfo.read(answer)

    async def delete_durable(
        self,
        channel: str,
        *,
        client_id: str | None = None,
        durable: str | None = None,
        queue_group: str | None = None,
        force: bool = False,
        dry_run: bool = False,
    ) -> None:
        """Delete it, and with it its position; `force` when it is online."""
        named = _name(channel, client_id, durable, queue_group)
        await self.request("durable.delete", **named, force=force or None, dry_run=dry_run or None)

    async def resend(
        self,
        channel: str,
        *,
        client_id: str | None = None,
        durable: str | None = None,
        queue_group: str | None = None,
    ) -> int:
        """Send what is pending again, now; how many messages that is."""
        named = _name(channel, client_id, durable, queue_group)
        return int((await self.request("durable.resend", **named)).get("resent", 0))

    # Clients

    async def clients(self, filter: str | None = None) -> AsyncIterator[ClientInfo]:
        """All clients, or those whose ID contains or matches `filter`."""
        async for row in self.rows("client.list", "clients", filter=filter):
            yield ClientInfo.read(row)

    async def client(self, client_id: str) -> ClientInfo:
        """One client, with its subscriptions."""
        return ClientInfo.read(await self.request("client.info", client_id=client_id))

    async def disconnect(self, client_id: str) -> int:
        """Free a client ID; how many subscriptions ended with it. Durables keep their place."""
        answer = await self.request("client.disconnect", client_id=client_id)
        return int(answer.get("subscriptions", 0))

    # The outbox of the server's own database

    async def wake_outbox(self) -> None:
        """Rows were committed: on MySQL and SQLite the server at rest would look within a second,
        so it looks now."""
        await self.request("outbox.wake")

    async def parked_rows(self) -> AsyncIterator[ParkedRow]:
        """The rows that could not become messages, with the reason."""
        async for row in self.rows("outbox.list", "rows"):
            yield ParkedRow.read(row)

    async def retry_parked(self, id: int | None = None, *, dry_run: bool = False) -> int:
        """Move rows back into the outbox, all or the one with this number; how many."""
        answer = await self.request("outbox.retry", **_rows(id), dry_run=dry_run or None)
        return int(answer.get("moved", 0))

    async def drop_parked(self, id: int | None = None, *, dry_run: bool = False) -> int:
        """Throw rows away, all or the one with this number; how many."""
        answer = await self.request("outbox.drop", **_rows(id), dry_run=dry_run or None)
        return int(answer.get("dropped", 0))


def admin(
    nats: NatsClient, cluster_id: str = DEFAULT_CLUSTER_ID, *, timeout: float = DEFAULT_TIMEOUT_S
) -> Admin:
    """The admin service of a cluster, asked over a connected nats-py client, which is used and
    never closed. `timeout` is how many seconds one answer may take."""
    return Admin(nats, cluster_id, timeout)


def _name(
    channel: str, client_id: str | None, durable: str | None, queue_group: str | None
) -> dict[str, str | None]:
    return {
        "channel": channel,
        "client_id": client_id,
        "durable": durable,
        "queue_group": queue_group,
    }


def _rows(row_id: int | None) -> dict[str, Any]:
    return {"all": True} if row_id is None else {"id": row_id}


def _reset(channel: str) -> dict[str, Any]:
    return {"channel": channel, "limits": None}


def _read(headers: Mapping[str, str], data: bytes) -> dict[str, Any]:
    """The answer's object. Raises AdminError when it is an error, or no answer of the service."""
    try:
        answer = json.loads(data) if data else {}
    except ValueError:
        answer = None
    error = answer.get("error") if isinstance(answer, dict) else None
    if _CODE in headers or isinstance(error, dict):
        known = error if isinstance(error, dict) else {}
        code = str(headers.get(_CODE) or known.get("code", 500))
        text = known.get("description") or headers.get(_TEXT) or "refused without a word"
        raise AdminError(int(code) if code.isdigit() else 500, str(text))
    if not isinstance(answer, dict):
        raise AdminError(500, "what answers is no admin service")
    return answer
