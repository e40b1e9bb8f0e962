"""A process that commits batches until it is killed: `crashing.py <driver> <source>`.

It prints the number of each batch after its commit returned, and nothing else.
"""

import asyncio
import sys

from stan.engine.records import Batch, ChannelRecord, Run, Trim
from stan.store.open import open_store
from stan.store.settings import StoreSettings
from stan.wire.messages import encode_message, frame_message, string_field


async def main(driver: str, source: str) -> None:
    store = open_store("SQL", StoreSettings(sql_driver=driver, sql_source=source))
    await store.open()
    recovered = await store.recover()
    number = recovered.batch_number
    if not recovered.channels:
        number += 1
        await store.commit(Batch(number, channels_created=[ChannelRecord(1, "foo")]))
        recovered = await store.recover()
    bounds = recovered.channels[0][1]
    sequence, position = bounds.last_sequence, bounds.end_position
    while True:
        number += 1
        payload = b"batch %d" % number
        timestamp_ns = 1_000_000 + number
        field = string_field(0x12, b"foo")
        messages = [
            encode_message(sequence + at, field, "", payload, timestamp_ns) for at in (1, 2, 3)
        ]
        sizes = [len(message) for message in messages]
        run = Run(
            1,
            "foo",
            sequence + 1,
            timestamp_ns,
            position,
            [frame_message(message) for message in messages],
            sizes,
            [payload] * 3,
            [],
        )
        trims = [Trim(1, min_sequence=sequence - 3000)] if number % 7 == 0 else []
        await store.commit(Batch(number, runs=[run], trims=trims))
        sequence += 3
        position += sum(sizes)
        print(number, flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2]))
