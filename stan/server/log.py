"""The server's log: lines in the original's format, or JSON, to stderr, a file or syslog.

Every module logs through `logging` under the name `stan`; what the child NATS server says
comes under `stan.nats` and is printed without the `STREAM: ` mark, as the original does.
Nothing else decides how a line looks. No password is ever logged; that is up to the
callers, who log locations and never sources.
"""

import errno
import json
import logging
import logging.handlers
import os
from datetime import datetime
from typing import ClassVar, TextIO
from urllib.parse import urlsplit

from stan.errors import ConfigError
from stan.server.config.config import Config

TRACE = 5
# The engine's words for how much a line matters.
NOTICE_LEVELS = {
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "debug": logging.DEBUG,
    "trace": TRACE,
}
LOG_NAME = "stan"
NATS_LOG_NAME = "stan.nats"
_LOOP_LOG_NAME = "asyncio"

_MARKS = {
    TRACE: "TRC",
    logging.DEBUG: "DBG",
    logging.INFO: "INF",
    logging.WARNING: "WRN",
    logging.ERROR: "ERR",
    logging.CRITICAL: "FTL",
}
LEVELS = {mark: level for level, mark in _MARKS.items()}
# Where the local syslog listens, on Linux and elsewhere.
SYSLOG_PATHS = ("/dev/log", "/var/run/syslog")


def on_one_line(text: str) -> str:
    """The text as a line may show it. Names in it come from clients: a line break must not
    forge a line."""
    return text if text.isprintable() else text.encode("unicode_escape").decode()


class LineFormatter(logging.Formatter):
    """`[pid] 2006/01/02 15:04:05.000000 [INF] STREAM: text`."""

    def __init__(self, with_time: bool = True) -> None:
        super().__init__()
        self._with_time = with_time

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created)  # local time, as the original
        stamp = f"{time:%Y/%m/%d %H:%M:%S.%f} " if self._with_time else ""
        mark = _MARKS.get(record.levelno, "INF")
        source = "" if record.name == NATS_LOG_NAME else "STREAM: "
        text = record.getMessage()
        if record.exc_info:
            text = f"{text}\n{self.formatException(record.exc_info)}"
        return f"[{record.process}] {stamp}[{mark}] {source}{text}"


class JsonFormatter(logging.Formatter):
    """One object a line: time, level, source (stan or nats), text."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created).astimezone().isoformat(),
            "level": _MARKS.get(record.levelno, "INF"),
            "pid": record.process,
            "source": "nats" if record.name == NATS_LOG_NAME else "stan",
            "text": record.getMessage(),
        }
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


class _Quiet(logging.Handler):
    """A line that cannot be written is lost; the server goes on, and shows no trace of it."""

    def handleError(self, record: logging.LogRecord) -> None:
        """Nowhere is left to say it."""


class _Stream(_Quiet, logging.StreamHandler[TextIO]):
    pass


class _File(_Quiet, logging.FileHandler):
    def emit(self, record: logging.LogRecord) -> None:
        """Write a line; after `close` the file is opened again, which may fail."""
        try:
            super().emit(record)
        except OSError:
            self.handleError(record)


class _Syslog(_Quiet, logging.handlers.SysLogHandler):
    priority_map: ClassVar[dict[str, str]] = {
        **logging.handlers.SysLogHandler.priority_map,
        logging.getLevelName(TRACE): "debug",
    }


class Log:
    """The log of one server process: set up, changed and reopened on demand, closed at the
    end."""

    def __init__(self, config: Config) -> None:
        """Raises ConfigError when the log file or the syslog server cannot be used."""
        self._logger = logging.getLogger(LOG_NAME)
        self._config = config
        self._handler = _open_handler(config)
        self._logger.propagate = False
        self._set_up()
        # The child filters by itself; whatever it says is passed on.
        logging.getLogger(NATS_LOG_NAME).setLevel(TRACE)

    def change(self, config: Config) -> None:
        """Log as this configuration says from now on. Raises ConfigError when its file or
        syslog server cannot be used; the log is then as it was."""
        old = self._handler
        if _target(config) != _target(self._config):
            self._handler = _open_handler(config)
        self._config = config
        self._set_up()
        if self._handler is not old:
            old.close()

    def _set_up(self) -> None:
        if self._config.log_format == "json":
            self._handler.setFormatter(JsonFormatter())
        else:
            self._handler.setFormatter(LineFormatter(self._config.log_time))
        self._logger.handlers = [self._handler]
        self._logger.setLevel(_level(self._config))
        self._take_loop_log()

    def _take_loop_log(self) -> None:
        """What the event loop says looks like any other line. Its warnings are about strangers
        who speak no TLS, its errors about defects of ours."""
        loop_log = logging.getLogger(_LOOP_LOG_NAME)
        loop_log.handlers = [self._handler]
        loop_log.propagate = False
        is_debug = self._logger.isEnabledFor(logging.DEBUG)
        loop_log.setLevel(logging.DEBUG if is_debug else logging.ERROR)

    def reopen(self) -> None:
        """Close and open the file again, for log rotation; says so when there is no file."""
        if isinstance(self._handler, logging.FileHandler):
            self._handler.acquire()
            try:
                self._handler.close()
            finally:
                self._handler.release()
            self._logger.info("File log re-opened")
        else:
            self._logger.info("File log re-open ignored, not a file logger")

    def close(self) -> None:
        """Let go of the file; later lines go nowhere."""
        self._logger.handlers = [logging.NullHandler()]
        loop_log = logging.getLogger(_LOOP_LOG_NAME)
        loop_log.handlers = []
        loop_log.propagate = True
        loop_log.setLevel(logging.NOTSET)
        self._handler.close()


def _level(config: Config) -> int:
    if config.stan_trace or config.stan_debug_trace:
        return TRACE
    return logging.DEBUG if config.stan_debug else logging.INFO


def _target(config: Config) -> tuple[str, str, bool]:
    return config.log_file, config.remote_syslog, config.syslog


def _find_syslog() -> str:
    for path in SYSLOG_PATHS:
        if os.path.exists(path):
            return path
    raise FileNotFoundError(errno.ENOENT, f"there is no {SYSLOG_PATHS[0]}")


def _open_handler(config: Config) -> logging.Handler:
    try:
        if config.log_file:
            return _File(config.log_file, encoding="utf-8")
        if config.remote_syslog:
            parts = urlsplit(config.remote_syslog)
            address: str | tuple[str, int] = (parts.hostname or "localhost", parts.port or 514)
            return _Syslog(address)
        if config.syslog:
            return _Syslog(_find_syslog())
    except OSError as error:
        target = config.log_file or config.remote_syslog or "syslog"
        about = "log_file" if config.log_file else "remote_syslog"
        raise ConfigError(f"cannot log to {target}: {error.strerror or error}", about) from None
    except ValueError:
        raise ConfigError(
            f"cannot log to {config.remote_syslog}: not an address", "remote_syslog"
        ) from None
    return _Stream()
