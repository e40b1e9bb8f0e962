"""What an engine is told at its start. Values only; defaults are the protocol's.

Nothing changes them later but `Engine.change_limits` and `Engine.change_max_payload`.
"""

from dataclasses import dataclass, field

from stan.engine.limits import StoreLimits
from stan.units import SECOND_NS
from stan.wire.subjects import DEFAULT_CLUSTER_ID, DEFAULT_DISCOVER_PREFIX

MILLISECOND_NS = 1_000_000


@dataclass(slots=True)
class Settings:
    """All times are nanoseconds, all sizes bytes.

    `served_channels` are names and patterns; requests about other channels are left to
    another server without an answer; when there are none, all channels are served.
    `persistent` says that the store outlives the process, so the progress of subscriptions
    is recorded, at most every `progress_interval_ns`. `cache_bytes` bounds the messages
    held for delivery, `outbox_bytes` what is prepared for subscriptions at a time,
    `client_pending_bytes` what is sent to a client before it proves that it reads (0: no bound),
    `queue_bytes` and `queue_messages` the publishes that wait for a commit. A subscription
    may have `max_in_flight_limit` messages in flight at most; 0 is no limit.
    `payload_overhead_bytes` is what the store adds to each payload that is not empty; it
    counts in the limits and in what monitoring tells. A publish that is sent again is known
    for `dedupe_window_ns`; `record_all_guids` records those of clients, too, that never said
    they would send any again, for a server that takes over. With `outbox` the store has a table
    whose rows are to be published (engine.relaying). With `test_timers` a negative ack wait
    or ping interval on the wire counts milliseconds.
    """

    cluster_id: str = DEFAULT_CLUSTER_ID
    discover_prefix: str = DEFAULT_DISCOVER_PREFIX
    limits: StoreLimits = field(default_factory=StoreLimits)
    served_channels: tuple[str, ...] = ()
    heartbeat_interval_ns: int = 30 * SECOND_NS
    heartbeat_timeout_ns: int = 10 * SECOND_NS
    heartbeat_fail_count: int = 10
    duplicate_check_timeout_ns: int = 500 * MILLISECOND_NS
    replace_durable: bool = False
    persistent: bool = True
    max_payload_bytes: int = 1_048_576
    payload_overhead_bytes: int = 0
    cache_bytes: int = 64 * 1024 * 1024
    client_pending_bytes: int = 16 * 1024 * 1024
    max_in_flight_limit: int = 0
    outbox_bytes: int = 8 * 1024 * 1024
    queue_messages: int = 262_144
    queue_bytes: int = 128 * 1024 * 1024
    batch_messages: int = 4096
    batch_bytes: int = 2 * 1024 * 1024
    load_messages: int = 1024
    load_bytes: int = 1024 * 1024
    progress_interval_ns: int = 200 * MILLISECOND_NS
    retry_interval_ns: int = 250 * MILLISECOND_NS
    dedupe_window_ns: int = 120 * SECOND_NS
    record_all_guids: bool = False
    outbox: bool = False
    test_timers: bool = False
