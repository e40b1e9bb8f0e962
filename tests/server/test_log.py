"""How log lines look, and where they go."""

import json
import logging
import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from stan.errors import ConfigError
from stan.server import log as log_module
from stan.server.child.configuration import write_nats_configuration
from stan.server.config.config import load_config
from stan.server.log import JsonFormatter, LineFormatter, Log


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    logger, child = logging.getLogger("stan"), logging.getLogger("stan.nats")
    loop = logging.getLogger("asyncio")
    before = (logger.handlers, logger.propagate, logger.level, child.level)
    yield
    logger.handlers, logger.propagate = before[0], before[1]
    logger.setLevel(before[2])
    child.setLevel(before[3])
    loop.handlers, loop.propagate = [], True
    loop.setLevel(logging.NOTSET)


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


@pytest.mark.parametrize(
    ("flags", "level", "nats"),
    [
        ("", logging.INFO, ""),
        ("-D", logging.INFO, "debug"),
        ("-V", logging.INFO, "trace"),
        ("-D -V", logging.INFO, "debug trace"),
        ("-DV", logging.INFO, "debug trace"),
        ("-SD -D", logging.DEBUG, "debug"),
        ("-SD -SV", 5, ""),
        ("-SDV -DV", 5, "debug trace"),
        ("-SDV=false -SD=true -DV=false -V", logging.DEBUG, "trace"),
    ],
)
def test_each_server_has_its_own_levels(flags: str, level: int, nats: str) -> None:
    config = load_config(flags.split(), {})
    Log(config).close()
    assert logging.getLogger("stan").level == level
    given = write_nats_configuration(config)
    assert [name for name in ("debug", "trace") if f'"{name}": true' in given] == nats.split()


def receive(listener: socket.socket) -> tuple[int, str]:
    """Priority and text of the next line that a syslog server gets."""
    listener.settimeout(10)
    found = re.fullmatch(r"<(\d+)>(.*)\0", listener.recv(1000).decode())
    assert found is not None
    return int(found[1]) % 8, found[2]


@pytest.mark.parametrize("where", ["local", "remote"])
def test_lines_reach_a_syslog_server(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if where == "local":
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        listener.bind(str(tmp_path / "log"))
        monkeypatch.setattr(log_module, "SYSLOG_PATHS", ("/nonexistent", str(tmp_path / "log")))
        flags = ["-s"]
    else:
        listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        listener.bind(("127.0.0.1", 0))
        flags = ["-r", f"udp://127.0.0.1:{listener.getsockname()[1]}"]
    with listener:
        log = Log(load_config([*flags, "-SV", "-T=false"], {}))
        for level in (5, logging.DEBUG, logging.INFO, logging.WARNING, logging.CRITICAL):
            logging.getLogger("stan.server").log(level, "hello %s", "you")
        heard = [receive(listener) for _ in range(5)]
        log.close()
    assert [priority for priority, _ in heard] == [7, 7, 6, 4, 2]
    assert heard[2][1] == f"[{os.getpid()}] [INF] STREAM: hello you"


def test_a_syslog_server_that_is_gone_disturbs_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(log_module, "SYSLOG_PATHS", (str(tmp_path / "log"),))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "log"))
        log = Log(load_config(["-s"], {}))
    (tmp_path / "log").unlink()
    logging.getLogger("stan.server").info("nobody hears this")
    log.close()
    assert capfd.readouterr() == ("", "")


def test_no_syslog_server_is_one_clear_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_module, "SYSLOG_PATHS", (str(tmp_path / "none"),))
    with pytest.raises(ConfigError, match=r"cannot log to syslog: "):
        Log(load_config(["-s"], {}))


def test_every_json_line_parses(capsys: pytest.CaptureFixture[str]) -> None:
    log = Log(load_config(["--log_format", "json"], {}))
    texts = ["plain", 'quo"te \\ back', "two\nlines", "\x1b[31m\x00", "ünï \u2028 code", "{}"]
    for text in texts:
        logging.getLogger("stan.server").info("%s", text)
    try:
        raise ValueError("a\nb")
    except ValueError as error:
        logging.getLogger("stan.server").error("trace", exc_info=error)
    log.close()
    lines = [json.loads(line) for line in capsys.readouterr().err.split("\n")[:-1]]
    assert [line["text"] for line in lines] == [*texts, "trace"]
    assert lines[-1]["trace"].endswith("ValueError: a\nb")


def test_a_changed_log_goes_on_elsewhere_and_otherwise(tmp_path: Path) -> None:
    one, two = tmp_path / "one.log", tmp_path / "two.log"
    log = Log(load_config(["-l", str(one)], {}))
    server = logging.getLogger("stan.server")
    log.change(load_config(["-l", str(one), "-SD", "--log_format", "json"], {}))
    server.debug("first")
    log.change(load_config(["-l", str(two), "-T=false"], {}))
    server.debug("hidden")
    server.info("second")
    with pytest.raises(ConfigError, match="cannot log to /nonexistent/x"):
        log.change(load_config(["-l", "/nonexistent/x"], {}))
    server.info("third")
    log.close()
    assert json.loads(one.read_text())["text"] == "first"
    ends = [line.partition("] ")[2] for line in two.read_text().splitlines()]
    assert ends == ["[INF] STREAM: second", "[INF] STREAM: third"]


def test_a_directory_that_is_gone_disturbs_nobody(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    directory = tmp_path / "logs"
    directory.mkdir()
    log = Log(load_config(["-l", str(directory / "stan.log")], {}))
    (directory / "stan.log").unlink()
    directory.rmdir()
    log.reopen()
    directory.mkdir()
    logging.getLogger("stan.server").info("back")
    log.close()
    assert "back" in (directory / "stan.log").read_text()
    assert capfd.readouterr() == ("", "")


def test_what_the_event_loop_says_looks_like_any_other_line(
    capfd: pytest.CaptureFixture[str],
) -> None:
    log = Log(load_config([], {}))
    loop = logging.getLogger("asyncio")
    loop.warning("a stranger spoke no TLS")
    loop.error("a task was lost")
    log.change(load_config(["-SD"], {}))
    loop.warning("seen when debugging")
    log.close()
    out, err = capfd.readouterr()
    assert out == ""
    ends = [
        line.partition("] ")[2].partition(" ")[2].partition(" ")[2] for line in err.splitlines()
    ]
    assert ends == ["[ERR] STREAM: a task was lost", "[WRN] STREAM: seen when debugging"]
    assert loop.propagate
