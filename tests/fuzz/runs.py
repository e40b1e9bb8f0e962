"""Running the mutation fuzzer: so many inputs from one seed, with checks in between.

An input that breaks something is reported with its number and shown whole. Memory is
measured in blocks the interpreter has allocated, after the state has reached its size.
"""

import gc
import sys
from dataclasses import dataclass
from random import Random

from stan.engine import invariants
from tests.fuzz.inputs import Inputs
from tests.fuzz.target import Target

FURNISH_EVERY = 100
CHECK_EVERY = 50
# The state is bounded, not constant: clients come and go, blocks fill and empty.
GROWTH_ALLOWED_BLOCKS = 20_000


@dataclass(slots=True)
class Report:
    inputs: int = 0
    refused: int = 0
    accepted: int = 0
    blocks_grown: int = 0


def allocated_blocks() -> int:
    gc.collect()
    return sys.getallocatedblocks()


def run(seed: int, count: int) -> Report:
    """Feed so many inputs. Raises whatever one of them broke, with the input as a note."""
    inputs = Inputs(Random(seed))
    target = Target()
    settled = 0
    for number in range(count):
        if number % FURNISH_EVERY == 0:
            inputs.ack_inboxes = target.furnish()
        if number == count // 2:
            settled = allocated_blocks()
        try:
            if number % 10 == 9:
                item: object = inputs.chunk()
                target.feed_chunk(item)  # type: ignore[arg-type]
            else:
                item = inputs.frame()
                target.feed(item)
            if number % CHECK_EVERY == 0:
                invariants.check(target.engine)
        except Exception as error:
            error.add_note(f"seed {seed}, input {number}: {str(item)[:2000]}")
            raise
    grown = allocated_blocks() - settled
    assert grown < GROWTH_ALLOWED_BLOCKS, f"{grown} blocks more than half way"
    return Report(count, target.refused, target.accepted, grown)
