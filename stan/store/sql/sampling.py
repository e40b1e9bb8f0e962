"""A look at what stands in the store before serving from it: does the key fit?

A few last messages tell whether they are encrypted, and with this key. Blocking functions
over a Session; nothing here writes. Invariant: the start costs the same however many
messages and channels there are.
"""

from typing import TYPE_CHECKING, NamedTuple

from stan.engine.records import Recovered
from stan.errors import StoreRefusedError
from stan.store.sql.dialect import Session

if TYPE_CHECKING:
    from stan.store.encryption import Encryption

_CHANNELS_SAMPLED = 8
_FIRST_BYTES = (b"\x01", b"\x02")  # the ciphers of stan.store.encryption
_LAST = (
    "SELECT sequence, data FROM stan_messages WHERE channel_id=? AND sequence<=? "
    "ORDER BY sequence DESC LIMIT 1"
)


class Sample(NamedTuple):
    """A stored message: its payload as the row has it."""

    channel: str
    sequence: int
    data: bytes


def take_samples(session: Session, recovered: Recovered) -> list[Sample]:
    """The last message of each of the channels that were written to last."""
    holding = [(channel, bounds) for channel, bounds in recovered.channels if bounds.kept]
    holding.sort(key=lambda pair: pair[1].last_timestamp_ns, reverse=True)
    samples = []
    for channel, bounds in holding[:_CHANNELS_SAMPLED]:
        row = session.fetch_one(_LAST, (channel.channel_id, bounds.last_sequence))
        if row is not None:
            samples.append(Sample(channel.name, row[0], bytes(row[1])))
    return samples


def require_plain(samples: list[Sample]) -> None:
    """Raises StoreRefusedError when one of them is encrypted: without the key subscribers
    would get, and acknowledge, what they cannot read."""
    suspects = [sample for sample in samples if sample.data[:1] in _FIRST_BYTES]
    if not suspects:
        return
    # Not at the top: a server without encryption does not load the cryptography package.
    from stan.store.encryption import looks_encrypted

    for channel, sequence, data in suspects:
        if looks_encrypted(data, sequence):
            raise StoreRefusedError(
                f'message {sequence} of channel "{channel}" is encrypted, and encryption is not'
                " turned on: give the key, or -encrypt=false to deliver messages as they are stored"
            )


def find_unreadable(samples: list[Sample], encryption: "Encryption") -> str:
    """What is wrong with the first one that cannot be decrypted; empty when all can."""
    for channel, sequence, data in samples:
        try:
            encryption.decrypt(channel, data, sequence)
        except StoreRefusedError as error:
            return str(error)
    return ""
