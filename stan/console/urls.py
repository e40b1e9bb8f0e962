"""Addresses within the console: always relative, so that a proxy may put it anywhere."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode


def link(page: str, **query: object) -> str:
    """A page with these parameters; empty ones are left out."""
    some = {name: str(value) for name, value in query.items() if value not in ("", None, False)}
    return f"{page}?{urlencode(some)}" if some else page


def durable_identity(durable: Mapping[str, Any]) -> dict[str, str]:
    """What names a durable or group, to the operations as in an address."""
    if durable.get("queue_group"):
        return {"channel": durable["channel"], "queue_group": durable["queue_group"]}
    return {name: str(durable.get(name, "")) for name in ("channel", "client_id", "durable")}
