"""Where a command connects: options, the environment, saved contexts, in this order."""

import json
from collections import UserString
from pathlib import Path
from typing import Any

import pytest

from stan.cli.target import choose_target, list_contexts
from stan.errors import ConfigError
from tests.cli.conftest import Run
from tests.tools.admin_service import AdminService
from tests.tools.processes import NatsServer


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A configuration folder with two contexts, one of them selected."""
    folder = tmp_path / "nats" / "context"
    folder.mkdir(parents=True)
    one = {"url": "nats://one:4222", "user": "me", "password": "pw", "description": "", "nsc": ""}
    (folder / "one.json").write_text(json.dumps(one))
    two = {"url": "nats://two:4222", "creds": "~/two.creds", "inbox_prefix": "_MINE"}
    (folder / "two.json").write_text(json.dumps(two))
    (tmp_path / "nats" / "context.txt").write_text("one\n")
    return tmp_path


def choose(home: Path, given: dict[str, Any] | None = None, **variables: str) -> Any:
    return choose_target(given or {}, {"XDG_CONFIG_HOME": str(home), **variables})


def test_nothing_is_said(tmp_path: Path) -> None:
    at = choose(tmp_path)
    assert (at.cluster_id, at.servers, at.timeout_s) == (
        "test-cluster",
        "nats://127.0.0.1:4222",
        5.0,
    )
    assert at.nats_options == {}


def test_the_selected_context(home: Path) -> None:
    at = choose(home)
    assert (at.servers, at.nats_options) == ("nats://one:4222", {"user": "me", "password": "pw"})
    assert list_contexts({"XDG_CONFIG_HOME": str(home)}) == ["one", "two"]


def test_a_context_by_name(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    for at in (choose(home, {"context": "two"}), choose(home, NATS_CONTEXT="two")):
        assert at.servers == "nats://two:4222"
        assert at.nats_options == {
            "user_credentials": "/home/me/two.creds",
            "inbox_prefix": "_MINE",
        }


def test_the_environment_wins_over_a_context_and_an_option_over_both(home: Path) -> None:
    assert choose(home, NATS_URL="nats://env:1").servers == "nats://env:1"
    at = choose(home, {"servers": "nats://a:1, nats://b:2"}, NATS_URL="nats://env:1")
    assert at.urls == ["nats://a:1", "nats://b:2"]
    assert choose(home, STAN_CLUSTER="mine").cluster_id == "mine"
    assert choose(home, {"no_context": True}).servers == "nats://127.0.0.1:4222"


def test_who_says_who_they_are_takes_nothing_of_that_from_a_context(home: Path) -> None:
    assert choose(home, {"creds": "/x.creds"}).nats_options == {"user_credentials": "/x.creds"}
    assert choose(home, NATS_USER="token").nats_options == {"token": "token"}
    assert choose(home, NATS_TOKEN="t").nats_options == {"token": "t"}


def test_a_jwt_and_a_seed_in_a_context(home: Path) -> None:
    context = {"user_jwt": "eyJ", "user_seed": "SU"}
    (home / "nats" / "context" / "jwt.json").write_text(json.dumps(context))
    found = choose(home, {"context": "jwt"}).nats_options["user_credentials"]
    assert found == (UserString("eyJ"), UserString("SU"))


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("three", None, r"no NATS context 'three' \(saved are: one, two\)"),
        ("../one", None, "is no name of a NATS context"),
        ("bad", "{", "holds no JSON"),
        ("bad", "[]", "is no NATS context"),
        ("bad", '{"nsc": "nsc://o/a/u"}', "uses nsc"),
    ],
)
def test_a_context_that_cannot_be_used(
    home: Path, name: str, content: str | None, words: str
) -> None:
    if content is not None:
        (home / "nats" / "context" / f"{name}.json").write_text(content)
    with pytest.raises(ConfigError, match=words):
        choose(home, {"context": name})


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"tlskey": "/nowhere"}, "--tlskey is given without --tlscert"),
        ({"tlsca": "/nowhere.pem"}, "cannot read /nowhere.pem"),
        ({"tlsca": __file__}, "the TLS certificates cannot be used"),
        ({"timeout": "0"}, "--timeout must be above 0"),
        ({"servers": ", "}, "no NATS server in"),
    ],
)
def test_options_that_make_no_sense(tmp_path: Path, given: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        choose(tmp_path, given)


async def test_a_command_reads_them(
    run: Run, service: AdminService, nats_server: NatsServer, environment: dict[str, str]
) -> None:
    del environment["NATS_URL"]
    folder = Path(environment["XDG_CONFIG_HOME"]) / "nats" / "context"
    folder.mkdir(parents=True)
    (folder / "here.json").write_text(json.dumps({"url": nats_server.url}))
    service.answers["channel.list"] = {"total": 1, "channels": [{"name": "a"}]}
    assert (await run("--context", "here", "channel", "ls", "--names")).stdout == "a\n"
    outcome = await run("channel", "ls", "--context", "there")
    assert (outcome.code, outcome.stderr) == (
        2,
        "stan: no NATS context 'there' (saved are: here)\n",
    )
