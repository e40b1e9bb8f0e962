"""A burst: publishes that differ only in guid and payload; and the run that it becomes.

One publisher, one channel, one ack subject. Whatever is the same for all of them is held
once. `publishing` fills bursts, `guids` asks what became of them. Invariant: a message is
encoded once, when its sequence and its timestamp are given.
"""

from stan.engine.records import Key, Run
from stan.engine.state import Channel
from stan.wire.frames import pub
from stan.wire.messages import (
    ack_head,
    encode_message,
    frame_message,
    frame_run,
    string_field,
    varint,
)

# A burst that has reached one of these is followed by another one, so that a batch can be
# shared between publishers, and bounded.
BURST_MESSAGES = 256
BURST_BYTES = 256 * 1024


class Burst:
    def __init__(
        self, channel: Channel, client_id: str, ack_subject: bytes, guid_size: int
    ) -> None:
        self.channel: Channel = channel
        self.client_id: str = client_id
        self.ack_subject: bytes = ack_subject
        self.guid_size: int = guid_size  # in bytes; 0: of different lengths, or too long
        self.publisher: str = ""  # the client's ID when its guids are to be recorded
        self.guids: list[bytes] = []
        self.payloads: list[bytes] = []
        self.replies: list[str] = []  # empty while no message has one
        self.payload_bytes: int = 0
        self.queued_bytes: int = 0  # of the requests as they came
        self.number: int = 0  # in the order of arrival
        self.message_ids: list[bytes] = []  # that applications gave, to be recorded
        self.keys: list[Key] = []  # of marked publishes in it, while it is on its way
        # While it waits (engine.lanes): the next one of its publisher; and, in the first of
        # several, the last one.
        self.behind: Burst | None = None
        self.last: Burst | None = None

    def is_full(self) -> bool:
        return len(self.guids) >= BURST_MESSAGES or self.queued_bytes >= BURST_BYTES


def begin_run(channel: Channel, now_ns: int) -> Run:
    """An empty run at the end of a channel. Its timestamp never goes back."""
    return Run(
        channel_id=channel.channel_id,
        channel=channel.name,
        first_sequence=channel.last + 1,
        timestamp_ns=max(now_ns, channel.last_timestamp_ns),
        position=channel.end_position,
        framed=[],
        sizes=[],
        payloads=[],
        replies=[],
    )


def extend_run(run: Run, burst: Burst, overhead_bytes: int = 0) -> None:
    """Encode a burst's messages behind those the run has. The store adds `overhead_bytes`
    to each payload that is not empty."""
    field = burst.channel.field
    sequence = run.first_sequence + len(run.framed)
    had = len(run.framed)
    framed, sizes = run.framed, run.sizes
    if burst.replies or run.replies:
        run.replies.extend([""] * (had - len(run.replies)))
        run.replies.extend(burst.replies)
        run.replies.extend([""] * (had + len(burst.guids) - len(run.replies)))
    if burst.replies:
        replies = burst.replies + [""] * (len(burst.guids) - len(burst.replies))
        for reply, data in zip(replies, burst.payloads, strict=True):
            message = encode_message(sequence, field, reply, data, run.timestamp_ns)
            framed.append(frame_message(message))
            sizes.append(len(message) + payload_growth(len(data), overhead_bytes))
            sequence += 1
    else:
        more, more_sizes = frame_run(sequence, field, burst.payloads, run.timestamp_ns)
        framed.extend(more)
        if overhead_bytes:
            for n, data in enumerate(burst.payloads):
                more_sizes[n] += payload_growth(len(data), overhead_bytes)
        sizes.extend(more_sizes)
    run.payloads.extend(burst.payloads)


def payload_growth(payload_size: int, overhead_bytes: int) -> int:
    """By how much a message grows when the store adds this to its payload."""
    if not payload_size or not overhead_bytes:
        return 0
    stored_size = payload_size + overhead_bytes
    return overhead_bytes + len(varint(stored_size)) - len(varint(payload_size))


def build_runs(bursts: list[Burst], now_ns: int, overhead_bytes: int) -> dict[int, Run]:
    """The bursts' messages with their sequences, a run for each channel, by its ID."""
    runs: dict[int, Run] = {}
    for burst in bursts:
        channel = burst.channel
        run = runs.get(channel.channel_id)
        if run is None:
            run = runs[channel.channel_id] = begin_run(channel, now_ns)
            if not (burst.replies or overhead_bytes):  # what most are, and often all there is
                run.payloads = list(burst.payloads)
                run.framed, run.sizes = frame_run(
                    run.first_sequence, channel.field, run.payloads, run.timestamp_ns
                )
                continue
        extend_run(run, burst, overhead_bytes)
    return runs


def write_acks(bursts: list[Burst], operations: list[bytes]) -> None:
    """The acks of these bursts, in order; those of one burst are one join."""
    head = join = subject = b""
    guid_size = 0
    heads: dict[bytes, bytes] = {}  # of publishers in turns, whose guids are all of one size
    for burst in bursts:
        if not burst.ack_subject:
            continue
        if burst.guid_size:
            if burst.guid_size != guid_size or burst.ack_subject != subject:
                if burst.guid_size != guid_size:
                    guid_size = burst.guid_size
                    heads.clear()
                subject = burst.ack_subject
                found = heads.get(subject)
                if found is None:
                    found = heads[subject] = ack_head(subject, guid_size)
                head = found
                join = b"\r\n" + head
            operations.append(head + join.join(burst.guids) + b"\r\n")
        else:
            for guid in burst.guids:
                ack = string_field(0x0A, guid)
                operations.append(pub(burst.ack_subject, ack))
