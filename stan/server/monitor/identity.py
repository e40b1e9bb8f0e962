"""Who this server is, as its monitoring tells: names, version, state, start.

Only words and times; the one thing that changes is the state.
"""

import platform
from dataclasses import dataclass

from stan.server.monitor.documents import format_time
from stan.server.monitor.exposition import label

STANDALONE = "STANDALONE"
FT_ACTIVE = "FT_ACTIVE"
FT_STANDBY = "FT_STANDBY"


@dataclass(slots=True)
class Identity:
    """`state` is one of the original's: STANDALONE, FT_ACTIVE, FT_STANDBY, FAILED, SHUTDOWN."""

    cluster_id: str
    server_id: str
    version: str
    start_ns: int
    state: str = STANDALONE

    @property
    def is_active(self) -> bool:
        """Whether it serves clients."""
        return self.state in (STANDALONE, FT_ACTIVE)

    @property
    def language(self) -> str:
        """What stands where the original names its Go version."""
        return f"python{platform.python_version()}"

    def labels(self) -> str:
        """The labels of the info metric."""
        return ",".join(
            label(name, value)
            for name, value in (
                ("server_id", self.server_id),
                ("cluster_id", self.cluster_id),
                ("version", self.version),
                ("go_version", self.language),
                ("state", self.state),
                ("role", ""),
                ("start_time", format_time(self.start_ns)),
            )
        )
