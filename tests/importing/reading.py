"""What a store of ours holds after an import, as tests want to see it."""

from stan.engine.records import Bounds, RangeLoad, Recovered, SubscriptionRecord
from stan.store.contract import Store
from stan.wire.messages import unframe_message
from stan.wire.stan_pb2 import MsgProto


async def read_channel(store: Store, recovered: Recovered, name: str) -> list[MsgProto]:
    """Every message of a channel."""
    number = next(record.channel_id for record, _ in recovered.channels if record.name == name)
    found: list[MsgProto] = []
    while True:
        start = found[-1].sequence + 1 if found else 1
        history = await store.load(RangeLoad(1, number, name, start, 10_000, 1 << 30))
        if not history.framed:
            return found
        found += [MsgProto.FromString(unframe_message(framed)) for framed in history.framed]


def bounds_of(recovered: Recovered, name: str) -> Bounds:
    return next(bounds for record, bounds in recovered.channels if record.name == name)


def subscriptions_of(recovered: Recovered, name: str) -> list[SubscriptionRecord]:
    number = next(record.channel_id for record, _ in recovered.channels if record.name == name)
    return [one for one in recovered.subscriptions if one.channel_id == number]
