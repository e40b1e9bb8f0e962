"""A process that owns a store: `idling.py <driver> <source> <lease_s>`.

It commits one batch, says so, and then one more for each line it reads. Says "lost" and
ends when another server took the store over.
"""

import asyncio
import sys

from stan.engine.records import Batch, ChannelRecord
from stan.errors import LeaseLostError
from stan.store.open import open_store
from stan.store.settings import StoreSettings


async def main(driver: str, source: str, lease_s: float) -> None:
    settings = StoreSettings(sql_driver=driver, sql_source=source, lease_s=lease_s)
    store = open_store("SQL", settings)
    await store.open()
    number = (await store.recover()).batch_number
    loop = asyncio.get_running_loop()
    try:
        while True:
            number += 1
            channel = ChannelRecord(1000 + number, "idling")
            await store.commit(Batch(number, channels_created=[channel]))
            print("committed", number, flush=True)
            if not await loop.run_in_executor(None, sys.stdin.readline):
                break
    except LeaseLostError as error:
        print("lost", error, flush=True)
    await store.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], float(sys.argv[3])))
