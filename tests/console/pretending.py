"""Operations that only pretend: a small world of channels, durables and clients in memory.

It answers and refuses as the operations do, so that pages can be tested without a server;
whether the real ones answer so is tested beside a real server.
"""

import base64
from collections.abc import Mapping
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from typing import Any

from stan.errors import AdminError

LIMITS = {
    "max_msgs": 1_000_000,
    "max_bytes": 1_024_000_000,
    "max_age_s": 0,
    "max_inactivity_s": 0,
    "max_subs": 1000,
}
PAYLOADS = (
    b'{"order": 1, "state": "new"}',
    b"<script>document.title='owned'</script><img src=x onerror=alert(1)>",
    bytes(range(64)),
    "价格 42 €".encode(),
)


def stamp(ago_s: float) -> str:
    """A time so long ago, as the operations write it."""
    moment = datetime.now(UTC) - timedelta(seconds=ago_s)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%f000Z")


class PretendedOperations:
    """`asked` is what was run, in order."""

    def __init__(self, channels: int = 3, clients: int = 2, mode: str = "full") -> None:
        self.mode = mode
        self.asked: list[tuple[str, dict[str, Any], str]] = []
        self.failing: AdminError | None = None
        self.group: dict[str, Any] | None = None
        self.channels: dict[str, dict[str, Any]] = {}
        self.messages: dict[str, list[dict[str, Any]]] = {}
        self.durables: list[dict[str, Any]] = []
        self.clients: dict[str, dict[str, Any]] = {}
        self.total_in = 0
        self.parked = [
            {
                "id": number, "channel": channel, "size_bytes": 12, "reply": "", "msg_id": "",
                "created_time": stamp(60), "parked_time": stamp(59), "reason": "no valid <channel>",
            }
            for number, channel in enumerate(("a..b", "<i>", "orders..new"), 1)
        ]  # fmt: skip
        for name in ("orders.new", "orders.paid", "<b>&amp;'\"x", *self._more(channels - 3)):
            self._create(name)
        for number, data in enumerate(PAYLOADS * 10, 1):
            self._store("orders.new", data, 4000 - number * 60)
        for number in range(clients):
            self.clients[f"client-{number}"] = describe_client(f"client-{number}")
        self.durables += [
            describe_durable("orders.new", "billing", "invoices", pending=5, unsent=25, most=5),
            describe_durable("orders.new", "", "workers:shipping", unsent=0, pending=1),
            describe_durable("orders.paid", "archive", "all", online=False, unsent=12),
            describe_durable("orders.paid", "mail", "receipts"),
        ]

    def _more(self, count: int) -> list[str]:
        return [f"load.{number:05d}" for number in range(count)]

    def _create(self, name: str) -> None:
        self.messages[name] = []
        self.channels[name] = {
            "name": name, "messages": 0, "bytes": 0, "first_sequence": 0, "last_sequence": 0,
            "first_time": "", "last_time": "", "subscriptions": 0, "durables": 0,
            "limits": dict(LIMITS), "limits_source": "global", "removing": False,
        }  # fmt: skip

    def _store(self, name: str, data: bytes, ago_s: float) -> int:
        channel = self.channels[name]
        sequence = channel["last_sequence"] + 1
        one = {
            "sequence": sequence,
            "time": stamp(ago_s),
            "size_bytes": len(data),
            "data": base64.b64encode(data).decode(),
            "reply": "",
        }
        self.messages[name].append(one)
        self.total_in += 1
        self._count(name)
        channel["last_sequence"], channel["last_time"] = sequence, one["time"]
        return sequence

    def _count(self, name: str) -> None:
        kept, channel = self.messages[name], self.channels[name]
        channel["messages"] = len(kept)
        channel["bytes"] = sum(one["size_bytes"] for one in kept)
        channel["first_sequence"] = kept[0]["sequence"] if kept else channel["last_sequence"]

    async def run(self, endpoint: str, request: Mapping[str, Any], who: str) -> dict[str, Any]:
        """As the operations do."""
        self.asked.append((endpoint, dict(request), who))
        if self.failing is not None:
            raise self.failing
        answer = getattr(self, "_" + endpoint.replace(".", "_"))(dict(request))
        result: dict[str, Any] = deepcopy(answer)
        return result

    def changes(self) -> list[tuple[str, dict[str, Any]]]:
        """What was changed, not only tried."""
        reads = ("info", "list", "get", "config", "limits")
        return [
            (endpoint, request)
            for endpoint, request, _ in self.asked
            if not request.get("dry_run")
            and (endpoint == "channel.limits" or endpoint.partition(".")[2] not in reads)
        ]

    # Reading.

    def _server_info(self, _: dict[str, Any]) -> dict[str, Any]:
        return {
            "cluster_id": "test-cluster", "server_id": "id", "version": "0.1.0", "engine": "pure",
            "state": "FT_ACTIVE" if self.group else "STANDALONE", "mode": self.mode,
            "start_time": stamp(5000), "now": stamp(0), "uptime_s": 5000.0,
            "nats_url": "nats://127.0.0.1:4222",
            "store": {"kind": "SQL", "location": "data/stan.db", "persistent": True, "epoch": 3,
                      "durability": "full"},
            "clients": len(self.clients), "channels": len(self.channels), "subscriptions": 4,
            "messages": sum(one["messages"] for one in self.channels.values()),
            "bytes": sum(one["bytes"] for one in self.channels.values()),
            "in_messages": self.total_in, "in_bytes": 1,
            "out_messages": self.total_in, "out_bytes": 0,
            "redelivered": 7, "refused": 0, "queued_messages": 0, "queued_bytes": 0,
            "commit_ms": {"p50": 0.8, "p99": 4.2}, "group": self.group,
        }  # fmt: skip

    def _server_limits(self, _: dict[str, Any]) -> dict[str, Any]:
        return {"global": LIMITS, "channels": [{"name": "orders.>", "limits": LIMITS}]}

    def _server_config(self, _: dict[str, Any]) -> dict[str, Any]:
        return {
            "options": [
                {"name": "cluster_id", "value": "test-cluster", "source": "default"},
                {"name": "admin", "value": self.mode, "source": "flag"},
                {"name": "password", "value": "***", "source": "environment"},
            ]
        }

    def _channel_list(self, request: dict[str, Any]) -> dict[str, Any]:
        wanted = request.get("filter", "")
        found = [one for name, one in self.channels.items() if fits(name, wanted)]
        sort = {"last": "last_sequence"}.get(request.get("sort", "name"), request.get("sort"))
        found.sort(key=lambda one: one[sort or "name"], reverse=request.get("reverse", False))
        return cut(found, request, "channels")

    def _channel_info(self, request: dict[str, Any]) -> dict[str, Any]:
        return self._channel(request)

    def _channel(self, request: dict[str, Any]) -> dict[str, Any]:
        if request["channel"] not in self.channels:
            raise AdminError(404, f'channel "{request["channel"]}" does not exist')
        return self.channels[request["channel"]]

    def _message_get(self, request: dict[str, Any]) -> dict[str, Any]:
        channel, kept = self._channel(request), self.messages[request["channel"]]
        if "last" in request:
            found = kept[-request["last"] :]
        elif "time" in request:
            found = [one for one in kept if one["time"] >= request["time"]]
        else:
            found = [one for one in kept if one["sequence"] >= request["sequence"]]
        found = found[: request.get("count", 256)]
        most = request.get("max_bytes")
        if most is not None:
            found = [
                {**one, "data": base64.b64encode(base64.b64decode(one["data"])[:most]).decode()}
                for one in found
            ]
        following = found[-1]["sequence"] + 1 if found else 0
        return {"channel": channel["name"], "messages": found, "next_sequence": following}

    def _durable_list(self, request: dict[str, Any]) -> dict[str, Any]:
        wanted, channel = request.get("filter", ""), request.get("channel")
        found = [
            {name: value for name, value in one.items() if name != "members"}
            for one in self.durables
            if (channel is None or one["channel"] == channel)
            and (not request.get("stalled") or one["is_stalled"])
            and wanted in f"{one['channel']} {one['client_id']} {one['durable']}"
        ]
        return cut(found, request, "durables")

    def _durable_info(self, request: dict[str, Any]) -> dict[str, Any]:
        for one in self.durables:
            if all(one.get(k) == v for k, v in request.items() if k in IDENTITY):
                return one
        raise AdminError(404, "no such durable")

    def _client_list(self, request: dict[str, Any]) -> dict[str, Any]:
        wanted = request.get("filter", "")
        found = [
            {name: value for name, value in one.items() if name != "subscriptions"}
            for client_id, one in self.clients.items()
            if wanted in client_id
        ]
        return cut(found, request, "clients")

    def _client_info(self, request: dict[str, Any]) -> dict[str, Any]:
        if request["client_id"] not in self.clients:
            raise AdminError(404, "no such client")
        return self.clients[request["client_id"]]

    # Changing.

    def _channel_create(self, request: dict[str, Any]) -> dict[str, Any]:
        if request["channel"] in self.channels:
            raise AdminError(409, f'channel "{request["channel"]}" exists')
        self._create(request["channel"])
        return self._channel_limits({"limits": {}, **request})

    def _channel_limits(self, request: dict[str, Any]) -> dict[str, Any]:
        channel, limits = self._channel(request), request["limits"]
        limited = {
            "limits": LIMITS | (limits or {}),
            "limits_source": "stored" if limits else "global",
        }
        if not request.get("dry_run"):
            channel |= limited
        return {**channel, **limited}

    def _channel_purge(self, request: dict[str, Any]) -> dict[str, Any]:
        channel, kept = self._channel(request), self.messages[request["channel"]]
        if "keep" in request:
            rest = kept[-request["keep"] :] if request["keep"] else []
        elif "up_to" in request:
            rest = [one for one in kept if one["sequence"] > request["up_to"]]
        elif "before" in request:
            rest = [one for one in kept if one["time"] >= request["before"]]
        else:
            rest = []
        if not request.get("dry_run"):
            self.messages[request["channel"]] = rest
            self._count(request["channel"])
        return {
            "channel": channel["name"], "purged": len(kept) - len(rest), "removing": False,
            "first_sequence": channel["first_sequence"],
            "last_sequence": channel["last_sequence"],
        }  # fmt: skip

    def _channel_delete(self, request: dict[str, Any]) -> dict[str, Any]:
        channel = self._channel(request)
        if not request.get("dry_run"):
            del self.channels[request["channel"]]
        return {"channel": channel["name"], "messages": channel["messages"], "subscriptions": 2}

    def _message_delete(self, request: dict[str, Any]) -> dict[str, Any]:
        kept = self.messages[self._channel(request)["name"]]
        if not request.get("dry_run"):
            kept[:] = [one for one in kept if one["sequence"] != request["sequence"]]
            self._count(request["channel"])
            for durable in self.durables:
                if durable["oldest_unacked"] == request["sequence"]:
                    durable["oldest_unacked"] += 1
        return {**request, "deleted": True}

    def _message_publish(self, request: dict[str, Any]) -> dict[str, Any]:
        name = request["channel"]
        return {
            "channel": name,
            "sequence": self._store(name, base64.b64decode(request["data"]), 0),
        }

    def _durable_move(self, request: dict[str, Any]) -> dict[str, Any]:
        durable = self._durable_info(request)
        released = durable["pending"]
        if not request.get("dry_run"):
            durable |= {"pending": 0, "unsent": 0, "lag": 0, "is_stalled": False}
            durable |= {"oldest_unacked": 0, "oldest_unacked_time": ""}
            for one in durable["members"]:
                one |= {"is_stalled": False, "pending": 0}
        return {**durable, "released": released}

    def _durable_resend(self, request: dict[str, Any]) -> dict[str, Any]:
        return {**request, "resent": self._durable_info(request)["pending"]}

    def _durable_delete(self, request: dict[str, Any]) -> dict[str, Any]:
        durable = self._durable_info(request)
        if not request.get("dry_run"):
            self.durables.remove(durable)
        return {**request, "unsent": durable["unsent"], "pending": durable["pending"]}

    def _client_disconnect(self, request: dict[str, Any]) -> dict[str, Any]:
        client = self._client_info(request)
        if not request.get("dry_run"):
            del self.clients[request["client_id"]]
        return {**request, "subscriptions": client["subscriptions_count"]}

    def _outbox_list(self, request: dict[str, Any]) -> dict[str, Any]:
        return cut(self.parked, request, "rows")

    def _outbox_retry(self, request: dict[str, Any]) -> dict[str, Any]:
        return self._settle(request, "moved")

    def _outbox_drop(self, request: dict[str, Any]) -> dict[str, Any]:
        return self._settle(request, "dropped")

    def _settle(self, request: dict[str, Any], told: str) -> dict[str, Any]:
        meant = [one for one in self.parked if request.get("all") or one["id"] == request["id"]]
        if not request.get("dry_run"):
            self.parked = [one for one in self.parked if one not in meant]
        return {told: len(meant)}

    def _server_reload(self, _: dict[str, Any]) -> dict[str, Any]:
        return {"lines": ["Reloaded the configuration: no change"]}

    def _server_handover(self, _: dict[str, Any]) -> dict[str, Any]:
        return {"handed_over": True}


IDENTITY = ("channel", "client_id", "durable", "queue_group")


def describe_durable(
    channel: str, client_id: str, name: str, online: bool = True, pending: int = 0,
    unsent: int = 0, most: int = 1024,
) -> dict[str, Any]:  # fmt: skip
    """A durable, or a group without a client."""
    is_stalled = online and pending >= most
    oldest = 11 if pending + unsent else 0
    return {
        "channel": channel, "client_id": client_id, "durable": name if client_id else "",
        "queue_group": "" if client_id else name, "is_durable": True, "is_online": online,
        "is_stalled": is_stalled, "members_count": int(online), "last_sent": 15,
        "pending": pending, "unsent": unsent, "lag": pending + unsent, "oldest_unacked": oldest,
        "oldest_unacked_time": stamp(1800) if oldest else "", "redelivered": 0, "lost": 0,
        "members": [
            {"client_id": client_id or "client-0", "inbox": "_INBOX.a", "is_online": online,
             "is_stalled": is_stalled, "pending": pending, "last_sent": 15,
             "max_in_flight": most, "ack_wait_s": 30}
        ],
    }  # fmt: skip


def describe_client(client_id: str) -> dict[str, Any]:
    """A client with one subscription."""
    return {
        "client_id": client_id, "heartbeat_inbox": f"_INBOX.{client_id}",
        "subscriptions_count": 1, "failed_heartbeats": 0, "last_heard": stamp(3),
        "subscriptions": [
            {"channel": "orders.new", "durable": "", "queue_group": "workers:shipping",
             "pending": 1, "last_sent": 15, "is_stalled": False}
        ],
    }  # fmt: skip


def fits(name: str, wanted: str) -> bool:
    """Substring, or pattern."""
    if any(one in wanted for one in "*?["):
        return fnmatchcase(name, wanted)
    return wanted in name


def cut(found: list[dict[str, Any]], request: dict[str, Any], key: str) -> dict[str, Any]:
    """A page of a list."""
    offset = request.get("offset", 0)
    return {
        "total": len(found),
        "offset": offset,
        key: found[offset : offset + request.get("limit", 256)],
    }
