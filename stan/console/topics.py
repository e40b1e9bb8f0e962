"""What can be watched live: the question behind each page, and the numbers in its answer.

Pure functions of answers. `series` are drawn over time, `values` stand in the page at places
named alike, and when `version` changes, the page has to be read again: a row came or went, or
other words are true.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from stan.console.diagnosis import find_alarms, find_reasons
from stan.console.urls import durable_identity

Answer = Mapping[str, Any]
Value = float | int | str | bool


@dataclass(slots=True, frozen=True)
class Sample:
    series: dict[str, float]
    values: dict[str, Value]
    version: str


@dataclass(slots=True, frozen=True)
class Besides:
    """Another question, whose answer stands in the first one's under this name."""

    name: str
    endpoint: str
    request: Answer
    every: int


@dataclass(slots=True, frozen=True)
class Question:
    """One endpoint and request; asked at every `every`-th interval."""

    key: str
    endpoint: str
    request: Answer
    measure: Callable[[Answer, Answer | None, float], Sample]
    every: int = 1
    besides: Besides | None = None


# Lists are long: they are read less often than what is one thing.
_LIST_EVERY = 5
# Those that an overview names.
STALLED: Answer = {"stalled": True, "limit": 5}
_RATES = ("in_messages", "in_bytes", "out_messages", "out_bytes")


def server_question() -> Question:
    """The whole server, and how many of its durables are stalled."""
    stalled = Besides("stalled", "durable.list", STALLED, _LIST_EVERY)
    return Question("server", "server.info", {}, measure_server, besides=stalled)


def channel_question(name: str) -> Question:
    """One channel."""
    return Question(f"channel {name}", "channel.info", {"channel": name}, measure_channel)


def durable_question(identity: Mapping[str, str]) -> Question:
    """One durable or group, by what names it."""
    key = "durable " + " ".join(identity.values())
    return Question(key, "durable.info", dict(identity), measure_durable)


def list_question(endpoint: str, request: Answer) -> Question:
    """A page of a list, as it was asked for."""
    asked = " ".join(f"{name}={value}" for name, value in sorted(request.items()))
    return Question(f"{endpoint} {asked}", endpoint, request, _MEASURES[endpoint], _LIST_EVERY)


def measure_server(answer: Answer, before: Answer | None, elapsed_s: float) -> Sample:
    """Rates, latencies and the backlog; the alarms are what may change."""
    commit = answer.get("commit_ms") or {}
    series = {
        "commit_p50": float(commit.get("p50", 0.0)),
        "commit_p99": float(commit.get("p99", 0.0)),
        "queued_messages": float(answer.get("queued_messages", 0)),
    }
    if before is not None:
        for name in _RATES:
            series[f"{name}_rate"] = growth(answer, before, name, elapsed_s)
    names = ("clients", "channels", "subscriptions", "messages", "bytes", "queued_messages",
             "queued_bytes", "in_messages", "out_messages", "redelivered", "refused", "uptime_s",
             )  # fmt: skip
    values: dict[str, Value] = {name: answer[name] for name in names if name in answer}
    stalled = answer.get("stalled") or {"total": 0, "durables": []}
    alarms = [one.key for one in find_alarms(answer, stalled["total"])]
    keys = [durable_key(one) for one in stalled["durables"]]
    version = " ".join([str(answer.get("state")), *alarms, *keys])
    return Sample(series, {**values, **series}, version)


def measure_channel(answer: Answer, before: Answer | None, elapsed_s: float) -> Sample:
    """What is stored, and how fast more is."""
    series = {"messages": float(answer["messages"]), "bytes": float(answer["bytes"])}
    if before is not None:
        series["rate"] = growth(answer, before, "last_sequence", elapsed_s)
    names = ("messages", "bytes", "first_sequence", "last_sequence", "subscriptions", "durables")
    values: dict[str, Value] = {name: answer[name] for name in names if name in answer}
    return Sample(series, {**values, **series}, str(answer.get("limits_source")))


def measure_durable(answer: Answer, before: Answer | None, elapsed_s: float) -> Sample:
    """How far behind it is, and why."""
    series = {name: float(answer[name]) for name in ("lag", "pending", "unsent")}
    if before is not None:
        series["sent_rate"] = growth(answer, before, "last_sent", elapsed_s)
        done = progress(answer) - progress(before)
        series["done_rate"] = max(done, 0) / elapsed_s if elapsed_s > 0 else 0.0
    names = ("lag", "pending", "unsent", "last_sent", "oldest_unacked", "redelivered", "lost")
    values: dict[str, Value] = {name: answer[name] for name in names if name in answer}
    keys = [reason.key for reason in find_reasons(answer)]
    return Sample(series, {**values, **series}, " ".join(keys))


def progress(answer: Answer) -> int:
    """How many messages are done with, counted from anywhere."""
    return int(answer.get("last_sent", 0)) - int(answer.get("pending", 0))


def growth(answer: Answer, before: Answer, name: str, elapsed_s: float) -> float:
    """How fast a counter rises; 0 when it was set back."""
    if elapsed_s <= 0:
        return 0.0
    return max(float(answer.get(name, 0)) - float(before.get(name, 0)), 0.0) / elapsed_s


def measure_channels(answer: Answer, before: Answer | None, elapsed_s: float) -> Sample:
    """The numbers of the channels on a page."""
    return _measure_rows(
        [(one["name"], one) for one in answer["channels"]],
        ("messages", "bytes", "last_sequence", "subscriptions"),
    )


def measure_durables(answer: Answer, before: Answer | None, elapsed_s: float) -> Sample:
    """The numbers of the durables and groups on a page; a state is words."""
    rows = [(durable_key(one), one) for one in answer["durables"]]
    sample = _measure_rows(rows, ("lag", "pending", "oldest_unacked"))
    states = [f"{one['is_online']}{one['is_stalled']}" for one in answer["durables"]]
    return Sample({}, sample.values, " ".join([sample.version, *states]))


def measure_clients(answer: Answer, before: Answer | None, elapsed_s: float) -> Sample:
    """The numbers of the clients on a page."""
    rows = [(one["client_id"], one) for one in answer["clients"]]
    return _measure_rows(rows, ("subscriptions_count", "failed_heartbeats"))


def durable_key(durable: Answer) -> str:
    """What tells a durable or group from all others, on one line."""
    who = durable["queue_group"] or f"{durable['client_id']} {durable['durable']}"
    return f"{durable['channel']} {who}"


def name_rows(durables: Iterable[Answer]) -> list[tuple[Answer, str, dict[str, str]]]:
    """Each with its key and with what names it in an address."""
    return [(one, durable_key(one), durable_identity(one)) for one in durables]


def _measure_rows(rows: list[tuple[str, Answer]], names: tuple[str, ...]) -> Sample:
    values = {f"{key}|{name}": one[name] for key, one in rows for name in names if name in one}
    return Sample({}, values, " ".join(key for key, _ in rows))


_MEASURES = {
    "channel.list": measure_channels,
    "durable.list": measure_durables,
    "client.list": measure_clients,
}
