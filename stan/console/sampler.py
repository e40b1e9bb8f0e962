"""The one sampler: asks the operations once for whatever is looked at, however many look.

A topic is one question. Everyone who looks at it is sent the same bytes. Nobody looks: nothing
is asked. Invariants: a topic is asked at most once an interval; what a viewer did not take
before the next sample is gone, so that slow viewers cost no memory; no more than
`MOST_TOPICS` are asked, or remembered.
"""

import asyncio
import contextlib
import json
import logging
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from stan.console.topics import Question, Sample
from stan.errors import AdminError
from stan.server.monitor.pages import Run

log = logging.getLogger("stan.server")

INTERVAL_S = 1.0
HISTORY = 600
MOST_TOPICS = 64
MOST_VIEWERS = 512
WHO = "console"


class TooManyViewers(Exception):
    """No more can look."""


@dataclass(slots=True)
class Topic:
    """A question, who waits for its answers, and the latest of them."""

    question: Question
    viewers: int = 0
    due_s: float = 0.0
    besides: dict[str, Any] = field(default_factory=dict)
    besides_due_s: float = 0.0
    answer: dict[str, Any] | None = None
    answered_s: float = 0.0
    event: bytes = b""
    history: deque[tuple[float, dict[str, float]]] = field(
        default_factory=lambda: deque(maxlen=HISTORY)
    )
    changed: asyncio.Event = field(default_factory=asyncio.Event)


class Sampler:
    """All topics. `watch` is all that a viewer needs."""

    def __init__(
        self,
        run: Run,
        interval_s: float = INTERVAL_S,
        clock_s: Callable[[], float] = time.time,
    ) -> None:
        self._run = run
        self._interval_s = interval_s
        self._clock_s = clock_s
        self._topics: dict[str, Topic] = {}
        self._task: asyncio.Task[None] | None = None
        self._is_closed = False
        self._woken = asyncio.Event()

    @property
    def viewers(self) -> int:
        """How many look, at whatever."""
        return sum(topic.viewers for topic in self._topics.values())

    @property
    def is_sampling(self) -> bool:
        """Whether anything is asked at all."""
        return self._task is not None

    def history(self, key: str) -> list[tuple[float, dict[str, float]]]:
        """What is remembered of a topic."""
        topic = self._topics.get(key)
        return list(topic.history) if topic is not None else []

    async def watch(self, question: Question) -> AsyncGenerator[bytes, None]:
        """Events, ready to be sent: what is remembered, then each sample. Raises
        TooManyViewers."""
        topic = self._open(question)
        topic.viewers += 1
        self._woken.set()
        if self._task is None:
            self._task = asyncio.ensure_future(self._sample())
        try:
            yield write_event("history", describe_history(topic))
            seen = b""
            while not self._is_closed:
                if topic.event is seen or not topic.event:
                    await topic.changed.wait()
                    continue
                seen = topic.event
                yield seen
        finally:
            topic.viewers -= 1
            if not topic.viewers:
                topic.event = b""  # old, when somebody looks again

    async def close(self) -> None:
        """End all watching."""
        self._is_closed = True
        self._woken.set()
        if self._task is not None:
            await self._task
        for topic in self._topics.values():
            topic.event = b""
            topic.changed.set()

    def _open(self, question: Question) -> Topic:
        if self._is_closed or self.viewers >= MOST_VIEWERS:
            raise TooManyViewers
        topic = self._topics.pop(question.key, None)
        if topic is None:
            idle = [key for key, one in self._topics.items() if not one.viewers]
            if len(self._topics) >= MOST_TOPICS:
                if not idle:
                    raise TooManyViewers
                del self._topics[idle[0]]
            topic = Topic(question)
        self._topics[question.key] = topic  # the one that was opened last comes last
        return topic

    async def _sample(self) -> None:
        """Until nobody looks. An operation under way is never cut off."""
        while self.viewers and not self._is_closed:
            began_s = time.monotonic()
            self._woken.clear()
            for topic in list(self._topics.values()):
                if topic.viewers and topic.due_s <= began_s:
                    topic.due_s = began_s + self._interval_s * topic.question.every
                    await self._ask(topic)
            took_s = time.monotonic() - began_s
            if took_s > self._interval_s / 2:  # however slow the answers, others have their time
                await asyncio.sleep(took_s)
            due = [one.due_s for one in self._topics.values() if one.viewers]
            rest_s = min(due, default=0.0) - time.monotonic()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._woken.wait(), max(rest_s, 0.0))
        self._task = None

    async def _ask(self, topic: Topic) -> None:
        question, now_s = topic.question, self._clock_s()
        try:
            answer = await self._run(question.endpoint, question.request, WHO)
            answer = {**answer, **await self._ask_besides(topic)}
            elapsed_s = now_s - topic.answered_s if topic.answer is not None else 0.0
            # Over a pause a rate would be an average that nobody asked for.
            is_near = elapsed_s <= 3 * self._interval_s * question.every
            sample = question.measure(answer, topic.answer if is_near else None, elapsed_s)
        except AdminError as error:
            topic.answer = None
            self._tell(topic, write_event("trouble", {"code": error.code, "text": str(error)}))
            return
        except Exception as error:  # a defect of ours must not end everybody's samples
            log.error("The console cannot sample %s: %s", question.endpoint, error, exc_info=error)
            return
        topic.answer, topic.answered_s = answer, now_s
        topic.history.append((now_s, sample.series))
        self._tell(topic, write_event("sample", describe_sample(now_s, sample)))

    async def _ask_besides(self, topic: Topic) -> dict[str, Any]:
        """What belongs to the answer and is asked less often."""
        besides, now_s = topic.question.besides, time.monotonic()
        if besides is not None and topic.besides_due_s <= now_s:
            topic.besides_due_s = now_s + self._interval_s * besides.every
            answer = await self._run(besides.endpoint, besides.request, WHO)
            topic.besides = {besides.name: answer}
        return topic.besides

    def _tell(self, topic: Topic, event: bytes) -> None:
        topic.event = event
        changed, topic.changed = topic.changed, asyncio.Event()
        changed.set()


def describe_sample(now_s: float, sample: Sample) -> dict[str, Any]:
    """A sample as the pages' script takes it."""
    return {
        "t": round(now_s, 3),
        "series": sample.series,
        "values": sample.values,
        "version": sample.version,
    }


def describe_history(topic: Topic) -> dict[str, Any]:
    """The remembered series, a list each."""
    names = sorted({name for _, series in topic.history for name in series})
    return {
        "t": [round(at_s, 3) for at_s, _ in topic.history],
        "series": {name: [one.get(name) for _, one in topic.history] for name in names},
    }


def write_event(name: str, document: Mapping[str, Any]) -> bytes:
    """A server-sent event."""
    text = json.dumps(document, separators=(",", ":"), ensure_ascii=True)
    return f"event: {name}\ndata: {text}\n\n".encode()
