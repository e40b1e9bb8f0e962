"""Which subscriptions come over, and as what: durables and durable groups, all offline.

Their clients have to connect again, since this server gives out ack inboxes of its own;
what is not durable ends with its client. Pure functions. Invariant: one record a durable
and one a durable group, in which nothing unacked is lost.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from stan.engine.records import SubscriptionRecord
from stan.importing.origin import OriginSubscription
from stan.wire.server_pb2 import SubState


@dataclass(slots=True)
class Durable:
    """A durable, or a durable group without its members. `state` is that of whoever was
    sent most."""

    state: SubState
    last_sent: int
    pending: set[int]

    def record(
        self, subscription_id: int, channel_id: int, in_flight: Iterable[int]
    ) -> SubscriptionRecord:
        """As the store keeps it."""
        state = self.state
        group = state.qGroup
        return SubscriptionRecord(
            subscription_id=subscription_id,
            channel_id=channel_id,
            client_id="" if group else state.clientID,
            inbox="" if group else state.inbox,
            ack_inbox="" if group else state.ackInbox,
            max_in_flight=state.maxInFlight,
            ack_wait_s=state.ackWaitInSecs,
            durable_name="" if group else state.durableName,
            queue_group=group,
            is_durable=True,
            is_closed=True,
            last_sent=self.last_sent,
            in_flight=tuple(sorted(in_flight)),
        )


def is_durable(state: SubState) -> bool:
    """Whether it outlives its client. A group says so in a field, having no durable name."""
    return state.isDurable if state.qGroup else bool(state.durableName)


def gather_durables(subscriptions: Iterable[OriginSubscription]) -> list[Durable]:
    """What comes over of a channel's subscriptions, in the order in which it first appears."""
    kinds: dict[tuple[str, ...], list[OriginSubscription]] = {}
    for subscription in subscriptions:
        state = subscription.state
        if state is not None and is_durable(state):
            key = (state.qGroup,) if state.qGroup else (state.clientID, state.durableName)
            kinds.setdefault(key, []).append(subscription)
    return [_unite(same) for same in kinds.values()]


def _unite(same: list[OriginSubscription]) -> Durable:
    """One durable of the members of a group, or of what was stored twice."""
    members = [one for one in same if not _is_vacant(one)]
    vacant = [one for one in same if _is_vacant(one)]
    if vacant:  # of groups recorded without members the furthest one counts
        members.append(max(vacant, key=_last_sent))
    furthest = max(members, key=_last_sent)
    assert furthest.state is not None
    pending = set[int]().union(*(one.pending for one in members))
    return Durable(furthest.state, furthest.last_sent, pending)


def _is_vacant(subscription: OriginSubscription) -> bool:
    state = subscription.state
    return state is not None and bool(state.qGroup) and not state.clientID


def _last_sent(subscription: OriginSubscription) -> int:
    return subscription.last_sent
