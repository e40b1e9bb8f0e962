"""What the guides tell an operator to do, done: flags, files, examples, backup, alerts.

The pages and examples are read as they are in the checkout, so that they cannot become
untrue unnoticed. Nothing here tests the protocol.
"""

import asyncio
import json
import os
import re
import sqlite3
import sys
import tomllib
from pathlib import Path

import pytest

import stan
from stan.server.config.config import load_config
from stan.server.config.options import OPTIONS
from tests.acceptance.test_stan_server import READY, Start, start

__all__ = ["start"]

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
GUIDES = ("docs/running.md", "docs/operations.md", "docs/migrating.md", "docs/monitoring.md")


def code(page: str) -> list[str]:
    """The fenced blocks of a page, and its words in backquotes, a line each."""
    text = (ROOT / page).read_text()
    blocks = re.findall(r"^```.*?\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    prose = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    return [*"\n".join(blocks).splitlines(), *re.findall(r"`([^`\n]+)`", prose)]


@pytest.mark.parametrize("page", GUIDES)
def test_every_flag_in_the_guides_exists(page: str) -> None:
    known = {flag for option in OPTIONS for flag in option.flags}
    commands = [
        line.partition("#")[0].partition("stan-server ")[2]
        for line in code(page)
        if re.search(r"\bstan-server -", line)
    ]
    assert commands
    for command in commands:
        for flag in re.findall(r"(?:^|\s)--?([a-z]\w*)", command):
            assert flag in known, command


def test_every_streaming_block_in_the_guide_is_valid(tmp_path: Path) -> None:
    text = (DOCS / "operations.md").read_text()
    blocks = [block for block in re.findall(r"```\n(.*?)```", text, re.DOTALL) if "{" in block]
    files = [block for block in blocks if "streaming {" in block]
    assert files
    for file in files:
        path = tmp_path / "stan.conf"
        path.write_text(file)
        config = load_config(["-sc", str(path)], {})
        config.check()
        assert config.warnings == []


def test_the_config_map_is_valid(tmp_path: Path) -> None:
    text = (ROOT / "examples/kubernetes/stan.yaml").read_text()
    [block] = re.findall(r"stan\.conf: \|\n((?:    .*\n)+)", text)
    path = tmp_path / "stan.conf"
    path.write_text(block)
    [arguments] = re.findall(r"args: (\[.*\])", text)
    words = [str(path) if word == "/etc/stan/stan.conf" else word for word in json.loads(arguments)]
    config = load_config(words, {"STAN_SQL_SOURCE": "postgresql://stan@postgres/stan"})
    config.check()
    assert (config.store, config.nats_servers) == ("SQL", ["nats://nats:4222"])
    assert config.limits.resolve("orders.new").max_bytes == 10 << 30
    assert config.warnings == []


def test_the_image_is_built_from_all_that_the_build_reads() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    needed = {
        *("pyproject.toml", project["project"]["readme"]),
        *project["project"]["license-files"],
        *wheel["packages"],
        *wheel["force-include"],
        *(hook["path"] for hook in wheel["hooks"].values()),
    }
    copied = re.findall(r"^COPY (?!--)(.*) \S+$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert needed <= {word for line in copied for word in line.split()}


async def test_a_backup_of_a_running_store_is_restored(start: Start, tmp_path: Path) -> None:
    server = await start("-st", "SQL", "--sql_source", str(tmp_path / "stan.db"))
    await server.read_until(READY)
    url = f"nats://127.0.0.1:{server.port}"
    async with stan.connect("test-cluster", "me", servers=url) as sc:
        durable = await sc.subscribe("foo", durable="mine", start_at="first", manual_acks=True)
        for number in range(10):
            await sc.publish("foo", b"%d" % number)
        await (await anext(durable)).ack()
        await durable.close()  # which is answered when the ack before it is stored

        def back_up() -> None:
            database = sqlite3.connect(tmp_path / "stan.db")
            database.execute("VACUUM INTO ?", (str(tmp_path / "copy.db"),))
            database.close()

        await asyncio.to_thread(back_up)
        await sc.publish("foo", b"after the backup")
    server.process.kill()
    await server.end()
    server = await start("-st", "SQL", "--sql_source", str(tmp_path / "copy.db"))
    await server.read_until("Recovered 1 channel(s)")
    await server.read_until(READY)
    url = f"nats://127.0.0.1:{server.port}"
    async with stan.connect("test-cluster", "me", servers=url) as sc:
        durable = await sc.subscribe("foo", durable="mine")
        received = [(await anext(durable)).data for _ in range(9)]
        assert received == [b"%d" % number for number in range(1, 10)]
        await sc.publish("foo", b"new")
        assert (await anext(durable)).sequence == 11


async def test_an_unknown_key_of_nats_is_named(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "stan.conf"
    path.write_text("max_paylod: 1MB\nstreaming { no_such_key: 1 }")
    server = await start("-sc", str(path))
    assert await server.end() == 1
    assert server.texts[-1].startswith(
        "Failed to start: the NATS server did not start: it does not understand its option"
        ' "max_paylod"'
    )


@pytest.mark.parametrize(
    "arguments", [("-help",), ("-check_config",), ("migrate", "-h"), ("import", "-h")]
)
async def test_output_that_nobody_reads_is_no_trouble(arguments: tuple[str, ...]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "stan.cli.server", *arguments),
        stdout=writer,
        stderr=asyncio.subprocess.PIPE,
    )
    os.close(writer)
    async with asyncio.timeout(20):
        _, complaints = await process.communicate()
    assert complaints == b""
    assert process.returncode in (0, 1)
