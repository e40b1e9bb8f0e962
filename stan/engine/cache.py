"""The messages held in memory for delivery: blocks, bounded by bytes over all channels.

Live delivery is served from blocks that commits append, backlog from blocks that loads
bring in. A block tells which sequences it covers, so a missing sequence inside it is known
to be missing. What is evicted is read again from the store; nothing else is lost.
"""

from bisect import bisect_left, bisect_right
from collections import OrderedDict

# A tail block grows up to this, so that single publishes do not make a block each.
_TAIL_BLOCK_MESSAGES = 512
_TAIL_BLOCK_BYTES = 64 * 1024


class Block:
    """Messages of one channel covering the sequences [first, next).

    `sequences` is None while none is missing. `bytes_held` counts the framed messages,
    `largest` is the biggest of them.
    """

    def __init__(
        self,
        shelf: "Shelf",
        first: int,
        next_sequence: int,
        sequences: list[int] | None,
        framed: list[bytes],
    ) -> None:
        self.shelf: Shelf = shelf
        self.first: int = first
        self.next: int = next_sequence
        self.sequences: list[int] | None = sequences
        self.framed: list[bytes] = framed
        self.bytes_held: int = sum(map(len, framed))
        self.largest: int = max(map(len, framed), default=0)


class Shelf:
    """The blocks of one channel, ascending and not overlapping."""

    def __init__(self) -> None:
        self.firsts: list[int] = []
        self.blocks: list[Block] = []

    def find(self, sequence: int) -> Block | None:
        """The block that covers this sequence."""
        index = bisect_right(self.firsts, sequence) - 1
        if index < 0:
            return None
        block = self.blocks[index]
        return block if sequence < block.next else None

    def message(self, sequence: int) -> bytes | None:
        """The framed message with this sequence, if a block holds it."""
        block = self.find(sequence)
        if block is None:
            return None
        if block.sequences is None:
            return block.framed[sequence - block.first]
        index = bisect_left(block.sequences, sequence)
        if index < len(block.sequences) and block.sequences[index] == sequence:
            return block.framed[index]
        return None


class Cache:
    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes: int = limit_bytes
        self.bytes_held: int = 0
        self._oldest_first: OrderedDict[Block, None] = OrderedDict()

    def append(self, shelf: Shelf, first: int, framed: list[bytes]) -> None:
        """Take what a commit stored at the end of a channel, without a gap."""
        if shelf.blocks:
            tail = shelf.blocks[-1]
            if (
                tail.next == first
                and tail.sequences is None
                and len(tail.framed) < _TAIL_BLOCK_MESSAGES
                and tail.bytes_held < _TAIL_BLOCK_BYTES
            ):
                if len(framed) == 1:
                    added = largest = len(framed[0])
                else:
                    added, largest = sum(map(len, framed)), max(map(len, framed))
                tail.framed.extend(framed)
                tail.next += len(framed)
                tail.bytes_held += added
                if largest > tail.largest:
                    tail.largest = largest
                self.bytes_held += added
                return
        # A copy: the list belongs to the batch, and the tail block grows.
        block = Block(shelf, first, first + len(framed), None, list(framed))
        self._keep(block, len(shelf.blocks))

    def insert(
        self,
        shelf: Shelf,
        first: int,
        next_sequence: int,
        sequences: list[int],
        framed: list[bytes],
    ) -> None:
        """Take what a load found: all there is in [first, next_sequence).

        What other blocks cover already is not taken twice.
        """
        index = bisect_right(shelf.firsts, first)
        if index > 0 and shelf.blocks[index - 1].next > first:
            first = shelf.blocks[index - 1].next
        if index < len(shelf.blocks) and shelf.firsts[index] < next_sequence:
            next_sequence = shelf.firsts[index]
        if first >= next_sequence:
            return
        begin = bisect_left(sequences, first)
        end = bisect_left(sequences, next_sequence)
        if begin or end < len(sequences):
            sequences, framed = sequences[begin:end], framed[begin:end]
        dense = len(sequences) == next_sequence - first
        self._keep(Block(shelf, first, next_sequence, None if dense else sequences, framed), index)

    def remove(self, shelf: Shelf, sequence: int) -> None:
        """This message is not there any more."""
        block = shelf.find(sequence)
        if block is None:
            return
        if block.sequences is None:
            block.sequences = list(range(block.first, block.next))
        index = bisect_left(block.sequences, sequence)
        if index < len(block.sequences) and block.sequences[index] == sequence:
            # Not in place: a load's answer is the store's.
            size = len(block.framed[index])
            block.sequences = block.sequences[:index] + block.sequences[index + 1 :]
            block.framed = block.framed[:index] + block.framed[index + 1 :]
            block.bytes_held -= size
            self.bytes_held -= size

    def evict(self) -> None:
        """Drop the oldest blocks until the limit holds."""
        while self.bytes_held > self.limit_bytes and self._oldest_first:
            block, _ = self._oldest_first.popitem(last=False)
            self._remove(block)

    def drop(self, shelf: Shelf) -> None:
        """Forget a channel."""
        for block in shelf.blocks:
            self.bytes_held -= block.bytes_held
            del self._oldest_first[block]
        shelf.blocks = []
        shelf.firsts = []

    def block_count(self) -> int:
        return len(self._oldest_first)

    def _keep(self, block: Block, index: int) -> None:
        block.shelf.blocks.insert(index, block)
        block.shelf.firsts.insert(index, block.first)
        self._oldest_first[block] = None
        self.bytes_held += block.bytes_held

    def _remove(self, block: Block) -> None:
        shelf = block.shelf
        index = bisect_left(shelf.firsts, block.first)
        if index < len(shelf.blocks) and shelf.blocks[index] is block:
            del shelf.blocks[index]
            del shelf.firsts[index]
            self.bytes_held -= block.bytes_held
