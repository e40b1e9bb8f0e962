"""Names on a command line: what is wrong with one, how a durable is called, and a client ID that
nobody else has.

Nothing here asks anybody. What passes here may still be refused by the server.
"""

from collections.abc import Mapping
from typing import Any

from stan.identifiers import new_id
from stan.wire.subjects import MAX_SUBJECT_BYTES


def explain_channel(channel: str, doing: str) -> str | None:
    """What is wrong with a channel's name for whom is `doing` something ("published to"); None
    when nothing is."""
    shown = f'"{channel}"'
    if not channel:
        return f"{shown}: the channel's name is empty"
    if "" in channel.split("."):
        return f"{shown}: an empty token: a dot at an end, or two with nothing between"
    if "*" in channel or ">" in channel:
        return f"{shown}: wildcards cannot be {doing}"
    if "/" in channel:
        return f"{shown}: a channel's name holds no /"
    if any(one.isspace() or one == "\0" for one in channel):
        return f"{shown}: a channel's name holds no white space"
    if len(channel.encode(errors="surrogateescape")) > MAX_SUBJECT_BYTES:
        return f"{shown[:40]}...: longer than {MAX_SUBJECT_BYTES} bytes"
    return None


def name_of(row: Mapping[str, Any]) -> str:
    """A durable or group as people name it: CLIENT/DURABLE, or what the group is called."""
    group = str(row.get("queue_group") or "")
    return group or f"{row.get('client_id', '')}/{row.get('durable', '')}"


def own_client_id(stem: str) -> str:
    """A client ID that two terminals do not share."""
    return f"{stem}-{new_id(6)}"
