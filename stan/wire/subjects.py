"""Subjects and channel names: what is valid, and how the server's subjects are built.

Only rules about strings live here. The rules come from the protocol: a channel is a
literal, non-empty, dot-separated name without ``/``, ``*`` or ``>``.
"""

import re
from collections.abc import Iterable

DEFAULT_DISCOVER_PREFIX = "_STAN.discover"
DEFAULT_CLUSTER_ID = "test-cluster"

_CLIENT_ID = re.compile(r"[a-zA-Z0-9_-]+")
# A NATS server ends the connection of whoever sends a longer control line than 4096 bytes,
# and a PUB may carry two subjects.
MAX_SUBJECT_BYTES = 1024
# What a NATS control line cannot carry inside a subject.
_NOT_IN_SUBJECT = re.compile(r"[\s\x00]")


def is_valid_client_id(client_id: str) -> bool:
    """Whether the ID is made of ASCII letters, digits, ``-`` and ``_`` only, and not empty."""
    return _CLIENT_ID.fullmatch(client_id) is not None


def is_valid_channel(name: str) -> bool:
    """Whether `name` is a literal channel name.

    Spaces and any Unicode pass this check, as in the original; they are kept out in
    practice because NATS cannot carry them in a subject.
    """
    return not (
        not name
        or "/" in name
        or "*" in name
        or ">" in name
        or name[0] == "."
        or name[-1] == "."
        or ".." in name
    )


def is_valid_channel_pattern(name: str) -> bool:
    """Whether `name` is a channel name in which ``*`` and ``>`` may stand as whole tokens,
    ``>`` only as the last one."""
    tokens = name.split(".")
    for index, token in enumerate(tokens):
        if not token or "/" in token:
            return False
        if token == ">" and index != len(tokens) - 1:
            return False
        if token not in ("*", ">") and ("*" in token or ">" in token):
            return False
    return True


def is_publishable_subject(subject: str) -> bool:
    """Whether NATS can carry a message on this subject: literal, without white space, and
    short enough for any control line."""
    return (
        bool(subject)
        and len(subject.encode()) <= MAX_SUBJECT_BYTES
        and _NOT_IN_SUBJECT.search(subject) is None
        and all(token and token not in ("*", ">") for token in subject.split("."))
    )


def pattern_matches(pattern: str, name: str) -> bool:
    """Whether the literal `name` is covered by `pattern` (``*`` one token, ``>`` the rest)."""
    want, have = pattern.split("."), name.split(".")
    for index, token in enumerate(want):
        if token == ">":
            return len(have) > index
        if index >= len(have) or token not in ("*", have[index]):
            return False
    return len(want) == len(have)


def pattern_covers(wide: str, narrow: str) -> bool:
    """Whether every channel that `narrow` covers is covered by `wide`, too."""
    want, have = wide.split("."), narrow.split(".")
    for index, token in enumerate(want):
        if token == ">":
            return len(have) > index
        if index >= len(have) or have[index] == ">" or token not in ("*", have[index]):
            return False
    return len(want) == len(have)


def patterns_overlap(one: str, other: str) -> bool:
    """Whether some literal name is covered by both of these patterns."""
    left, right = one.split("."), other.split(".")
    for mine, theirs in zip(left, right, strict=False):
        if ">" in (mine, theirs):
            return True
        if mine != theirs and "*" not in (mine, theirs):
            return False
    return len(left) == len(right)


class ServerSubjects:
    """The subjects a server of one cluster listens on, as its ConnectResponse names them.

    `publishes` are those of the channels that it serves, names or patterns: all when none is
    named.
    """

    def __init__(
        self,
        cluster_id: str,
        discover_prefix: str = DEFAULT_DISCOVER_PREFIX,
        channels: Iterable[str] = (),
    ) -> None:
        self.connect = f"{discover_prefix}.{cluster_id}"
        self.pings = f"{discover_prefix}.{cluster_id}.pings"
        self.publish_prefix = f"_STAN.pub.{cluster_id}"
        self.publishes = [f"{self.publish_prefix}.{name}" for name in channels or (">",)]
        self.subscribe = f"_STAN.sub.{cluster_id}"
        self.unsubscribe = f"_STAN.unsub.{cluster_id}"
        self.subscription_close = f"_STAN.subclose.{cluster_id}"
        self.close = f"_STAN.close.{cluster_id}"
