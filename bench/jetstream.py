"""A NATS server with JetStream, started fresh with one stream for the benchmark.

The program is the one that our own server starts. Invariant: as `peers.Running`, it is a
context manager that leaves nothing behind.
"""

import asyncio
import shutil
import tempfile
from pathlib import Path

import nats
from nats.js.api import StorageType, StreamConfig

from bench.client_load import CHANNEL, STREAM
from tests.tools.processes import NatsServer


class RunningJetStream:
    """The server, with a stream in memory or in files.

    `syncs` has it write through to the disk before it acks; otherwise it does so every two
    minutes, which is its default.
    """

    database_pid = 0

    def __init__(self, in_memory: bool, syncs: bool) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="stan-bench-js-"))
        sync = "sync_interval: always" if syncs else ""
        config = self._folder / "nats.conf"
        config.write_text(
            f'jetstream {{ store_dir: "{self._folder}/store"\n max_mem: 8GB\n {sync}\n }}\n'
        )
        self._nats = NatsServer()
        self.url = self._nats.url
        try:
            self._nats.start("-c", str(config))
            self.process = self._nats.process
            asyncio.run(self._create(StorageType.MEMORY if in_memory else StorageType.FILE))
        except BaseException:
            self.__exit__()
            raise

    async def _create(self, storage: StorageType) -> None:
        async with await nats.connect(self.url) as connection:
            config = StreamConfig(name=STREAM, subjects=[CHANNEL], storage=storage)
            await connection.jetstream().add_stream(config)

    def count(self) -> int:
        """How many messages the stream holds."""

        async def ask() -> int:
            async with await nats.connect(self.url) as connection:
                return int((await connection.jetstream().stream_info(STREAM)).state.messages)

        return asyncio.run(ask())

    def __enter__(self) -> "RunningJetStream":
        return self

    def __exit__(self, *_: object) -> None:
        self._nats.stop()
        shutil.rmtree(self._folder, ignore_errors=True)
