"""What becomes of a connection, told to the user: interruptions, returns, gaps, the end."""

from dataclasses import dataclass, field

from stan.errors import ClientError


@dataclass(frozen=True, slots=True)
class Gap:
    """Messages of a channel that a subscription will never get."""

    channel: str
    first: int
    """The first sequence that is missing."""
    last: int
    """The last one that is missing; 0 when the channel was begun anew."""
    begun_anew: bool = False
    """The server lost the channel: its sequences start over, and so does the subscription."""

    def __str__(self) -> str:
        if self.begun_anew:
            return f"channel {self.channel} was begun anew; it was read up to {self.first - 1}"
        return f"messages {self.first} to {self.last} of channel {self.channel} are gone"


@dataclass(frozen=True, slots=True)
class Interrupted:
    """The server is out of reach. Publishes wait, subscriptions pause."""

    reason: str


@dataclass(frozen=True, slots=True)
class Resumed:
    """Everything goes on."""

    seconds: float
    """How long it was interrupted."""
    resent: int
    """How many publishes were sent again."""
    registered_again: bool
    """Whether the server had forgotten this client, so that it subscribed again."""
    gaps: dict[str, list[Gap]] = field(default_factory=dict)
    """What is missing, by channel, as far as it is known already; see also the event Gap."""


@dataclass(frozen=True, slots=True)
class Lost:
    """The end: nothing will be tried any more."""

    error: ClientError


Event = Interrupted | Resumed | Gap | Lost
