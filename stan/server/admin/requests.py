"""Which operations there are, and what may stand in a request for each.

Invariant: an operation sees only fields that are listed here, of the right kind.
"""

import base64
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from stan.engine.limits import ChannelOverrides
from stan.errors import AdminError
from stan.units import SECOND_NS

_PAGE: dict[str, type] = {"filter": str, "offset": int, "limit": int}
_DURABLE: dict[str, type] = {"channel": str, "client_id": str, "durable": str, "queue_group": str}
_TRIAL: dict[str, type] = {"dry_run": bool}

READING: dict[str, dict[str, type]] = {
    "server.info": {},
    "server.limits": {},
    "server.config": {},
    "server.schema": {},
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
    "channel.limits": {"channel": str, "limits": dict, **_TRIAL},
    "channel.purge": {
        "channel": str,
        "all": bool,
        "up_to": int,
        "before": str,
        "keep": int,
        **_TRIAL,
    },
    "channel.delete": {"channel": str, "force": bool, **_TRIAL},
    "message.publish": {"channel": str, "data": str, "reply": str, **_TRIAL},
    "message.delete": {"channel": str, "sequence": int, **_TRIAL},
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
# Limits by their names in JSON, and whether they are counted in seconds.
LIMITS = {
    "max_msgs": ("max_messages", False),
    "max_bytes": ("max_bytes", False),
    "max_age_s": ("max_age_ns", True),
    "max_inactivity_s": ("max_inactivity_ns", True),
    "max_subs": ("max_subscriptions", False),
}
_MOST = (1 << 63) - 1
_KINDS = {str: "a string", int: "a number", bool: "true or false", dict: "an object"}


def check(endpoint: str, request: Mapping[str, Any]) -> None:
    """Raise AdminError for a request that makes no sense."""
    fields = FIELDS.get(endpoint)
    if fields is None:
        raise AdminError(404, f'there is no operation "{endpoint}"')
    for name, value in request.items():
        kind = fields.get(name)
        if kind is None:
            raise AdminError(400, f'{endpoint} knows no field "{name}"')
        if value is None and kind is dict:
            continue  # nothing of its own
        if type(value) is not kind:
            raise AdminError(400, f'"{name}" must be {_KINDS[kind]}')
        if isinstance(value, int) and value < 0:
            raise AdminError(400, f'"{name}" must not be negative')


def read_limits(limits: Mapping[str, Any], own: ChannelOverrides) -> ChannelOverrides:
    """The limits of a channel's own, once these are laid over the ones it has: null is to inherit
    again, 0 is unlimited. Raises AdminError."""
    changed: dict[str, int | None] = {}
    for name, value in limits.items():
        if name not in LIMITS:
            raise AdminError(400, f'there is no limit "{name}": {", ".join(LIMITS)}')
        field, is_seconds = LIMITS[name]
        if value is None:
            changed[field] = None
            continue
        if type(value) is not int and not (is_seconds and type(value) is float):
            kind = "a number of seconds" if is_seconds else "a whole number"
            raise AdminError(400, f'"{name}" must be {kind}')
        counted = value * (SECOND_NS if is_seconds else 1)
        if not 0 <= counted <= _MOST:  # which no NaN is, either
            raise AdminError(400, f'"{name}" is out of range')
        changed[field] = int(counted)
    return replace(own, **changed)


def read_payload(request: Mapping[str, Any]) -> bytes:
    """The payload of a message to publish. Raises AdminError."""
    if "data" not in request:
        raise AdminError(400, '"data" is needed: the payload in base64')
    try:
        return base64.b64decode(request["data"], validate=True)
    except ValueError:
        raise AdminError(400, '"data" is not base64') from None


def choose(request: Mapping[str, Any], *names: str) -> str:
    """The one of these fields that is given. Raises AdminError."""
    given = [name for name in names if request.get(name) not in (None, False)]
    if len(given) != 1:
        raise AdminError(400, f"one of {', '.join(names)} is needed")
    return given[0]
