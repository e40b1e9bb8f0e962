"""A share of the processors for a server under measurement."""

import subprocess
import sys
from pathlib import Path

import pytest

from bench.peers import Peer
from bench.weight import make_group, weighed


def groups_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str, file: str) -> Path:
    """A directory in which a new one has this file at once, as the system's have."""
    mkdir = Path.mkdir

    def make(path: Path) -> None:
        mkdir(path)
        (path / file).write_text("1")

    (tmp_path / folder).mkdir(exist_ok=True)
    monkeypatch.setattr(Path, "mkdir", make)
    return tmp_path


@pytest.mark.parametrize(
    ("folder", "file", "weight"), [("cpu", "cpu.shares", "10240"), ("", "cpu.weight", "1000")]
)
def test_a_group_has_ten_times_the_usual_weight(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str, file: str, weight: str
) -> None:
    with make_group(groups_of(tmp_path, monkeypatch, folder, file)) as group:
        assert group is not None
        assert (group / file).read_text() == weight
        (group / file).unlink()  # the system's directories can be removed with what is in them
    assert not group.exists()


def test_where_no_group_can_be_made_there_is_none(tmp_path: Path) -> None:
    with make_group(tmp_path) as group:
        assert group is None
    assert not list(tmp_path.iterdir())


def test_a_peer_enters_the_group_before_it_begins(tmp_path: Path) -> None:
    program = (sys.executable, "-c", "import os, sys; print(os.getpid(), *sys.argv[1:])")
    peer = weighed(Peer("ours", program, False), tmp_path)
    assert peer.name == "ours"
    done = subprocess.run([*peer.command, "-x", "a b"], capture_output=True, text=True, check=True)
    pid, *words = done.stdout.split(maxsplit=2)
    assert words == ["-x", "a b\n"]
    assert (tmp_path / "cgroup.procs").read_text() == f"{pid}\n"
