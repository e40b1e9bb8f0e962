"""The command `stan-server`: flags in, a server's life, an exit code out.

Only what a command does besides serving lives here: help, version, checking the
configuration, and sending a signal to a server that runs already.
"""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from stan.cli.text import leave
from stan.errors import ConfigError, StanError
from stan.server.banner import PROGRAM, server_version
from stan.server.child.nats_server import find_nats_server
from stan.server.config.config import Config, format_config, load_config
from stan.server.config.flags import format_help
from stan.server.log import Log
from stan.server.monitor.pages import Pages, Surroundings
from stan.server.server import Server

_SIGNALS = {
    "stop": signal.SIGKILL,
    "quit": signal.SIGINT,
    "reopen": signal.SIGUSR1,
    "reload": signal.SIGHUP,
    "handover": signal.SIGUSR2,
}
_TLS_HELP = """\
TLS from this server to the NATS server (with -ns tls://...):
    -secure                      use TLS, the system's certificate authorities
    -tls_client_cacert <file>    check the NATS server's certificate against this authority
    -tls_client_cert <file>      certificate of this server
    -tls_client_key <file>       its private key
TLS of the NATS server that this server starts:
    -tls -tlscert <file> -tlskey <file> [-tlsverify -tlscacert <file>]
"""


def main(argv: list[str]) -> int:
    """Run the command with these arguments. Returns the exit code."""
    if argv[:1] == ["migrate"]:
        from stan.cli import migrate  # it loads what a server may not need

        return migrate.main(argv[1:])
    if argv[:1] == ["import"]:
        from stan.cli import import_  # so does this

        return import_.main(argv[1:])
    try:
        config = load_config(argv, os.environ)
        if config.help or config.version or config.help_tls:
            print(_inform(config))
            return 0
        if config.signal:
            return _send_signal(config.signal)
        if config.check_config:
            config.check()
            for warning in config.warnings:
                print(f"{PROGRAM}: {warning}", file=sys.stderr)
            print(format_config(config))
            return 0
        log = Log(config)
    except ConfigError as error:
        print(f"{PROGRAM}: {error}", file=sys.stderr)
        return 1
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            return runner.run(_serve(config, log, partial(load_config, argv, os.environ)))
    finally:
        log.close()


def run() -> None:
    """The console script."""
    leave(main)


async def _serve(config: Config, log: Log, read_config: Callable[[], Config]) -> int:
    return await Server(config, log, read_config, _make_console).run()


def _make_console(surroundings: Surroundings) -> Pages:
    """The console. Raises ImportError where what it is built on is not installed."""
    from stan.console.console import Console  # when a browser asks

    return Console(surroundings)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop's, when it is installed: the same loop, a little faster."""
    try:
        import uvloop
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


def _inform(config: Config) -> str:
    if config.version:
        return f"{PROGRAM} version {server_version()}, nats-server: {_nats_version()}"
    return _TLS_HELP if config.help_tls else format_help(PROGRAM)


def _nats_version() -> str:
    try:
        shown = subprocess.run(
            [find_nats_server(), "-v"], capture_output=True, text=True, timeout=5, check=True
        )
    except (StanError, OSError, subprocess.SubprocessError):
        return "not found"
    return shown.stdout.strip().removeprefix("nats-server: ")


def _send_signal(order: str) -> int:
    name, _, target = order.partition("=")
    if name not in _SIGNALS:
        raise ConfigError(f'unknown signal "{name}": use stop, quit, reopen, reload or handover')
    if not target:
        raise ConfigError(f"which process? write -sl {name}=<pid> or -sl {name}=<pid file>")
    try:
        pid = int(target if target.isdigit() else Path(target).read_text(encoding="ascii"))
        os.kill(pid, _SIGNALS[name])
    except ValueError:
        raise ConfigError(f"{target} does not hold a process ID") from None
    except OSError as error:
        raise ConfigError(f"cannot signal {target}: {error.strerror}") from None
    return 0


if __name__ == "__main__":
    run()
