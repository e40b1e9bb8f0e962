"""What pages made for people are to the server, which lies below them: names and types only.

Loads no web library: every server is handed something that makes pages, few ever do.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from aiohttp import web

PREFIX = "/console"


class Run(Protocol):
    """One operation of the admin service: its name, its request, and who asks. Raises
    AdminError."""

    async def __call__(
        self, endpoint: str, request: Mapping[str, Any], who: str
    ) -> dict[str, Any]: ...


class Pages(Protocol):
    """Whoever answers below `PREFIX`."""

    async def respond(self, request: "web.Request") -> "web.StreamResponse": ...

    async def close(self) -> None:
        """End the answers that never end by themselves."""


@dataclass(slots=True, frozen=True)
class Surroundings:
    """What pages are made on: the operations, and who may use those that change something.
    Without a user the listener's address decides."""

    run: Run
    host: str
    user: str = ""
    password: str = ""
    is_secure: bool = False


# May raise ImportError: what the pages are built on is not installed.
MakePages = Callable[[Surroundings], Pages]
