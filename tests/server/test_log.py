"""How log lines look, and where they go."""

import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from stan.errors import ConfigError
from stan.server.config import load_config
from stan.server.log import JsonFormatter, LineFormatter, Log


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    logger, child = logging.getLogger("stan"), logging.getLogger("stan.nats")
    before = (logger.handlers, logger.propagate, logger.level, child.level)
    yield
    logger.handlers, logger.propagate = before[0], before[1]
    logger.setLevel(before[2])
    child.setLevel(before[3])


def record(name: str, level: int, text: str) -> logging.LogRecord:
    return logging.LogRecord(name, level, __file__, 1, "%s", (text,), None)


@pytest.mark.parametrize(
    ("name", "level", "end"),
    [
        ("stan.server", logging.INFO, "[INF] STREAM: hello"),
        ("stan.server", 5, "[TRC] STREAM: hello"),
        ("stan.server", logging.CRITICAL, "[FTL] STREAM: hello"),
        ("stan.nats", logging.WARNING, "[WRN] hello"),
    ],
)
def test_lines_look_like_the_originals(name: str, level: int, end: str) -> None:
    line = LineFormatter().format(record(name, level, "hello"))
    assert re.fullmatch(r"\[\d+\] \d{4}/\d\d/\d\d \d\d:\d\d:\d\d\.\d{6} " + re.escape(end), line)


def test_the_time_can_be_left_out() -> None:
    line = LineFormatter(with_time=False).format(record("stan.server", logging.INFO, "hello"))
    assert re.fullmatch(r"\[\d+\] \[INF\] STREAM: hello", line)


def test_json_lines_say_the_same() -> None:
    line = json.loads(JsonFormatter().format(record("stan.nats", logging.ERROR, "oh")))
    assert (line["level"], line["source"], line["text"]) == ("ERR", "nats", "oh")


def test_a_log_file_is_reopened(tmp_path: Path) -> None:
    path = tmp_path / "stan.log"
    log = Log(load_config(["-l", str(path)], {}))
    logging.getLogger("stan.server").info("before")
    path.rename(tmp_path / "old.log")
    log.reopen()
    logging.getLogger("stan.server").info("after")
    log.close()
    assert "before" in (tmp_path / "old.log").read_text()
    assert "after" in path.read_text()
    assert "before" not in path.read_text()


def test_what_is_not_a_file_is_not_reopened(capsys: pytest.CaptureFixture[str]) -> None:
    log = Log(load_config([], {}))
    log.reopen()
    log.close()
    assert "File log re-open ignored, not a file logger" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "level"),
    [([], logging.INFO), (["-SD"], logging.DEBUG), (["-SV"], 5), (["-SDV"], 5)],
)
def test_flags_choose_the_level(flags: list[str], level: int) -> None:
    log = Log(load_config(flags, {}))
    assert logging.getLogger("stan").level == level
    log.close()


def test_a_log_file_that_cannot_be_written_is_named() -> None:
    with pytest.raises(ConfigError, match="cannot log to /nonexistent/x: No such file"):
        Log(load_config(["-l", "/nonexistent/x"], {}))
