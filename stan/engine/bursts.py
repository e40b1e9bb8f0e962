"""A burst: publishes that differ only in guid and payload, on their way into a batch.

One publisher, one channel, one ack subject. Whatever is the same for all of them is held
once. Data only; `publishing` fills bursts, batches carry them, `guids` asks what became of
them.
"""

from stan.engine.records import Key
from stan.engine.state import Channel


class Burst:
    def __init__(self, channel: Channel, ack_subject: bytes, guid_size: int) -> None:
        self.channel: Channel = channel
        self.ack_subject: bytes = ack_subject
        self.guid_size: int = guid_size  # in bytes; 0: of different lengths, or too long
        self.publisher: str = ""  # the client's ID when its guids are to be recorded
        self.guids: list[bytes] = []
        self.payloads: list[bytes] = []
        self.replies: list[str] = []  # empty while no message has one
        self.payload_bytes: int = 0
        self.queued_bytes: int = 0  # of the requests as they came
        self.message_ids: list[bytes] = []  # that applications gave, to be recorded
        self.keys: list[Key] = []  # of marked publishes in it, while it is on its way
