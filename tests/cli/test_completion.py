"""Shells complete commands and names, and are never disturbed; passwords are hashed."""

import asyncio
import shutil
from asyncio.subprocess import PIPE
from pathlib import Path

import bcrypt
import pytest

from stan.cli.main import program
from tests.cli.conftest import COMMAND, Open, Run
from tests.cli.test_tables import channel_row
from tests.tools.admin_service import AdminService, page


async def complete(run: Run, *words: str) -> list[str]:
    """What the shell is offered for the last word."""
    line = {"COMP_WORDS": " ".join(("stan", *words)), "COMP_CWORD": str(len(words))}
    outcome = await run(env={"_STAN_COMPLETE": "bash_complete", **line})
    assert (outcome.code, outcome.stderr) == (0, "")
    return [line.partition(",")[2] for line in outcome.stdout.split()]


async def test_commands_and_options(run: Run) -> None:
    assert await complete(run, "ch") == ["channel"]
    assert await complete(run, "channel", "pu") == ["purge"]
    assert await complete(run, "channel", "purge", "--dr") == ["--dry-run"]


async def test_channels_durables_and_clients_come_from_the_server(
    run: Run, service: AdminService
) -> None:
    rows = [channel_row("orders"), channel_row("orders.eu"), channel_row("x-orders")]
    service.answers["channel.list"] = lambda fields: page(fields, "channels", rows)
    assert await complete(run, "channel", "info", "ord") == ["orders", "orders.eu"]
    assert service.asked == [("channel.list", {"limit": 256, "filter": "ord*"})]
    durable = {"channel": "orders", "client_id": "me", "durable": "d", "queue_group": ""}
    group = durable | {"queue_group": "d:workers"}
    service.answers["durable.list"] = lambda fields: page(fields, "durables", [durable, group])
    assert await complete(run, "durable", "rm", "orders", "") == ["me/d", "d:workers"]
    assert service.asked[-1][1]["channel"] == "orders"
    service.answers["client.list"] = {"total": 1, "clients": [{"client_id": "billing"}]}
    assert await complete(run, "client", "kick", "b") == ["billing"]
    other = ("-c", "nobody", "channel", "info", "")
    assert await complete(run, *other) == []


async def test_a_server_that_is_not_there_completes_nothing(run: Run) -> None:
    assert await complete(run, "-s", "nats://127.0.0.1:1", "channel", "info", "") == []
    assert await complete(run, "--timeout", "x", "channel", "info", "") == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
async def test_the_script_of_a_shell(run: Run, shell: str, tmp_path: Path) -> None:
    outcome = await run("completion", shell)
    assert (outcome.code, outcome.stderr) == (0, "")
    assert f"_STAN_COMPLETE={shell}_complete" in outcome.stdout
    if shutil.which(shell) is None:
        return
    script = tmp_path / "script"
    script.write_text(outcome.stdout)
    check = await asyncio.create_subprocess_exec(shell, "-n", str(script), stderr=PIPE)
    _, errors = await check.communicate()
    assert errors == b""


async def test_bash_completes_with_it(
    environment: dict[str, str], service: AdminService, tmp_path: Path
) -> None:
    rows = [channel_row("orders")]
    service.answers["channel.list"] = lambda fields: page(fields, "channels", rows)
    command = tmp_path / "stan"
    command.write_text("#!/bin/sh\nexec " + " ".join(COMMAND) + ' "$@"\n')
    command.chmod(0o755)
    script = (
        'eval "$(stan completion bash)"; COMP_WORDS=(stan channel info or); COMP_CWORD=3; '
        '_stan_completion stan; echo "${COMPREPLY[@]}"'
    )
    bash = await asyncio.create_subprocess_exec(
        "bash", "-c", script, stdout=PIPE, stderr=PIPE,
        env=environment | {"PATH": f"{tmp_path}:{environment['PATH']}"},
    )  # fmt: skip
    assert await bash.communicate() == (b"orders\n", b"")


def test_every_command_explains_itself() -> None:
    context = program.make_context("stan", [], resilient_parsing=True)
    for name in program.list_commands(context):
        command = program.get_command(context, name)
        assert command is not None
        assert command.help, name
        for inner_name in getattr(command, "commands", {}):
            inner = command.commands[inner_name]  # type: ignore[attr-defined]
            assert inner.help, inner_name
            for parameter in inner.params:
                if parameter.param_type_name == "option" and not parameter.hidden:
                    assert parameter.opts


async def test_a_password_is_hashed(run: Run, open_terminal: Open) -> None:
    outcome = await run("mkpasswd", "--cost", "4", stdin=b"secret\n")
    assert (outcome.code, outcome.stderr) == (0, "")
    assert outcome.stdout.startswith("$2a$04$")
    assert bcrypt.checkpw(b"secret", outcome.stdout.strip().encode())
    outcome = await run("mkpasswd", stdin=b"\n")
    assert (outcome.code, outcome.stderr) == (1, "stan: the password is empty\n")
    outcome = await run("mkpasswd", stdin=b"x" * 73)
    assert outcome.stderr == "stan: the password is longer than 72 bytes\n"
    terminal = await open_terminal("mkpasswd", "--cost", "4")
    await terminal.until("Password: ")
    terminal.type("hidden\n")
    await terminal.until("Again: ")
    terminal.type("hidden\n")
    code, written = await terminal.end()
    assert code == 0
    assert "hidden" not in written
    assert bcrypt.checkpw(b"hidden", written.split()[-1].encode())


async def test_a_missing_bcrypt_is_named(run: Run, tmp_path: Path) -> None:
    (tmp_path / "bcrypt.py").write_text("raise ImportError('no bcrypt')")
    outcome = await run("mkpasswd", stdin=b"x", env={"PYTHONPATH": str(tmp_path)})
    assert outcome.code == 1
    assert outcome.stderr == (
        "stan: this needs the package bcrypt: pip install 'nats-stan[console]'\n"
    )


async def test_only_what_is_used_is_loaded(run: Run) -> None:
    outcome = await run("pub", "--help", env={"PYTHONPROFILEIMPORTTIME": "1"})
    loaded = {line.rpartition("|")[2].strip() for line in outcome.stderr.splitlines()}
    assert "stan.cli.publishing" in loaded
    assert not {"rich", "bcrypt", "sqlalchemy", "aiohttp", "stan.cli.load"} & loaded
