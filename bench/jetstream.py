"""A NATS server with JetStream, started fresh with one stream for the benchmark.

The program is the one that our own server starts. Invariant: as `peers.Running`, it is a
context manager that leaves nothing behind.
"""

import asyncio
import shutil
import tempfile
from pathlib import Path
from types import TracebackType

import nats
from nats.js.api import StorageType, StreamConfig

from bench.client_load import CHANNEL, STREAM
from bench.processes import Service, free_port
from stan.server.child.nats_server import find_nats_server


class RunningJetStream:
    """The server, with a stream in memory or in files.

    `syncs` has it write through to the disk before it acks; otherwise it does so every two
    minutes, which is its default.
    """

    database_pid = 0

    def __init__(self, in_memory: bool, syncs: bool) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="stan-bench-js-"))
        port = free_port()
        self.url = f"nats://127.0.0.1:{port}"
        sync = "sync_interval: always" if syncs else ""
        config = self._folder / "nats.conf"
        config.write_text(
            f'listen: "127.0.0.1:{port}"\n'
            f'jetstream {{ store_dir: "{self._folder}/store"\n max_mem: 8GB\n {sync}\n }}\n'
        )
        try:
            self.service = Service([find_nats_server(), "-c", str(config)], "Server is ready")
            asyncio.run(self._create(StorageType.MEMORY if in_memory else StorageType.FILE))
        except BaseException:
            self.__exit__(None, None, None)
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

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if hasattr(self, "service"):
            self.service.stop()
        shutil.rmtree(self._folder, ignore_errors=True)
