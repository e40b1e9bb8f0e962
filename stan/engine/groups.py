"""Which member of a queue group gets a message (protocol 5.6).

Pure choice over the members' state: nothing is sent and nothing is counted here. Invariant:
a member whose client must prove first that it reads is never chosen.
"""

from stan.engine.state import Cursor, Subscription


def choose(cursor: Cursor) -> Subscription | None:
    """The member for the next message: not stalled, its client answering heartbeats, with
    the fewest in flight, the earliest of equals; else the first that is not held (5.6)."""
    best: Subscription | None = None
    last_resort: Subscription | None = None
    fewest = 0
    for member in cursor.members:
        count = len(member.in_flight)
        client = member.client
        if not member.started or (client is not None and client.is_held):
            continue
        if last_resort is None:
            last_resort = member
        if count >= member.max_in_flight or (client is not None and client.failed_heartbeats > 0):
            continue
        if best is None or count < fewest:
            best, fewest = member, count
    return best if best is not None else last_resort


def rotate(cursor: Cursor, member: Subscription) -> None:
    """Members take turns: a chosen head of the list goes to its tail."""
    if cursor.members[0] is member and len(cursor.members) > 1:
        del cursor.members[0]
        cursor.members.append(member)


def are_all_held(cursor: Cursor) -> bool:
    """Whether every member's client must prove first that it reads."""
    return all(member.is_held for member in cursor.members)
