"""An admin service that answers what a test wants, for what a real one cannot be brought to.

It speaks the envelope only (subjects, JSON, errors); what it answers is the test's.
"""

import json
import secrets
from collections.abc import Callable
from typing import Any

import nats

Fields = dict[str, Any]
Answer = Fields | bytes | list[Any] | Callable[[Fields], Any]


class AdminService:
    """Answers by endpoint; remembers what was asked."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.cluster = f"c-{secrets.token_hex(6)}"
        self.answers: dict[str, Answer] = {}
        self.headers: dict[str, str] | None = None
        self.asked: list[tuple[str, Fields]] = []

    async def start(self) -> "AdminService":
        """Serve on a connection of its own."""
        self._client = await nats.connect(self.url)
        await self._client.subscribe(f"_STAN.admin.{self.cluster}.>", cb=self._answer)
        await self._client.flush()
        return self

    async def stop(self) -> None:
        """Leave."""
        await self._client.close()

    def refuse(self, endpoint: str, code: int, description: str) -> None:
        """Have it answer with an error."""
        self.answers[endpoint] = {"error": {"code": code, "description": description}}

    async def _answer(self, message: Any) -> None:
        endpoint = message.subject.removeprefix(f"_STAN.admin.{self.cluster}.")
        fields = json.loads(message.data)
        self.asked.append((endpoint, fields))
        answer: Any = self.answers.get(
            endpoint, {"error": {"code": 404, "description": f"no answer for {endpoint}"}}
        )
        if callable(answer):
            answer = answer(fields)
        data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        await self._client.publish(message.reply, data, headers=self.headers)


def page(fields: Fields, key: str, rows: list[Fields]) -> Fields:
    """A list as the service pages it."""
    offset = fields.get("offset", 0)
    return {
        "total": len(rows),
        "offset": offset,
        key: rows[offset : offset + min(fields.get("limit", 256), 1024)],
    }
