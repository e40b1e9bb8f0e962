"""What each operation takes and tells, as JSON schemas.

The requests are those that `requests` checks; the answers are spelled here, and tests hold every
answer of the service against them. A field may be added in a later version, none goes.
"""

from collections.abc import Mapping
from typing import Any

from stan.server.admin.requests import CHANGING, FIELDS, LIMITS

DIALECT = "https://json-schema.org/draft/2020-12/schema"

Schema = dict[str, Any]

_TEXT: Schema = {"type": "string"}
_COUNT: Schema = {"type": "integer", "minimum": 0}
_NUMBER: Schema = {"type": "number"}
_FLAG: Schema = {"type": "boolean"}
_BASE64: Schema = {"type": "string", "contentEncoding": "base64"}
_TIME: Schema = {
    "type": "string",
    "description": "RFC 3339 in UTC, with nanoseconds; empty for none",
    "pattern": r"^$|^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)$",
}
_KINDS: dict[type, Schema] = {str: _TEXT, int: _COUNT, bool: _FLAG}


def _fields(kind: Schema, names: str) -> dict[str, Schema]:
    return dict.fromkeys(names.split(), kind)


def _object(fields: Mapping[str, Schema], optional: str = "") -> Schema:
    left_out = set(optional.split())
    return {
        "type": "object",
        "properties": dict(fields),
        "required": [name for name in fields if name not in left_out],
    }


def _list(of: Schema) -> Schema:
    return {"type": "array", "items": of}


def _page(name: str, of: Schema) -> Schema:
    return _object({**_fields(_COUNT, "total offset"), name: _list(of)})


_LIMITS = _object(
    {name: _NUMBER if is_seconds else _COUNT for name, (_, is_seconds) in LIMITS.items()}
)
_CHANNEL = _object(
    {
        "name": _TEXT,
        **_fields(_COUNT, "messages bytes first_sequence last_sequence"),
        **_fields(_TIME, "first_time last_time"),
        **_fields(_COUNT, "subscriptions durables"),
        "limits": _LIMITS,
        "limits_source": {"enum": ["stored", "configured", "global"]},
        "removing": _COUNT,
        "dry_run": _FLAG,
    },
    "dry_run",
)
_SUBSCRIPTION = {
    "inbox": _TEXT,
    "is_stalled": _FLAG,
    **_fields(_COUNT, "pending last_sent max_in_flight ack_wait_s"),
}
_NAME = _fields(_TEXT, "channel client_id durable queue_group")
_DURABLE_FIELDS = {
    **_NAME,
    **_fields(_FLAG, "is_durable is_online is_stalled"),
    **_fields(_COUNT, "members_count last_sent pending unsent lag oldest_unacked"),
    "oldest_unacked_time": _TIME,
    **_fields(_COUNT, "redelivered lost oversize"),
}
_MEMBERS = _list(_object({"client_id": _TEXT, "is_online": _FLAG, **_SUBSCRIPTION}))
_DURABLE = _object({**_DURABLE_FIELDS, "members": _MEMBERS})
_CLIENT_FIELDS = {
    **_fields(_TEXT, "client_id heartbeat_inbox"),
    **_fields(_COUNT, "subscriptions_count failed_heartbeats"),
    "last_heard": _TIME,
}
_OF_CLIENT = _object(
    {
        "channel": _TEXT,
        **_fields(_TEXT, "durable queue_group"),
        "is_durable": _FLAG,
        **_SUBSCRIPTION,
    }
)
_MESSAGE = _object(
    {"sequence": _COUNT, "time": _TIME, "size_bytes": _COUNT, "data": _BASE64, "reply": _TEXT}
)
_STORE = _object(
    {
        **_fields(_TEXT, "kind location"),
        "persistent": _FLAG,
        **_fields(_TEXT, "durability owner"),
        "epoch": _COUNT,
        "lease_s": _NUMBER,
    },
    "durability owner epoch lease_s",
)
_GROUP = _object(
    {
        "name": _TEXT,
        "members": _list(_object({"server_id": _TEXT, "role": {"enum": ["active", "standby"]}})),
    }
)
_SERVER = _object(
    {
        **_fields(_TEXT, "cluster_id server_id version engine state mode"),
        **_fields(_TIME, "start_time now"),
        "uptime_s": _NUMBER,
        "nats_url": _TEXT,
        "store": _STORE,
        **_fields(_COUNT, "clients channels subscriptions messages bytes"),
        **_fields(_COUNT, "in_messages in_bytes out_messages out_bytes redelivered refused"),
        **_fields(_COUNT, "queued_messages queued_bytes"),
        "commit_ms": _object(_fields(_NUMBER, "p50 p99")),
        "group": {"anyOf": [_GROUP, {"type": "null"}]},
    }
)
_PARKED = _object(
    {
        "id": _COUNT,
        "channel": _TEXT,
        "size_bytes": _COUNT,
        **_fields(_TEXT, "reply msg_id"),
        **_fields(_TIME, "created_time parked_time"),
        "reason": _TEXT,
    }
)


def _numbers(fields: Mapping[str, Schema], numbers: str, optional: str = "") -> Schema:
    """What was named, and how much of it there was."""
    shown = {**fields, **_fields(_COUNT, numbers), "dry_run": _FLAG}
    return _object(shown, f"dry_run {optional}")


_CHANNEL_NAME = {"channel": _TEXT}
ANSWERS: dict[str, Schema] = {
    "server.info": _SERVER,
    "server.limits": _object(
        {
            "global": _LIMITS,
            "channels": _list(_object({"name": _TEXT, "limits": _LIMITS})),
        }
    ),
    "server.config": _object(
        {
            "options": _list(
                _object(
                    {
                        **_fields(_TEXT, "name value"),
                        "source": {"enum": ["default", "file", "flag", "environment"]},
                    }
                )
            )
        }
    ),
    "server.schema": _object({"$schema": _TEXT, "endpoints": {"type": "object"}}),
    "server.reload": _object({"lines": _list(_TEXT)}),
    "server.handover": _object({"handed_over": _FLAG}),
    "channel.list": _page("channels", _CHANNEL),
    "channel.info": _CHANNEL,
    "channel.create": {**_CHANNEL, "required": []},  # nothing is there after a dry run
    "channel.limits": _CHANNEL,
    "channel.purge": _numbers(_CHANNEL_NAME, "purged first_sequence last_sequence removing"),
    "channel.delete": _numbers(_CHANNEL_NAME, "messages subscriptions"),
    "message.get": _object({**_CHANNEL_NAME, "messages": _list(_MESSAGE), "next_sequence": _COUNT}),
    "message.publish": _numbers(_CHANNEL_NAME, "sequence", "sequence"),
    "message.delete": _numbers(_CHANNEL_NAME, "sequence deleted"),
    "durable.list": _page("durables", _object(_DURABLE_FIELDS)),
    "durable.info": _DURABLE,
    "durable.move": _numbers({**_DURABLE_FIELDS, "members": _MEMBERS}, "sequence released"),
    "durable.delete": _numbers(_NAME, "unsent pending members"),
    "durable.resend": _numbers(_NAME, "resent"),
    "client.list": _page("clients", _object(_CLIENT_FIELDS)),
    "client.info": _object({**_CLIENT_FIELDS, "subscriptions": _list(_OF_CLIENT)}),
    "client.disconnect": _numbers({"client_id": _TEXT}, "subscriptions"),
    "outbox.list": _page("rows", _PARKED),
    "outbox.wake": _object({}),
    "outbox.retry": _numbers({}, "moved"),
    "outbox.drop": _numbers({}, "dropped"),
}
ERROR = _object({"error": _object({"code": _COUNT, "description": _TEXT})})


def describe_schema() -> Schema:
    """The schemas of all operations, with that of an error."""
    return {
        "$schema": DIALECT,
        "endpoints": {
            name: {
                "changes": name in CHANGING,
                "request": _describe_request(fields),
                "answer": ANSWERS[name],
                "error": ERROR,
            }
            for name, fields in FIELDS.items()
        },
    }


def _describe_request(fields: Mapping[str, type]) -> Schema:
    own = {
        name: {**(_NUMBER if is_seconds else _COUNT), "minimum": 0}
        for name, (_, is_seconds) in LIMITS.items()
    }
    limits: Schema = {
        "type": ["object", "null"],
        "properties": {name: {"anyOf": [one, {"type": "null"}]} for name, one in own.items()},
        "additionalProperties": False,
    }
    return {
        "type": "object",
        "properties": {name: _KINDS.get(kind, limits) for name, kind in fields.items()},
        "additionalProperties": False,
    }
