"""Which operations there are, and what may stand in a request for each.

Invariant: an operation sees only fields that are listed here, of the right kind.
"""

from collections.abc import Mapping
from typing import Any

from stan.errors import AdminError

_PAGE: dict[str, type] = {"filter": str, "offset": int, "limit": int}
_DURABLE: dict[str, type] = {"channel": str, "client_id": str, "durable": str, "queue_group": str}
_TRIAL: dict[str, type] = {"dry_run": bool}

READING: dict[str, dict[str, type]] = {
    "server.info": {},
    "server.limits": {},
    "server.config": {},
    "channel.list": {**_PAGE, "sort": str, "reverse": bool},
    "channel.info": {"channel": str},
    "message.get": {
        "channel": str,
        "sequence": int,
        "time": str,
        "last": int,
        "count": int,
        "max_bytes": int,
    },
    "durable.list": {**_PAGE, "channel": str, "stalled": bool},
    "durable.info": _DURABLE,
    "client.list": _PAGE,
    "client.info": {"client_id": str},
    "outbox.list": {"offset": int, "limit": int},
    "outbox.wake": {},
}
CHANGING: dict[str, dict[str, type]] = {
    "channel.create": {"channel": str, "limits": dict, **_TRIAL},
    "channel.purge": {
        "channel": str,
        "all": bool,
        "up_to": int,
        "before": str,
        "keep": int,
        **_TRIAL,
    },
    "channel.delete": {"channel": str, "force": bool, **_TRIAL},
    "durable.move": {**_DURABLE, "sequence": int, "time": str, "to": str, **_TRIAL},
    "durable.delete": {**_DURABLE, "force": bool, **_TRIAL},
    "durable.resend": {**_DURABLE, **_TRIAL},
    "client.disconnect": {"client_id": str, **_TRIAL},
    "outbox.retry": {"id": int, "all": bool, **_TRIAL},
    "outbox.drop": {"id": int, "all": bool, **_TRIAL},
    "server.reload": {},
    "server.handover": {},
}
FIELDS = READING | CHANGING
# What the command and the console know of and no server does so far.
NOT_OFFERED = {
    "channel.limits": "a channel's limits are changed in the configuration, by a reload",
    "message.delete": "one message cannot be deleted; a purge drops all up to a sequence",
    "message.publish": "messages are published by clients",
}
_KINDS = {str: "a string", int: "a number", bool: "true or false", dict: "an object"}


def check(endpoint: str, request: Mapping[str, Any]) -> None:
    """Raise AdminError for a request that makes no sense."""
    if endpoint in NOT_OFFERED:
        raise AdminError(409, f"{endpoint} is not offered: {NOT_OFFERED[endpoint]}")
    if endpoint == "channel.create" and request.get("limits"):
        raise AdminError(409, NOT_OFFERED["channel.limits"])
    fields = FIELDS.get(endpoint)
    if fields is None:
        raise AdminError(404, f'there is no operation "{endpoint}"')
    for name, value in request.items():
        kind = fields.get(name)
        if kind is None:
            raise AdminError(400, f'{endpoint} knows no field "{name}"')
        if type(value) is not kind:
            raise AdminError(400, f'"{name}" must be {_KINDS[kind]}')
        if isinstance(value, int) and value < 0:
            raise AdminError(400, f'"{name}" must not be negative')


def choose(request: Mapping[str, Any], *names: str) -> str:
    """The one of these fields that is given. Raises AdminError."""
    given = [name for name in names if request.get(name) not in (None, False)]
    if len(given) != 1:
        raise AdminError(400, f"one of {', '.join(names)} is needed")
    return given[0]
