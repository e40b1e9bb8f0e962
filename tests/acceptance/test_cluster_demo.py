"""Where the cluster demo plays, and that its files say what the servers understand.

Container engines are played by scripts here: what a real one does is not judged.
"""

import contextlib
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from stan.server.config.config import load_config

ROOT = Path(__file__).resolve().parents[2]
DEMO = ROOT / "examples" / "cluster"
FAILS = "echo 'no such image' >&2; exit 1"


@pytest.fixture
def demo(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The demo's program, which finds its parts beside it."""
    monkeypatch.syspath_prepend(str(DEMO))
    for name in ("main", "stage", "engine", "load"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    import main as program  # type: ignore[import-not-found]

    return program  # type: ignore[no-any-return]


def put(folder: Path, monkeypatch: pytest.MonkeyPatch, **programs: str) -> None:
    """Let these programs, scripts for the shell, be the only ones on PATH."""
    for name, script in programs.items():
        file = folder / name.replace("_", "-")
        file.write_text(f"#!/bin/sh\n{script}\n")
        file.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))


@pytest.mark.parametrize(
    ("programs", "found"),
    [
        ({}, None),
        ({"docker": FAILS}, None),  # no engine answers
        ({"docker": "exit 0"}, ["docker", "compose"]),
        ({"docker": '[ "$1" = info ]'}, None),  # without compose
        ({"docker": '[ "$1" = info ]', "docker_compose": "exit 0"}, ["docker-compose"]),
    ],
)
def test_an_engine_is_used_when_it_answers_and_has_compose(
    demo: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    programs: dict[str, str],
    found: list[str] | None,
) -> None:
    put(tmp_path, monkeypatch, **programs)
    assert demo.find_compose() == found


def test_an_engine_that_cannot_build_gives_way_to_processes(
    demo: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    put(
        tmp_path,
        monkeypatch,
        docker=f'echo "$@" >> {tmp_path}/asked; case "$*" in *" up "*) {FAILS};; esac',
    )
    monkeypatch.setattr(demo, "Stage", contextlib.nullcontext)
    with contextlib.ExitStack() as stack:
        demo.set_stage(stack, ["docker", "compose"])
    said = capsys.readouterr().out
    assert "no such image" in said
    assert "On with processes instead." in said
    asked = (tmp_path / "asked").read_text().splitlines()
    assert ["up" in asked[0].split(), "down" in asked[1].split()] == [True, True]


def read_compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    return loaded


def test_the_streaming_servers_of_the_file_are_one_group_on_all_nats_servers() -> None:
    services = read_compose()["services"]
    members = [name for name in services if name.startswith("stan-")]
    assert len(members) == 2
    for name in members:
        service = services[name]
        config = load_config(service["command"], service["environment"])
        config.check()
        assert (config.store, config.ft_group) == ("SQL", "demo")
        hosts = [server.removeprefix("nats://").split(":")[0] for server in config.nats_servers]
        assert hosts == [each for each in services if each.startswith("nats-")]
        assert config.warnings == []


def test_the_demo_knows_the_ports_that_the_file_publishes(demo: ModuleType) -> None:
    services = read_compose()["services"]
    import engine  # type: ignore[import-not-found]

    for name, port in {**engine.NATS, **engine.STREAMING}.items():
        assert services[name]["ports"][0].split(":")[0] == str(port)
    assert engine.DATABASE in services


def test_an_engine_understands_the_file(demo: ModuleType) -> None:
    command = demo.find_compose()
    if command is None:
        pytest.skip("no container engine is here")
    file = str(ROOT / "docker-compose.yml")
    done = subprocess.run([*command, "-f", file, "config"], capture_output=True, text=True)
    assert (done.returncode, "stan-2" in done.stdout) == (0, True), done.stderr


def test_pods_find_what_their_manifest_names() -> None:
    documents = list(yaml.safe_load_all((ROOT / "examples/kubernetes/stan.yaml").read_text()))
    kinds = {each["kind"]: each for each in documents}
    pods = kinds["Deployment"]["spec"]
    labels = pods["template"]["metadata"]["labels"]
    assert pods["replicas"] == 2
    assert pods["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    for selecting in (pods, kinds["PodDisruptionBudget"]["spec"]):
        assert selecting["selector"]["matchLabels"].items() <= labels.items()
    [container] = pods["template"]["spec"]["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    config = kinds["ConfigMap"]["data"]["stan.conf"]
    assert f"http: {ports['monitoring']}" in config
    assert "ft_group: stan" in config
    for probe in ("livenessProbe", "readinessProbe", "startupProbe"):
        asked = container[probe]["httpGet"]
        assert asked["port"] in ports
        assert asked["path"] in ("/healthz/live", "/healthz/ready")
    mounted = {volume["name"] for volume in pods["template"]["spec"]["volumes"]}
    assert {mount["name"] for mount in container["volumeMounts"]} <= mounted
    assert container["args"][0] == "-sc"
