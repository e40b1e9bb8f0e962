"""Subscribing again after the server has forgotten us, and the report of what came of it.

Sans-I/O, a part of the session. A feed that returns goes on behind the last message that
arrived; what that costs (messages that limits removed, a channel that was begun anew) shows
with the first message that comes, and is told. An answer that is late or lost is asked for
again, on another inbox, after the server was told to close what it may have accepted.
"""

from collections.abc import Callable
from functools import partial
from typing import Protocol

from stan.client.events import Event, Resumed
from stan.client.feed import Feed
from stan.client.protocol import UNKNOWN_CLIENT_ID, read_subscribed
from stan.client.pulse import wait_ns
from stan.client.requests import Answer, OnAnswer, Requests, Unanswered
from stan.errors import ClientError
from stan.units import SECOND_NS
from stan.wire.stan_pb2 import ConnectResponse, SubscriptionRequest

# A refusal may pass (the durable's last owner is about to be noticed as dead); not for ever.
_PATIENCE_NS = 30 * SECOND_NS
# The report waits so long for the first messages, which show what is missing.
_PROOF_NS = SECOND_NS // 4


class Conversation(Protocol):
    """What this needs of the session, where each method is described."""

    subjects: ConnectResponse
    registration: int
    requests: Requests
    ready: list[Feed]
    failed: list[tuple[Feed, ClientError]]
    is_stirred: bool

    @property
    def awaits_proof(self) -> bool: ...
    def new_inbox(self, kind: str) -> str: ...
    def request(self, subject: str, payload: bytes, now_ns: int, on_answer: OnAnswer, /) -> str: ...
    def move_feed(
        self, feed: Feed, inbox: str, now_ns: int, heard_ns: int
    ) -> SubscriptionRequest: ...
    def close_feed(self, feed: Feed) -> None: ...
    def abandon(self, feed: Feed) -> None: ...
    def announce(self, event: Event) -> None: ...
    def doubt(self, now_ns: int) -> None: ...
    def unknown(self, words: str, now_ns: int) -> None: ...


class _Return:
    """How far one feed has come."""

    def __init__(self, heard_ns: int) -> None:
        self.heard_ns = heard_ns
        self.since_ns = 0
        self.reply = ""
        self.is_asked = False
        self.due_ns: int | None = None


class Returning:
    """The feeds that are not back yet."""

    def __init__(self, session: Conversation, random: Callable[[], float]) -> None:
        self._session = session
        self._random = random
        self._feeds: dict[Feed, _Return] = {}
        self._report: Resumed | None = None
        self._report_ns = 0

    def add(self, feeds: list[Feed], heard_ns: int) -> None:
        """The server has forgotten these; it was last heard then."""
        for feed in feeds:
            # One that was on its way back already was last heard earlier.
            self._feeds.setdefault(feed, _Return(heard_ns))
            feed.ack_inbox = ""

    def remove(self, feed: Feed) -> None:
        """This one is not wanted any more."""
        back = self._feeds.pop(feed, None)
        if back is not None and back.reply:
            self._session.requests.forget(back.reply)

    def clear(self) -> None:
        """The end."""
        self._feeds.clear()
        self._report = None

    def pause(self) -> None:
        """The server is gone: wait for `go_on`."""
        for back in self._feeds.values():
            self._session.requests.forget(back.reply)
            back.reply, back.due_ns = "", None

    def go_on(self, now_ns: int) -> None:
        """The server is there: ask for all of them, in the order in which they were made."""
        for feed, back in list(self._feeds.items()):
            back.since_ns = now_ns
            if back.is_asked:  # and perhaps accepted
                self._session.abandon(feed)
            self._ask(feed, back, now_ns)

    def report(self, resumed: Resumed, now_ns: int) -> None:
        """Tell this once all are back."""
        self._report = resumed
        self._report_ns = now_ns + _PROOF_NS
        self.tell(now_ns)

    def take_gap(self, feed: Feed, now_ns: int) -> None:
        """A feed found that messages are missing."""
        gap = feed.gap
        assert gap is not None
        if self._report is not None:
            self._report.gaps.setdefault(gap.channel, []).append(gap)
        self._session.announce(gap)
        if gap.begun_anew:
            self._session.abandon(feed)
            back = self._feeds[feed] = _Return(now_ns)
            back.since_ns = now_ns
            self._ask(feed, back, now_ns)
        feed.gap = None
        self.tell(now_ns)

    @property
    def is_reporting(self) -> bool:
        """Whether there is a report that was not told yet."""
        return self._report is not None

    def _ask(self, feed: Feed, back: _Return, now_ns: int) -> None:
        session = self._session
        back.due_ns, back.is_asked = None, True
        request = session.move_feed(feed, session.new_inbox("feed"), now_ns, back.heard_ns)
        back.reply = session.request(
            session.subjects.subRequests,
            request.SerializeToString(),
            now_ns,
            partial(self._take, feed, back),
        )

    def _take(self, feed: Feed, back: _Return, answer: Answer, now_ns: int) -> None:
        """The answer to a subscription request."""
        back.reply = ""
        session = self._session
        if self._feeds.get(feed) is not back:
            return
        if isinstance(answer, Unanswered):
            if answer is Unanswered.NOBODY:
                session.doubt(now_ns)
            elif answer is Unanswered.LATE:
                session.abandon(feed)
                self._ask(feed, back, now_ns)
            return
        try:
            ack_inbox = read_subscribed(answer)
        except ClientError as error:
            self._refused(feed, back, error, now_ns)
            return
        del self._feeds[feed]
        feed.open(ack_inbox, session.registration)
        if feed.gap is not None:
            self.take_gap(feed, now_ns)
        if feed.messages:
            session.ready.append(feed)
        self.tell(now_ns)

    def _refused(self, feed: Feed, back: _Return, error: ClientError, now_ns: int) -> None:
        session = self._session
        if str(error) == UNKNOWN_CLIENT_ID:
            session.unknown(str(error), now_ns)
        elif now_ns - back.since_ns < _PATIENCE_NS:
            back.due_ns = now_ns + wait_ns(now_ns - back.since_ns, self._random)
            session.is_stirred = True
        else:
            session.close_feed(feed)
            session.failed.append((feed, error))
            session.is_stirred = True
            self.tell(now_ns)

    def tell(self, now_ns: int) -> None:
        """Give the report, when all are back and know what they missed, or that takes long."""
        if self._report is None or self._feeds:
            return
        if now_ns < self._report_ns and self._session.awaits_proof:
            self._session.is_stirred = True
            return
        self._session.announce(self._report)
        self._report = None

    @property
    def next_deadline_ns(self) -> int | None:
        """When `tick` has something to do."""
        dues = [back.due_ns for back in self._feeds.values() if back.due_ns is not None]
        if self._report is not None and not self._feeds:
            dues.append(self._report_ns)
        return min(dues, default=None)

    def tick(self, now_ns: int) -> None:
        """Ask again for what was refused, and tell what there is to tell."""
        for feed, back in list(self._feeds.items()):
            if back.due_ns is not None and back.due_ns <= now_ns:
                self._ask(feed, back, now_ns)
        self.tell(now_ns)
