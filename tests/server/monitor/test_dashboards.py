"""The dashboard and the alerts in examples/: they name what a running server really shows."""

import asyncio
import copy
import json
import re
import urllib.request
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml

import stan
from tests.server.monitor.promql import Needs, needs_of, variable_needs
from tests.server.monitor.test_monitor_metrics import parse
from tests.tools.processes import NatsServer, free_port
from tests.tools.streaming_server import StreamingServer, implementation_under_test

_EXAMPLES = Path(__file__).parents[3] / "examples" / "monitoring"


def load_dashboard() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((_EXAMPLES / "dashboard.json").read_text())
    return found


def load_rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load((_EXAMPLES / "rules.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def dashboard_needs(dashboard: dict[str, Any]) -> Iterator[Needs]:
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            yield variable_needs(variable["query"]["query"])
    for panel in dashboard["panels"]:
        for target in panel.get("targets", ()):
            yield needs_of(target["expr"], target["legendFormat"])


def rule_needs(rules: list[dict[str, Any]]) -> Iterator[Needs]:
    for rule in rules:
        yield needs_of(rule["expr"], " ".join(rule["annotations"].values()))


def missing(needs: Iterator[Needs], exposed: Needs) -> set[str]:
    """The metrics, and labels of metrics, that no server shows."""
    found = set()
    for some in needs:
        for name, labels in some.items():
            if name not in exposed:
                found.add(name)
            else:
                found.update(f"{name}{{{one}}}" for one in labels - exposed[name])
    return found


async def scrape(port: int) -> Needs:
    """Each metric that a server shows, with the labels that all its samples have."""

    def get() -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            return str(answer.read().decode())

    exposed: Needs = {}
    for name, pairs in parse(await asyncio.to_thread(get)):
        labels = {key for key, _ in pairs}
        exposed[name] = exposed.get(name, labels) & labels
    return exposed


@pytest.fixture
async def exposed(tmp_path: Path) -> Needs:
    """What a member of a group shows that has a database, a durable and a queue group."""
    port = free_port()
    nats = NatsServer()
    nats.start()
    flags = ("-ft_group", "dashboards", "-m", str(port))
    server = StreamingServer(implementation_under_test(), nats.url, "SQL", tmp_path, flags)
    try:
        await asyncio.to_thread(server.start)
        async with await stan.connect(server.cluster, "one", servers=nats.url) as client:
            await client.subscribe("orders", durable="durable")
            await client.subscribe("orders", durable="durable", queue="group")
            await client.publish("orders", b"x")
            return await scrape(port)
    finally:
        server.stop()
        nats.stop()


async def test_what_they_name_exists(exposed: Needs) -> None:
    dashboard, rules = load_dashboard(), load_rules()
    assert missing(dashboard_needs(dashboard), exposed) == set()
    assert missing(rule_needs(rules), exposed) == set()
    # The same check finds what was made up, wherever it stands.
    altered = copy.deepcopy(dashboard)
    targets = [target for panel in altered["panels"] for target in panel.get("targets", ())]
    targets[0]["expr"] = "rate(nss_server_guesses_total[5m])"
    targets[1]["expr"] = 'sum(nss_server_active{mood="good"})'
    targets[2]["expr"] = "sum by (planet) (nss_server_clients)"
    targets[3]["legendFormat"] = "{{colour}}"
    found = missing(dashboard_needs(altered), exposed)
    assert {
        "nss_server_guesses_total",
        "nss_server_active{mood}",
        "nss_server_clients{planet}",
        "nss_server_subscriptions{colour}",
    } == found
    wrong = copy.deepcopy(rules)
    wrong[1]["annotations"]["summary"] = "{{ $labels.colour }}"
    wrong[2]["expr"] = "nss_chan_consumer_luck > 1"
    assert missing(rule_needs(wrong), exposed) == {
        "nss_chan_consumer_oldest_unacked_seconds{colour}",
        "nss_chan_consumer_luck",
    }


@pytest.mark.parametrize("expression", ["guess(nss_server_clients)", "a{b}", "a ? b", "1 > 0"])
def test_an_expression_that_is_not_understood_fails(expression: str) -> None:
    with pytest.raises(AssertionError):
        needs_of(expression)


def test_the_dashboard_is_well_formed() -> None:
    dashboard = load_dashboard()
    panels = dashboard["panels"]
    ids = [panel["id"] for panel in panels]
    assert len(set(ids)) == len(ids)
    for one, other in combinations([panel["gridPos"] for panel in panels], 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        apart = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or apart, (one, other)
    assert all(0 <= p["gridPos"]["x"] <= 24 - p["gridPos"]["w"] for p in panels)
    variables = {one["name"]: one for one in dashboard["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    source = {"type": "prometheus", "uid": "${datasource}"}
    for panel in panels:
        assert panel["title"]
        if panel["type"] != "row":
            assert panel["datasource"] == source
            refs = [target["refId"] for target in panel["targets"]]
            assert refs
            assert len(set(refs)) == len(refs)
    used = set(re.findall(r"\$\{?([a-z]\w*)", json.dumps(panels)))
    assert used == set(variables)


def test_the_rules_are_well_formed() -> None:
    rules = load_rules()
    names = [rule["alert"] for rule in rules]
    assert len(set(names)) == len(names)
    for rule in rules:
        assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert re.fullmatch(r"\d+[smh]", rule.get("for", "0s"))
    scraping = yaml.safe_load((_EXAMPLES / "prometheus.yml").read_text())
    assert scraping["rule_files"] == ["rules.yml"]
