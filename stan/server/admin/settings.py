"""The operations that tell of the server itself: what it does, its limits, its options."""

import os
import re
from collections.abc import Mapping
from typing import Any

from stan.engine.views import View
from stan.server.admin.reading import Served, describe_limits
from stan.server.admin.times import format_time
from stan.server.banner import engine_kind
from stan.server.config.config import ACTIONS, Config, format_value, option_name
from stan.server.config.declaring import Option
from stan.server.config.options import OPTIONS
from stan.server.histogram import Histogram
from stan.units import SECOND_NS

SECRET = "***"
_USERINFO = re.compile(r"//[^/@]*@")


def describe_server(served: Served, mode: str, nats_url: str, now_ns: int) -> dict[str, Any]:
    """Who it is and how it does."""
    identity, pump, store = served.identity, served.pump, served.store
    totals = View(pump.engine).totals()
    group: dict[str, Any] | None = None
    if served.config.ft_group:
        active = {"server_id": identity.server_id, "role": "active"}
        standing = [{"server_id": one, "role": "standby"} for one in served.standbys]
        group = {"name": served.config.ft_group, "members": [active, *standing]}
    described: dict[str, Any] = {
        "kind": store.kind,
        "location": hide_userinfo(store.location),
        "persistent": store.persistent,
    }
    if store.persistent:
        described["durability"] = served.config.sql_durability
    if (lease := store.held_lease) is not None:
        described |= {
            "epoch": lease.epoch, "owner": lease.owner, "lease_s": lease.duration_s,
        }  # fmt: skip
    return {
        "cluster_id": identity.cluster_id,
        "server_id": identity.server_id,
        "version": identity.version,
        "engine": engine_kind(),
        "state": identity.state,
        "mode": mode,
        "start_time": format_time(identity.start_ns),
        "now": format_time(now_ns),
        "uptime_s": max(now_ns - identity.start_ns, 0) / SECOND_NS,
        "nats_url": hide_userinfo(nats_url),
        "store": described,
        "clients": totals.clients,
        "channels": totals.channels,
        "subscriptions": totals.subscriptions,
        "messages": totals.messages,
        "bytes": totals.stored_bytes,
        "in_messages": totals.in_messages,
        "in_bytes": totals.in_bytes,
        "out_messages": totals.out_messages,
        "out_bytes": totals.out_bytes,
        "redelivered": totals.redelivered,
        "refused": totals.refused,
        "queued_messages": totals.queued_messages,
        "queued_bytes": totals.queued_bytes,
        "commit_ms": {
            "p50": find_quantile(pump.commit_s, 0.5) * 1000,
            "p99": find_quantile(pump.commit_s, 0.99) * 1000,
        },
        "group": group,
    }


def describe_store_limits(served: Served) -> dict[str, Any]:
    """The limits in effect: those of all channels, and the configured entries."""
    view = View(served.pump.engine)
    return {
        "global": describe_limits(view.store_limits().defaults),
        "channels": [
            {"name": name, "limits": describe_limits(limits)} for name, limits in view.limits()
        ],
    }


def describe_options(config: Config) -> dict[str, Any]:
    """Every option with its value, and where that came from."""
    options = []
    for option in OPTIONS:
        value = getattr(config, option.field, None)
        if value is None or option.field in ACTIONS:
            continue
        shown = SECRET if option.secret and value else format_value(option, value)
        options.append(
            {
                "name": option_name(option),
                "value": hide_userinfo(shown),
                "source": find_source(config, option, os.environ),
            }
        )
    return {"options": options}


def find_source(config: Config, option: Option, environment: Mapping[str, str]) -> str:
    """Where an option's value came from."""
    if option.field not in config.given:
        return "default"
    if option.field not in config.commanded:
        return "file"
    in_environment = bool(option.environment and environment.get(option.environment))
    return "environment" if in_environment else "flag"


def hide_userinfo(text: str) -> str:
    """An address without the name and password in it."""
    return _USERINFO.sub(f"//{SECRET}@", text)


def find_quantile(histogram: Histogram, share: float) -> float:
    """The upper bound of the bucket in which this share of the observations ends; 0 without
    any."""
    wanted, below = histogram.count * share, 0
    if not wanted:
        return 0.0
    for bound, count in zip(histogram.bounds, histogram.counts, strict=False):
        below += count
        if below >= wanted:
            return bound
    return histogram.bounds[-1]
