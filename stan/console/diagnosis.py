"""Why a durable or group does not progress, and what is wrong with a server, as sentences.

Pure: from what the operations tell to keys of the catalogues with the words that go into
them. Invariant: there is always a first reason, and it is the one that has to be removed
before any other matters.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from stan.console.formats import moment

# A commit that takes longer keeps publishers waiting noticeably.
SLOW_COMMIT_MS = 1000.0
LONG_QUEUE = 10_000


@dataclass(slots=True, frozen=True)
class Finding:
    """A sentence, how grave it is, and what can be done: names of remedies that a page knows."""

    key: str
    grave: str  # "good", "note", "warning" or "bad"
    words: Mapping[str, Any] = field(default_factory=dict)
    remedies: tuple[str, ...] = ()


def find_reasons(durable: Mapping[str, Any]) -> list[Finding]:
    """Why this one does not progress, the reason that matters most first; if it does, that."""
    waiting, pending = int(durable["unsent"]), int(durable["pending"])
    reasons = list(_find_obstacles(durable))
    if not reasons:
        if waiting:
            reasons.append(Finding("why.behind", "note", {"unsent": waiting}, ("faster", "move")))
        elif pending:
            reasons.append(Finding("why.working", "good", {"pending": pending}))
        else:
            reasons.append(Finding("why.done", "good"))
    if durable.get("lost"):
        reasons.append(Finding("why.lost", "warning", {"lost": durable["lost"]}, ("limits",)))
    return reasons


def _find_obstacles(durable: Mapping[str, Any]) -> Iterator[Finding]:
    pending, waiting = int(durable["pending"]), int(durable["unsent"])
    if not durable["is_online"]:
        if pending or waiting:
            words = {"lag": durable["lag"]}
            yield Finding("why.offline", "bad", words, ("start", "move", "delete"))
        else:
            yield Finding("why.offline_idle", "note", {}, ("start", "delete"))
        return
    members = [one for one in durable.get("members") or () if one["is_online"]]
    most = sum(int(one["max_in_flight"]) for one in members)
    if oversize := int(durable.get("oversize", 0)):
        yield Finding("why.oversize", "bad", {"oversize": oversize}, ("payload", "look", "skip"))
    if durable["is_stalled"]:
        words = {
            "pending": pending,
            "most": most,
            "oldest": durable["oldest_unacked"],
            "since": moment(durable["oldest_unacked_time"]),
        }
        if most and pending < most:
            yield Finding("why.reading", "bad", words, ("reader",))
        else:
            yield Finding("why.stalled", "bad", words, ("ack", "look", "resend", "skip", "move"))
        return
    stuck = [one for one in members if one["is_stalled"]]
    if stuck:
        words = {"stuck": len(stuck), "members": len(members), "client": stuck[0]["client_id"]}
        yield Finding("why.member", "warning", words, ("ack", "look", "resend"))


def find_alarms(info: Mapping[str, Any], stalled: int) -> list[Finding]:
    """What somebody should look at now; `stalled` durables and groups wait for acks."""
    found = []
    commit = info.get("commit_ms") or {}
    if float(commit.get("p99", 0)) >= SLOW_COMMIT_MS:
        found.append(Finding("alarm.commit", "warning", {"p99": commit["p99"]}, ("store",)))
    if int(info.get("queued_messages", 0)) >= LONG_QUEUE:
        words = {"queued": info["queued_messages"]}
        found.append(Finding("alarm.queue", "warning", words, ("store",)))
    if stalled:
        found.append(Finding("alarm.stalled", "bad", {"stalled": stalled}, ("stalled",)))
    if info.get("refused"):
        found.append(Finding("alarm.refused", "note", {"refused": info["refused"]}, ("log",)))
    if (info.get("store") or {}).get("persistent") is False:
        found.append(Finding("alarm.memory", "note", {}, ()))
    return found
