"""A share of the processors, as an operator would give it: a control group with a weight.

Load, server and NATS share one machine here. Whoever runs a server beside other things gives its
service a weight (`CPUWeight=`, `--cpu-shares`), and a load from elsewhere takes no processor at
all. Invariant: what is measured with a weight was in the group before it began.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from bench.peers import Peer

# Ten times what others have, as in examples/systemd/stan.service.
TIMES = 10
_GROUPS = Path("/sys/fs/cgroup")
# By version of the groups: where they are, the file with the weight, and what others have.
_KINDS = (("cpu", "cpu.shares", 1024), ("", "cpu.weight", 100))


@contextmanager
def make_group(groups: Path = _GROUPS) -> Iterator[Path | None]:
    """A group with the weight while this lasts; None where none can be made."""
    group = _make(groups)
    try:
        yield group
    finally:
        if group is not None:
            with suppress(OSError):
                group.rmdir()


def _make(groups: Path) -> Path | None:
    for folder, file, usual in _KINDS:
        group = groups / folder / f"stan-bench-{os.getpid()}"
        try:
            group.mkdir()
        except OSError:
            continue
        try:
            # "r+": only a file that is there is one of the system's.
            with (group / file).open("r+") as weight:
                weight.write(str(usual * TIMES))
        except OSError:
            with suppress(OSError):
                group.rmdir()
            continue
        return group
    return None


def weighed(peer: Peer, group: Path) -> Peer:
    """The peer started in this group, and so all that it starts."""
    enter = 'echo $$ > "$0" && exec "$@"'
    return replace(peer, command=("sh", "-c", enter, str(group / "cgroup.procs"), *peer.command))
