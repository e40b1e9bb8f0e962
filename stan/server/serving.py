"""What serves while this server is the active one: the store, an engine, and its pump.

The parts that take long to load meet here and not in the composition root, so that the
NATS server is started before they are loaded. They are made on a transport that lives
longer than they do. Nothing here knows signals, the child or the monitoring.
"""

import gc
import logging
from collections.abc import Callable
from time import time_ns
from typing import TYPE_CHECKING

from stan.engine.engine import Engine
from stan.engine.limits import StoreLimits
from stan.engine.records import Recovered, ServerRecord
from stan.engine.replaying import Held
from stan.engine.settings import Settings
from stan.errors import ClusterIDMismatchError, StoreRefusedError
from stan.server import banner
from stan.server.config.config import Config
from stan.server.memory import keep_freed_memory
from stan.server.ownership import SLEEP_S
from stan.server.pump import Pump
from stan.server.spill import Spill
from stan.server.transport import Transport
from stan.store.contract import Store
from stan.store.open import open_store
from stan.store.settings import StoreSettings
from stan.units import SECOND_NS
from stan.wire.subjects import ServerSubjects

if TYPE_CHECKING:
    from stan.store.encryption import Encryption

log = logging.getLogger("stan.server")

# How long a server without a group keeps others out when it is frozen or killed.
LEASE_S = StoreSettings().lease_s


class Serving:
    """A store, and a pump over what it holds: `open`, `recover`, `start`, `stop`, `close`.

    After `stop` it can be recovered and started again. A member of a group of servers takes
    the store instead of opening it, and starts with what it held meanwhile.
    """

    def __init__(self, config: Config, transport: Transport, new_id: Callable[[], str]) -> None:
        """Raises ConfigError."""
        self._config = config
        self._transport = transport
        self._new_id = new_id
        self._limits = config.limits
        self._encryption: Encryption | None = None
        self._pump: Pump | None = None
        self._lease_s = config.ft_lease_ns / SECOND_NS if config.ft_group else LEASE_S
        if config.store != "MEMORY" and (encryption := config.open_encryption()) is not None:
            self._encryption = encryption
            log.info("Payloads are encrypted at rest (%s)", encryption.cipher)
        self.store: Store = open_store(
            config.store,
            StoreSettings(
                sql_driver=config.sql_driver,
                sql_source=config.sql_source,
                durability=config.sql_durability,
                migrate=config.sql_migrate,
                encryption=self._encryption,
                deliver_encrypted=config.delivers_encrypted,
                lease_s=self._lease_s,
                outbox=config.outbox,
            ),
        )

    @property
    def pump(self) -> Pump:
        """The pump that runs, between `start` and `stop`."""
        assert self._pump is not None
        return self._pump

    @property
    def is_running(self) -> bool:
        """Whether there is such a pump."""
        return self._pump is not None

    async def recover(self) -> tuple[ServerRecord, Recovered]:
        """What the store holds, and whose it is. Raises StoreError, ClusterIDMismatchError."""
        log.info("Recovering the state...")
        config, store = self._config, self.store
        recovered = await store.recover()
        server = recovered.server
        if server is None:
            if recovered.channels:
                raise StoreRefusedError(
                    f"an import into {store.location} did not end: run `stan-server import` again"
                )
            server = ServerRecord(config.cluster_id, f"_INBOX.{self._new_id()}")
            await store.initialize(server)
        else:
            self.require_ours(server)
        log.info("%s", banner.describe_recovery(len(recovered.channels)))
        for line in banner.describe_store(store.kind, store.location, self._limits):
            log.info("%s", line)
        return server, recovered

    def require_ours(self, server: ServerRecord) -> None:
        """Raise ClusterIDMismatchError when the store belongs to another cluster."""
        cluster_id = self._config.cluster_id
        if server.cluster_id != cluster_id:
            raise ClusterIDMismatchError(
                f'cluster ID "{cluster_id}" does not match recovered value of "{server.cluster_id}"'
            )

    async def start(
        self, server: ServerRecord, recovered: Recovered, subjects: ServerSubjects
    ) -> None:
        """Listen, and serve from what was recovered. Raises NatsServerError."""
        self._pump = pump = self._make_pump(server, recovered)
        await self._transport.listen(subjects, server.inbox_prefix, pump.receive)
        _relieve_collector()
        keep_freed_memory()
        pump.start()

    def start_with(
        self,
        server: ServerRecord,
        recovered: Recovered,
        take_held: Callable[[], Held],
        clock: Callable[[], int],
    ) -> None:
        """Serve from what was recovered and from what was held until this very moment, with
        times of this clock. The transport listens already."""
        self._pump = pump = self._make_pump(server, recovered, clock)
        _relieve_collector()
        keep_freed_memory()
        self._transport.hand_to(pump.receive)
        pump.start(take_held())

    def make_idle(self) -> Pump:
        """A pump over nothing, never to be started: for whoever looks at one that serves."""
        server = ServerRecord(self._config.cluster_id, "_INBOX.idle")
        return self._make_pump(server, Recovered())

    def _make_pump(
        self, server: ServerRecord, recovered: Recovered, clock: Callable[[], int] | None = None
    ) -> Pump:
        engine = Engine(self._settings(), recovered, server, self._new_id, (clock or time_ns)())
        sleep_s = min(SLEEP_S, self._lease_s * 2 / 3)
        return Pump(
            engine,
            self.store,
            self._transport,
            clock,
            sleep_s=sleep_s,
            intake_bytes=self._config.intake_bytes,
            spill=Spill(self._config.intake_dir, self._config.spill_bytes),
        )

    def change_limits(self, limits: StoreLimits) -> None:
        """Live within other limits from now on, or from the start."""
        self._limits = limits
        if self._pump is not None:
            self._pump.change_limits(limits)

    async def stop(self) -> None:
        """Commit and answer what was asked; the store and the connection stay open."""
        pump, self._pump = self._pump, None
        if pump is not None:
            await pump.stop()

    async def abandon(self) -> None:
        """Another server serves: say nothing more."""
        pump, self._pump = self._pump, None
        if pump is not None:
            await pump.abandon()
        gc.unfreeze()  # what this one served from may go

    async def close(self) -> None:
        """Close the store. Safe whether or not it was opened."""
        await self.store.close()

    def _settings(self) -> Settings:
        config = self._config
        return Settings(
            cluster_id=config.cluster_id,
            discover_prefix=config.discover_prefix,
            limits=self._limits,
            served_channels=config.served_channels,
            heartbeat_interval_ns=config.heartbeat_interval_ns,
            heartbeat_timeout_ns=config.heartbeat_timeout_ns,
            heartbeat_fail_count=config.heartbeat_fail_count,
            replace_durable=config.replace_durable,
            persistent=self.store.persistent,
            max_payload_bytes=self._transport.max_payload_bytes,
            payload_overhead_bytes=self._encryption.overhead_bytes if self._encryption else 0,
            cache_bytes=config.cache_bytes,
            client_pending_bytes=config.client_pending_bytes,
            max_in_flight_limit=config.max_in_flight_limit,
            dedupe_window_ns=config.dedupe_window_ns,
            record_all_guids=bool(config.ft_group),
            outbox=config.outbox and self.store.persistent,
            test_timers=config.test_timers,
        )


def _relieve_collector() -> None:
    """Keep the garbage collector off the hot path.

    What exists by now stays for the process's life; looking through it for the little that
    does not would make the start longer. A message leaves no cycles behind, so the collector,
    which starts after every 700 new objects by default, finds nothing there.
    """
    gc.freeze()
    gc.set_threshold(100_000, 20, 50)
