"""The composition root: one server, from its configuration to its exit code.

Starts the parts in order, waits for a signal or a failure, and stops them in the reverse
order: intake, commit, answers, connection, store, and the child NATS server last. Only
here are clocks, random identifiers and signals handed to the rest. Every failure that a
user can cause ends in one line of the log.
"""

import asyncio
import contextlib
import gc
import logging
import os
import re
import secrets
import shutil
import signal
import string
import sys
from collections.abc import Callable, Coroutine
from time import time_ns
from typing import TYPE_CHECKING, Any

from stan.engine.engine import Engine
from stan.engine.records import Recovered, ServerRecord
from stan.engine.settings import Settings
from stan.errors import (
    AnotherServerError,
    ClusterIDMismatchError,
    ConfigError,
    NatsServerError,
    StanError,
    StoreRefusedError,
)
from stan.server import banner, supervisor
from stan.server.child.configuration import write_nats_configuration
from stan.server.child.nats_server import EmbeddedNats, find_nats_server
from stan.server.config.access import connection_options, hide_passwords
from stan.server.config.config import Config
from stan.server.config.reloading import Reloading, blame, read_again
from stan.server.log import Log
from stan.server.memory import keep_freed_memory
from stan.server.monitor.identity import Identity
from stan.server.monitor.listeners import Listener, find_listener
from stan.server.monitor.monitor import Monitor
from stan.server.pump import Pump
from stan.server.spill import Spill
from stan.server.transport import Transport
from stan.store.contract import Store
from stan.store.open import open_store
from stan.wire.subjects import ServerSubjects

if TYPE_CHECKING:
    from stan.store.encryption import Encryption

log = logging.getLogger("stan.server")

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_TERMINATED = 128 + signal.SIGTERM

_ALPHANUMERIC = string.digits + string.ascii_letters
_ID_LENGTH = 22
# What NATS says; of what is published only the part of the subject that clients do not choose.
_VIOLATION = re.compile(
    r'permissions violation for (subscription to .*|publish to "(_stan\.)?[^."]*)', re.IGNORECASE
)
_MOST_VIOLATIONS = 20


def new_id() -> str:
    """22 random letters and digits, as NATS identifiers look."""
    return "".join(secrets.choice(_ALPHANUMERIC) for _ in range(_ID_LENGTH))


class Server:
    """One streaming server. `run` is its whole life; an instance serves once. `read_config`
    reads the configuration again, when a reload is asked for."""

    def __init__(self, config: Config, log_sink: Log, read_config: Callable[[], Config]) -> None:
        self.config = config
        self.server_id = new_id()
        self.transport = Transport(f"stan-server-{config.cluster_id}")
        self.store: Store | None = None
        self.nats: EmbeddedNats | None = None
        self.pump: Pump | None = None
        self.monitor: Monitor | None = None
        self._encryption: Encryption | None = None
        self._start_ns = time_ns()
        self._log_sink = log_sink
        self._read_config = read_config
        self._ready = False
        self._connecting = False
        self._violations: set[str] = set()
        self._ending: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._watchers: set[asyncio.Task[None]] = set()

    async def run(self) -> int:
        """Serve until a signal or a failure. Returns the process's exit code."""
        self._take_signals()
        starting = asyncio.ensure_future(self._start())
        self._ending.add_done_callback(lambda _: starting.cancel())
        try:
            with contextlib.suppress(asyncio.CancelledError):
                await starting
            code = await self._ending
            log.info("Shutting down.")
        except StanError as error:
            log.critical("Failed to start: %s", error)
            code = EXIT_FAILED
            self.end(code)
        await self._stop()
        return code

    def end(self, code: int) -> None:
        """Ask the server to stop and exit with this code. Only the first call counts."""
        if not self._ending.done():
            self._ending.set_result(code)

    # Starting.

    async def _start(self) -> None:
        config = self.config
        _say(banner.describe_start(config.cluster_id, self.server_id))
        for warning in config.warnings:
            log.warning("%s", warning)
        config.check()
        listener = find_listener(config)
        subjects = ServerSubjects(config.cluster_id, config.discover_prefix)
        await self._connect(subjects)
        log.info("Recovering the state...")
        store, server, recovered = await self._recover()
        log.info("%s", banner.describe_recovery(len(recovered.channels)))
        _say(banner.describe_store(store.kind, store.location, config.limits))
        await self._serve(store, server, recovered, subjects)
        if listener is not None:
            await self._monitor(listener, store)
        _write_pid_file(config.pid_file)
        log.info("Streaming Server is ready")
        self._ready = True
        supervisor.notify(supervisor.READY)
        if config.welcome or sys.stderr.isatty():
            url = self.nats.url if self.nats is not None else hide_passwords(config.nats_servers[0])
            _say(banner.describe_next_steps(config.cluster_id, url, _command_directory()))

    async def _connect(self, subjects: ServerSubjects) -> None:
        config = self.config
        options = connection_options(config)
        if config.tls_skip_verify:
            log.warning(
                "TLS certificate chain and hostname will not be verified. DO NOT USE IN PRODUCTION!"
            )
        servers = config.nats_servers
        if config.is_embedded:
            self.nats = EmbeddedNats(find_nats_server(), write_nats_configuration(config))
            await self.nats.start()
            self._watch(self._watch_nats(self.nats))
            servers = [self.nats.url]
        transport = self.transport
        transport.on_error = self._nats_complains
        transport.on_down = self._down
        transport.on_lost = self._lost
        self._connecting = True
        await transport.connect(servers, **options)
        if not config.is_embedded:
            log.info("Connected to %s", ", ".join(map(hide_passwords, servers)))
        if await transport.probe(subjects, config.cluster_id):
            raise AnotherServerError(
                f'discovered another streaming server with cluster ID "{config.cluster_id}"'
            )

    async def _recover(self) -> tuple[Store, ServerRecord, Recovered]:
        config = self.config
        if config.store != "MEMORY" and (encryption := config.open_encryption()) is not None:
            self._encryption = encryption
            log.info("Payloads are encrypted at rest (%s)", encryption.cipher)
        store = open_store(
            config.store,
            sql_driver=config.sql_driver,
            sql_source=config.sql_source,
            durability=config.sql_durability,
            migrate=config.sql_migrate,
            encryption=self._encryption,
            deliver_encrypted=config.delivers_encrypted,
        )
        self.store = store
        await store.open()
        recovered = await store.recover()
        server = recovered.server
        if server is None:
            if recovered.channels:
                raise StoreRefusedError(
                    f"an import into {store.location} did not end: run `stan-server import` again"
                )
            server = ServerRecord(config.cluster_id, f"_INBOX.{new_id()}")
            await store.initialize(server)
        elif server.cluster_id != config.cluster_id:
            raise ClusterIDMismatchError(
                f'cluster ID "{config.cluster_id}" does not match recovered value of'
                f' "{server.cluster_id}"'
            )
        return store, server, recovered

    async def _serve(
        self, store: Store, server: ServerRecord, recovered: Recovered, subjects: ServerSubjects
    ) -> None:
        engine = Engine(self._settings(store.persistent), recovered, server, new_id, time_ns())
        self.pump = Pump(
            engine,
            store,
            self.transport,
            intake_bytes=self.config.intake_bytes,
            spill=Spill(self.config.intake_dir, self.config.spill_bytes),
        )
        await self.transport.listen(subjects, server.inbox_prefix, self.pump.receive)
        self._watch(self._watch_pump(self.pump))
        _relieve_collector()
        keep_freed_memory()
        self.pump.start()

    async def _monitor(self, listener: Listener, store: Store) -> None:
        assert self.pump is not None
        identity = Identity(
            self.config.cluster_id, self.server_id, banner.server_version(), self._start_ns
        )
        transport = self.transport
        self.monitor = Monitor(
            identity, self.pump.engine, self.pump, store, lambda: transport.is_connected
        )
        await self.monitor.start(listener.host, listener.port, listener.tls)
        log.info("Starting %s monitor on %s:%d", listener.scheme, listener.host, self.monitor.port)

    def _settings(self, persistent: bool) -> Settings:
        config = self.config
        return Settings(
            cluster_id=config.cluster_id,
            discover_prefix=config.discover_prefix,
            limits=config.limits,
            heartbeat_interval_ns=config.heartbeat_interval_ns,
            heartbeat_timeout_ns=config.heartbeat_timeout_ns,
            heartbeat_fail_count=config.heartbeat_fail_count,
            replace_durable=config.replace_durable,
            persistent=persistent,
            max_payload_bytes=self.transport.max_payload_bytes,
            payload_overhead_bytes=self._encryption.overhead_bytes if self._encryption else 0,
            cache_bytes=config.cache_bytes,
            test_timers=config.test_timers,
        )

    # Watching.

    def _watch(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._watchers.add(task)
        task.add_done_callback(self._watchers.discard)

    async def _watch_nats(self, nats: EmbeddedNats) -> None:
        code = await nats.ended()
        if not self._ending.done():
            log.critical("The NATS server ended unexpectedly (exit code %d)", code)
            self.end(EXIT_FAILED)

    async def _watch_pump(self, pump: Pump) -> None:
        try:
            await pump.failed()
        except StanError as error:
            log.critical("%s", error)
            self.end(EXIT_FAILED)
        except Exception as error:  # a defect of ours: the trace is wanted
            log.critical("Unexpected failure: %s", error, exc_info=error)
            self.end(EXIT_FAILED)

    def _nats_complains(self, text: str) -> None:
        """A permission that is missing leaves the server deaf or dumb, and is never only a
        detail. It is said once for each kind of subject, not for every message."""
        violation = _VIOLATION.search(text)
        is_news = violation is not None and violation[0] not in self._violations
        if violation is not None and is_news and len(self._violations) < _MOST_VIOLATIONS:
            self._violations.add(violation[0])
            log.error("NATS: %s", text)
        else:
            log.debug("NATS: %s", text)

    def _down(self) -> None:
        if not self._ending.done():
            log.warning("NATS connection lost, reconnecting")

    def _lost(self, reason: str) -> None:
        if not self._ending.done():
            log.critical("The NATS connection is lost for good: %s", reason)
            self.end(EXIT_FAILED)

    # Signals.

    def _take_signals(self) -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGINT, self.end, EXIT_OK)
        loop.add_signal_handler(signal.SIGTERM, self.end, EXIT_TERMINATED)
        loop.add_signal_handler(signal.SIGUSR1, self._log_sink.reopen)
        loop.add_signal_handler(signal.SIGHUP, self._reload)

    def _reload(self) -> None:
        """Read the configuration again and adopt what can be. All of it or nothing."""
        if self.nats is None and not self.config.stan_config:
            log.warning("Reload supported only for embedded NATS Server's configuration")
            return
        if self._ready:
            supervisor.notify(supervisor.reloading())
        try:
            self._adopt(read_again(self._read_config))
        except ConfigError as error:
            log.error("Reload failed, nothing was changed: %s", error)
        if self._ready:
            supervisor.notify(supervisor.READY)

    def _adopt(self, config: Config) -> None:
        nats = write_nats_configuration(self.config) if self.nats is not None else ""
        reloading = Reloading(self.config, config)
        try:
            self._log_sink.change(reloading.effective)  # the last step that may fail
        except ConfigError as error:
            raise blame(error, config) from None
        self.config = reloading.effective
        if reloading.changes_limits and self.pump is not None:
            self.pump.change_limits(self.config.limits)
        for level, line in reloading.describe():
            log.log(level, "%s", line)
        if self.nats is not None:
            self.nats.reload(nats)  # it logs by itself what it thinks of it

    # Stopping.

    async def _stop(self) -> None:
        supervisor.notify(supervisor.STOPPING)
        for watcher in list(self._watchers):
            watcher.cancel()
        await asyncio.gather(*self._watchers, return_exceptions=True)
        if self.monitor is not None:
            await self._finish("stop the monitoring", self.monitor.stop())
        if self.pump is not None:
            await self._finish("stop", self.pump.stop())
        if self._connecting:
            await self._finish("close the NATS connection", self.transport.close())
        if self.store is not None:
            await self._finish("close the store", self.store.close())
        if self.nats is not None:
            await self._finish("stop the NATS server", self.nats.stop())
        if self.config.pid_file:
            with contextlib.suppress(OSError):
                os.unlink(self.config.pid_file)

    async def _finish(self, what: str, step: Coroutine[Any, Any, None]) -> None:
        """A failing step must not keep the later ones from being taken."""
        try:
            await step
        except Exception as error:
            log.error("Could not %s: %s", what, error)


def _relieve_collector() -> None:
    """Keep the garbage collector off the hot path.

    What exists by now stays for the process's life. A message leaves no cycles behind, so
    the collector, which starts after every 700 new objects by default, finds nothing there.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 50)


def _say(lines: list[str]) -> None:
    for line in lines:
        log.info("%s", line)


def _command_directory() -> str:
    """Where the other commands are, as this one was called; empty when they are on PATH."""
    if shutil.which("stan-pub") is not None:
        return ""
    return os.path.dirname(sys.argv[0]) if sys.argv[0].endswith(banner.PROGRAM) else ""


def _write_pid_file(path: str) -> None:
    if not path:
        return
    try:
        with open(path, "w", encoding="ascii") as file:
            file.write(f"{os.getpid()}\n")
    except OSError as error:
        raise NatsServerError(f"cannot write {path}: {error.strerror}") from None
