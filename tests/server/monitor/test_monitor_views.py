"""Views of an engine that recovered: what is shown of durables and groups nobody serves."""

from stan.engine.engine import Engine
from stan.engine.limits import ChannelLimits, ChannelOverrides, StoreLimits
from stan.engine.records import (
    Bounds,
    ChannelRecord,
    ClientRecord,
    Recovered,
    ServerRecord,
    SubscriptionRecord,
)
from stan.engine.rows import ConsumerView
from stan.engine.settings import Settings
from stan.engine.views import View

SERVER = ServerRecord("c", "_INBOX.server")


def subscription(number: int, **changes: object) -> SubscriptionRecord:
    """An offline durable of the client `gone` on channel 1, or what the changes make of it."""
    values: dict[str, object] = {
        "subscription_id": number,
        "channel_id": 1,
        "client_id": "gone",
        "inbox": f"_INBOX.{number}",
        "ack_inbox": f"_INBOX.server.{number}",
        "max_in_flight": 7,
        "ack_wait_s": 11,
        "durable_name": f"d{number}",
        "queue_group": "",
        "is_durable": True,
        "is_closed": True,
        "last_sent": 0,
        "in_flight": (),
    }
    return SubscriptionRecord(**(values | changes))  # type: ignore[arg-type]


def view(*subscriptions: SubscriptionRecord, bounds: Bounds | None = None) -> View:
    """The view of an engine that found these in its store."""
    bounds = bounds or Bounds(10, 20, 100, 300, 5, 6, 11)
    recovered = Recovered(
        server=SERVER,
        next_channel_id=3,
        channels=[(ChannelRecord(1, "foo"), bounds), (ChannelRecord(2, "bar"), Bounds())],
        clients=[ClientRecord("here", "_INBOX.beat", b"id", 1, 5, 88)],
        subscriptions=list(subscriptions),
    )
    return View(Engine(Settings(), recovered, SERVER, lambda: "x", 1_000))


def consumers(seen: View, channel: str) -> list[ConsumerView]:
    """All durables and groups of a channel."""
    found = [seen.consumer(channel, name) for _, name in seen.consumer_names([channel])]
    return [one for one in found if one is not None]


def test_channels() -> None:
    seen = view()
    assert seen.channel_names() == ["bar", "foo"]
    foo, bar = seen.channel("foo"), seen.channel("bar")
    assert foo is not None
    assert bar is not None
    assert (foo.first, foo.last, foo.messages, foo.stored_bytes, foo.dropped) == (
        *(10, 20, 11, 200),
        9,
    )
    assert (bar.first, bar.last, bar.messages) == (0, 0, 0)
    assert seen.channel("none") is None


def test_recovered_durable_keeps_what_its_client_asked_for() -> None:
    (one,) = view(subscription(1, last_sent=12)).channel_subscriptions("foo")
    assert (one.inbox, one.max_in_flight, one.ack_wait_s) == ("_INBOX.1", 7, 11)
    assert (one.client_id, one.is_offline, one.last_sent) == ("gone", True, 12)


def test_consumer_that_is_behind_what_limits_dropped() -> None:
    (one,) = consumers(view(subscription(1, last_sent=4)), "foo")
    assert (one.unsent, one.lost, one.oldest_sequence, one.members) == (11, 5, 10, 0)


def test_consumer_with_messages_in_flight() -> None:
    (one,) = consumers(view(subscription(1, last_sent=18, in_flight=(8, 15, 18))), "foo")
    assert (one.pending, one.unsent, one.oldest_sequence) == (3, 2, 10)


def test_consumer_that_has_acknowledged_everything() -> None:
    (one,) = consumers(view(subscription(1, last_sent=20)), "foo")
    assert (one.unsent, one.lost, one.oldest_sequence, one.is_stalled) == (0, 0, 0, False)


def test_members_of_a_group_are_one_consumer() -> None:
    group = {"client_id": "here", "durable_name": "", "queue_group": "d:g", "is_closed": False}
    seen = view(
        subscription(1, last_sent=14, in_flight=(12,), **group),
        subscription(2, last_sent=15, in_flight=(11, 15), **group),
    )
    (one,) = consumers(seen, "foo")
    assert (one.queue_name, one.members, one.pending, one.unsent) == ("d:g", 2, 3, 5)
    assert one.oldest_sequence == 11
    assert [shown.last_sent for shown in seen.channel_subscriptions("foo")] == [14, 15]
    assert [name for name, _ in seen.client_subscriptions("here")] == ["foo"]


def test_offline_durables_stand_after_active_ones_and_before_groups() -> None:
    here = {"client_id": "here", "is_closed": False}
    seen = view(
        subscription(1, durable_name="", queue_group="g", **here),
        subscription(2),
        subscription(3, **here),
    )
    shown = [one.inbox for one in seen.channel_subscriptions("foo")]
    assert shown == ["_INBOX.3", "_INBOX.2", "_INBOX.1"]


def test_limits_are_resolved_and_sorted() -> None:
    limits = StoreLimits(
        channels={"foo": ChannelOverrides(max_messages=5), ">": ChannelOverrides(max_bytes=9)}
    )
    seen = View(Engine(Settings(limits=limits), Recovered(), SERVER, lambda: "x", 0))
    assert seen.limits() == [
        (">", ChannelLimits(max_bytes=9)),
        ("foo", ChannelLimits(max_bytes=9, max_messages=5)),
    ]


def test_a_block_counts_what_the_views_show() -> None:
    """Durables, on and offline, behind and not; members of groups; a group left alone."""
    here = {"client_id": "here", "is_closed": False}
    seen = view(
        subscription(1, last_sent=4),
        subscription(2, last_sent=18, in_flight=(8, 15, 18), **here),
        subscription(3, last_sent=20, durable_name="", is_durable=False, **here),
        subscription(4, last_sent=14, queue_group="g", durable_name="", **here),
        subscription(5, last_sent=15, in_flight=(11, 15), queue_group="g", durable_name="", **here),
        subscription(6, last_sent=12, in_flight=(12,), queue_group="d:h", durable_name=""),
        subscription(7, channel_id=2, max_in_flight=1, **here),
    )
    block = seen.block(["foo", "none", "bar"])
    shown = [one for name in ("foo", "bar") if (one := seen.channel(name)) is not None]
    assert block.channels == [
        (one.name, one.stored_bytes, one.messages, one.last, one.first, one.dropped)
        for one in shown
    ]
    assert sorted(block.subscriptions) == sorted(
        (
            *(name, one.client_id, one.inbox, one.queue_name, one.durable_name, one.is_durable),
            *(one.is_offline, one.last_sent, one.pending, one.max_in_flight, one.is_stalled, 0),
        )
        for name in ("foo", "bar")
        for one in seen.channel_subscriptions(name)
    )
    assert [row[:12] for row in block.consumers] == [
        (
            *(name, one.client_id, one.queue_name, one.durable_name, one.is_durable),
            *(one.unsent + one.pending, one.pending, one.members, one.is_stalled),
            *(one.redelivered, one.lost, one.oldest_sequence),
        )
        for name in ("foo", "bar")
        for one in consumers(seen, name)
    ]
    assert [len(rows) for rows in block] == [2, 7, 5]
    # Which of them is at an end of the channel, whose times are 5 and 6.
    stored = {row.oldest_sequence: row.oldest_stored_ns for row in block.consumers}
    assert stored == {10: 5, 11: 0, 12: 0, 0: 0}
    assert [row.channel_id for row in block.consumers] == [1, 1, 1, 1, 2]
