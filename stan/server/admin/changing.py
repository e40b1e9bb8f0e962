"""The operations that change something: requests in, operations of the engine out.

A time becomes a sequence here, since only the store can look for one. Invariant: what is told was
true when the engine's batch was.
"""

from collections.abc import Awaitable, Callable
from dataclasses import asdict

from stan.engine.records import (
    NO_LIMITS,
    CreateChannel,
    DeleteChannel,
    DeleteDurable,
    DeleteMessage,
    Disconnect,
    DurableName,
    LimitChannel,
    MoveDurable,
    Operation,
    PublishMessage,
    Purge,
    ResendPending,
)
from stan.errors import AdminError, StoreError
from stan.server.admin.reading import Answer, Reading, Request, Served
from stan.server.admin.requests import choose, read_limits, read_payload


class Changing:
    """The endpoints that change, on one server."""

    def __init__(self, served: Served) -> None:
        self._served = served
        self._reading = Reading(served)
        self.endpoints: dict[str, Callable[[Request], Awaitable[Answer]]] = {
            "channel.create": self.create_channel,
            "channel.limits": self.limit_channel,
            "channel.purge": self.purge,
            "channel.delete": self.delete_channel,
            "message.publish": self.publish,
            "message.delete": self.delete_message,
            "durable.move": self.move,
            "durable.delete": self.delete_durable,
            "durable.resend": self.resend,
            "client.disconnect": self.disconnect,
        }

    async def _do(self, operation: Operation, request: Request) -> Answer:
        is_trial = bool(request.get("dry_run"))
        numbers = await self._served.pump.administering.run(operation, is_trial)
        return {**numbers, "dry_run": True} if is_trial else dict(numbers)

    async def create_channel(self, request: Request) -> Answer:
        """A channel that nobody published to yet."""
        name = str(request.get("channel", ""))
        limits = read_limits(request.get("limits") or {}, NO_LIMITS)
        answer = await self._do(CreateChannel(name, limits), request)
        return answer or await self._reading.show_channel(request)

    async def limit_channel(self, request: Request) -> Answer:
        """The limits that are given become the channel's own; null is none of its own."""
        if "limits" not in request or request["limits"] == {}:
            raise AdminError(400, '"limits" is needed: an object, or null for the configured ones')
        channel = self._reading.find_channel(request)
        own = NO_LIMITS
        if request["limits"] is not None:
            own = read_limits(request["limits"], channel.own_limits)
        answer = await self._do(LimitChannel(channel.name, own), request)
        if request.get("dry_run"):
            answer |= self._reading.describe_limits_with(channel.name, own)
        return {**await self._reading.show_channel(request), **answer}

    async def purge(self, request: Request) -> Answer:
        """Drop messages from the beginning of a channel."""
        name = str(request.get("channel", ""))
        how = choose(request, "all", "up_to", "before", "keep")
        operation = Purge(name)
        if how == "up_to":
            operation = Purge(name, up_to=request["up_to"])
        elif how == "keep":
            operation = Purge(name, keep=request["keep"])
        elif how == "before":
            operation = Purge(name, up_to=await self._find(name, request["before"]) - 1)
        answer = await self._do(operation, request)
        channel = await self._reading.show_channel({"channel": name})
        bounds = {key: channel[key] for key in ("first_sequence", "last_sequence", "removing")}
        return {"channel": name, **answer, **bounds}

    async def delete_channel(self, request: Request) -> Answer:
        """A channel goes with all it holds."""
        name = str(request.get("channel", ""))
        answer = await self._do(DeleteChannel(name, bool(request.get("force"))), request)
        return {"channel": name, **answer}

    # Messages.

    async def publish(self, request: Request) -> Answer:
        """A message of nobody's, stored like any other."""
        name = str(request.get("channel", ""))
        asked = PublishMessage(name, read_payload(request), str(request.get("reply", "")))
        return {"channel": name, **await self._do(asked, request)}

    async def delete_message(self, request: Request) -> Answer:
        """One message goes; its sequence stays used, and readers go past it."""
        if "sequence" not in request:
            raise AdminError(400, '"sequence" is needed')
        channel, sequence = self._reading.find_channel(request), request["sequence"]
        await self._reading.require_message(channel, sequence)
        answer = await self._do(DeleteMessage(channel.name, sequence), request)
        return {"channel": channel.name, "sequence": sequence, **answer}

    # Durables and groups.

    async def move(self, request: Request) -> Answer:
        """A durable or group goes on elsewhere."""
        how = choose(request, "sequence", "time", "to")
        name = _name(request)
        if how == "to" and request["to"] not in ("first", "new", "last"):
            raise AdminError(400, '"to" must be first, new or last')
        if how == "time":
            found = await self._find(name.channel, request["time"])
            operation = MoveDurable(name, sequence=found)
        elif how == "sequence":
            operation = MoveDurable(name, sequence=request["sequence"])
        else:
            operation = MoveDurable(name, position=request["to"])
        answer = await self._do(operation, request)
        durable = await self._reading.show_durable(asdict(name))
        if request.get("dry_run"):
            channel = await self._reading.show_channel({"channel": name.channel})
            unsent = channel["last_sequence"] - answer["sequence"] + 1
            durable |= {"last_sent": answer["sequence"] - 1, "pending": 0, "unsent": unsent}
            durable |= {"lag": unsent, "is_stalled": False}
        return {**durable, **answer}

    async def delete_durable(self, request: Request) -> Answer:
        """A durable or group goes, with its position."""
        name = _name(request)
        before = await self._reading.show_durable(asdict(name))
        answer = await self._do(DeleteDurable(name, bool(request.get("force"))), request)
        return {**asdict(name), "unsent": before["unsent"], **answer}

    async def resend(self, request: Request) -> Answer:
        """What is pending is sent again now."""
        name = _name(request)
        return {**asdict(name), **await self._do(ResendPending(name), request)}

    async def disconnect(self, request: Request) -> Answer:
        """A client is taken for dead: its ID is free."""
        client_id = str(request.get("client_id", ""))
        return {"client_id": client_id, **await self._do(Disconnect(client_id), request)}

    async def _find(self, name: str, time: str) -> int:
        """The sequence of the first message that is not older, or the one to come."""
        channel = self._reading.find_channel({"channel": name})
        try:
            found = await self._reading.find_time(channel, time)
        except StoreError as error:
            raise AdminError(503, f"the store cannot be read: {error}") from None
        return channel.last + 1 if found is None else found


def _name(request: Request) -> DurableName:
    return DurableName(
        channel=str(request.get("channel", "")),
        client_id=str(request.get("client_id", "")),
        durable=str(request.get("durable", "")),
        queue_group=str(request.get("queue_group", "")),
    )
