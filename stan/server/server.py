"""The composition root: one server, from its configuration to its exit code.

Starts the parts in order, waits for a signal or a failure, and stops them in the reverse
order: intake, commit, answers, connection, store, and the child NATS server last. Only
here are clocks, random identifiers and signals handed to the rest. Every failure that a
user can cause ends in one line of the log.
"""

import asyncio
import contextlib
import gc
import importlib
import logging
import os
import shutil
import signal
import sys
from collections.abc import Callable, Coroutine
from functools import partial
from time import time_ns
from typing import TYPE_CHECKING, Any

from stan.errors import (
    AnotherServerError,
    ConfigError,
    StanError,
)
from stan.identifiers import new_id
from stan.server import banner, supervisor
from stan.server.child.configuration import write_nats_configuration
from stan.server.child.nats_server import EmbeddedNats, find_nats_server
from stan.server.complaints import Complaints
from stan.server.config.access import connection_options
from stan.server.config.config import Config
from stan.server.config.reloading import Reloading, blame, read_again
from stan.server.log import Log
from stan.server.monitor.identity import FT_ACTIVE, FT_STANDBY, Identity
from stan.server.monitor.listeners import Listener, find_listener
from stan.server.monitor.pages import MakePages, Pages, Surroundings
from stan.server.transport import Transport
from stan.wire.subjects import ServerSubjects

if TYPE_CHECKING:
    from stan.server.admin.operations import Operations
    from stan.server.admin.reading import Served
    from stan.server.admin.service import AdminService
    from stan.server.failover import Failover
    from stan.server.monitor.monitor import Monitor
    from stan.server.serving import Serving

log = logging.getLogger("stan.server")

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_TERMINATED = 128 + signal.SIGTERM


class Server:
    """One streaming server. `run` is its whole life; an instance serves once. `read_config`
    reads the configuration again, when a reload is asked for; `make_console` makes the pages
    that browsers see on the monitoring port."""

    def __init__(
        self,
        config: Config,
        log_sink: Log,
        read_config: Callable[[], Config],
        make_console: MakePages | None = None,
    ) -> None:
        self.config = config
        self.server_id = new_id()
        name = f"stan-server-{config.cluster_id}"
        self.transport = Transport(name)
        self.complaints = Complaints(name)
        self.nats: EmbeddedNats | None = None
        self.serving: Serving | None = None
        self.monitor: Monitor | None = None
        self.failover: Failover | None = None
        self.admin: AdminService | None = None
        self._identity = Identity(
            config.cluster_id, self.server_id, banner.server_version(), time_ns()
        )
        self._log_sink = log_sink
        self._read_config = read_config
        self._make_console = make_console
        self._ready = False
        self._connecting = False
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
        subjects = ServerSubjects(config.cluster_id, config.discover_prefix, config.served_channels)
        # The NATS server starts meanwhile.
        loading = asyncio.ensure_future(asyncio.to_thread(_load_parts, config.store))
        try:
            await self._connect(subjects)
        finally:
            await loading
        if config.partitioning:
            await self._divide()
        if config.ft_group:
            self._join()
        else:
            await self._serve(subjects)
        if listener is not None:
            await self._monitor(listener)
        supervisor.write_pid_file(config.pid_file)
        if config.admin != "off":
            await self._offer()
        if self.failover is not None:
            self._watch(self._end_with(self.failover.run()))
        else:
            log.info("Streaming Server is ready")
        self._ready = True
        supervisor.notify(supervisor.READY)
        if config.welcome or sys.stderr.isatty():
            url = self.transport.url
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
            self.nats.on_line = self.complaints.take_line
            await self.nats.start()
            self._watch(self._watch_nats(self.nats))
            servers = [self.nats.url]
        transport = self.transport
        transport.on_error = self.complaints.take
        transport.on_down = self._down
        transport.on_lost = self._lost
        self._connecting = True
        await transport.connect(servers, **options)
        if not config.is_embedded:
            log.info("Connected to %s", transport.url)
        # The servers of a group know of each other by their store, partitions by their lists.
        is_alone = not config.ft_group and not config.partitioning
        if is_alone and await transport.probe(subjects, config.cluster_id):
            raise AnotherServerError(
                f'discovered another streaming server with cluster ID "{config.cluster_id}"'
            )

    async def _divide(self) -> None:
        """Serve our channels, and make sure that no other partition serves them."""
        from stan.server.partition import Partition

        config = self.config
        partition = Partition(
            self.server_id,
            config.cluster_id,
            config.served_channels,
            config.ft_group,
            self.transport,
        )
        await partition.join()
        self._watch(self._end_with(partition.watch()))

    async def _serve(self, subjects: ServerSubjects) -> None:
        from stan.server.serving import Serving  # loaded by now, while NATS started

        self.serving = serving = Serving(self.config, self.transport, new_id)
        await serving.store.open()
        server, recovered = await serving.recover()
        await serving.start(server, recovered, subjects)
        self._watch(self._end_with(serving.pump.failed()))

    def _join(self) -> None:
        """Become a member of a group: stand by, and serve when nobody else does."""
        from stan.server.failover import Failover
        from stan.server.serving import Serving

        self.failover = failover = Failover(
            self.config,
            self.server_id,
            self.transport,
            lambda: Serving(self.config, self.transport, new_id),
            self._change_state,
        )
        self.serving = failover.serving

    def _change_state(self, state: str) -> None:
        """This member of a group serves from now on, or stands by."""
        assert self.failover is not None
        self.serving = serving = self.failover.serving
        self._identity.state = state
        if self.admin is not None:
            self._watch(self.admin.follow(state == FT_ACTIVE))
        if self.monitor is not None:
            pump = serving.pump if state == FT_ACTIVE else serving.make_idle()
            self.monitor.show(pump, serving.store)
        if state == FT_ACTIVE:
            log.info("Streaming Server is ready")

    async def _monitor(self, listener: Listener) -> None:
        from stan.server.monitor.monitor import Monitor  # it loads aiohttp, which few servers need

        assert self.serving is not None
        identity = self._identity
        transport, serving, failover = self.transport, self.serving, self.failover
        if failover is not None:
            identity.state = FT_STANDBY
        pump = serving.pump if failover is None else serving.make_idle()
        self.monitor = Monitor(
            identity,
            pump,
            serving.store,
            lambda: transport.is_connected,
            most_channels=self.config.metrics_channels,
            group=failover,
            complaints=self.complaints,
            make_pages=self._pages_on(listener),
        )
        await self.monitor.start(listener.host, listener.port, listener.tls)
        log.info("Starting %s monitor on %s:%d", listener.scheme, listener.host, self.monitor.port)

    def _pages_on(self, listener: Listener) -> Callable[[], Pages] | None:
        """What makes the console on this port, if anything does."""
        if self._make_console is None:
            return None
        config = self.config
        surroundings = Surroundings(
            self._operations().run,
            listener.host,
            config.console_user,
            config.console_password,
            is_secure=listener.tls is not None,
        )
        return partial(self._make_console, surroundings)

    def _served(self) -> "Served | None":
        """What serves clients now, None while this server stands by."""
        from stan.server.admin.reading import Served

        serving = self.serving
        if serving is None or not serving.is_running:
            return None
        standbys = self.failover.standbys() if self.failover is not None else []
        return Served(self._identity, self.config, serving.pump, serving.store, standbys)

    def _operations(self) -> "Operations":
        from stan.server.admin.operations import Operations

        hand_over = self._hand_over if self.failover is not None else None
        url = lambda: self.transport.url  # noqa: E731
        reload = self._reload if self._is_reloadable() else None
        return Operations(self._served, url, self.config.admin, reload, hand_over)

    async def _offer(self) -> None:
        """Offer the operations over NATS, as long as this server serves."""
        from stan.server.admin.service import AdminService

        self.admin = AdminService(
            self.transport, self._identity, self.config.admin, self._operations().run
        )
        await self.admin.follow(self._served() is not None)

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

    async def _end_with(self, work: Coroutine[Any, Any, None]) -> None:
        """End the server when this fails."""
        try:
            await work
        except StanError as error:
            log.critical("%s", error)
            self.end(EXIT_FAILED)
        except Exception as error:  # a defect of ours: the trace is wanted
            log.critical("Unexpected failure: %s", error, exc_info=error)
            self.end(EXIT_FAILED)

    def _down(self) -> None:
        if self.failover is not None:
            self.failover.nats_is_down()
        if not self._ending.done():
            waiting_bytes, serving = 0, self.serving
            if serving is not None and serving.is_running:
                pump = serving.pump
                waiting_bytes = pump.engine.publishing.queued_bytes + pump.intake.held_bytes
            self.complaints.lost(waiting_bytes)

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
        loop.add_signal_handler(signal.SIGHUP, self._hang_up)
        loop.add_signal_handler(signal.SIGUSR2, self._hand_over)

    def _hand_over(self) -> None:
        if self.failover is not None:
            self.failover.hand_over()
        else:
            log.warning("Nothing to hand over: this server is in no group (-ft_group)")

    def _hang_up(self) -> None:
        if not self._is_reloadable():
            log.warning("Reload supported only for embedded NATS Server's configuration")
            return
        with contextlib.suppress(ConfigError):  # it is in the log
            self._reload()

    def _is_reloadable(self) -> bool:
        return self.nats is not None or bool(self.config.stan_config)

    def _reload(self) -> list[str]:
        """Read the configuration again and adopt what can be, all of it or nothing. A line for
        each thing that changed. Raises ConfigError."""
        if self._ready:
            supervisor.notify(supervisor.reloading())
        try:
            return self._adopt(read_again(self._read_config))
        except ConfigError as error:
            log.error("Reload failed, nothing was changed: %s", error)
            raise
        finally:
            if self._ready:
                supervisor.notify(supervisor.READY)

    def _adopt(self, config: Config) -> list[str]:
        nats = write_nats_configuration(self.config) if self.nats is not None else ""
        reloading = Reloading(self.config, config)
        try:
            self._log_sink.change(reloading.effective)  # the last step that may fail
        except ConfigError as error:
            raise blame(error, config) from None
        self.config = reloading.effective
        if reloading.changes_limits and self.serving is not None:
            self.serving.change_limits(self.config.limits)
        described = reloading.describe()
        for level, line in described:
            log.log(level, "%s", line)
        if self.nats is not None:
            self.nats.reload(nats)  # it logs by itself what it thinks of it
        return [line for _, line in described]

    # Stopping.

    async def _stop(self) -> None:
        supervisor.notify(supervisor.STOPPING)
        for watcher in list(self._watchers):
            watcher.cancel()
        await asyncio.gather(*self._watchers, return_exceptions=True)
        if self.monitor is not None:
            await self._finish("stop the monitoring", self.monitor.stop())
        if self.failover is not None:
            await self._finish("stop", self.failover.stop())
        elif self.serving is not None:
            await self._finish("stop", self.serving.stop())
        if self._connecting:
            await self._finish("close the NATS connection", self.transport.close())
        if self.serving is not None:
            await self._finish("close the store", self.serving.close())
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


def _load_parts(store: str) -> None:
    """Import what only a server that serves needs. What a module makes stays, so looking for
    garbage meanwhile would only take time."""
    gc.disable()
    try:
        importlib.import_module("stan.server.serving")
        if store == "SQL":
            importlib.import_module("stan.store.sql.store")
    finally:
        gc.enable()


def _say(lines: list[str]) -> None:
    for line in lines:
        log.info("%s", line)


def _command_directory() -> str:
    """Where the other commands are, as this one was called; empty when they are on PATH."""
    if shutil.which("stan-pub") is not None:
        return ""
    return os.path.dirname(sys.argv[0]) if sys.argv[0].endswith(banner.PROGRAM) else ""
