"""Rules and board ask for metrics that exist, in expressions that Prometheus can read."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, cast

import promql_parser
import pytest
from prometheus_client import GC_COLLECTOR, PLATFORM_COLLECTOR, PROCESS_COLLECTOR, CollectorRegistry
from pydantic import BaseModel, ConfigDict

from deploy.role import Role
from ingest.blocks import MAX_WAITING
from ingest.collector_metrics import CollectorMetrics
from ingest.consumer_metrics import ConsumerMetrics
from ingest.doubled import DoubledAlarm
from ingest.enrich.pipeline import EnrichMetrics
from tests.deploy.files.reading import DEPLOY, Json, at, items, mapping, number, read_documents, read_json, text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from schemas.warehouse.client import Warehouse

# What must wake somebody.
ALARMS = frozenset(
    {
        "pulse_positions_doubled",
        "pulse_consumer_lag_seconds",
        "pulse_consumer_lag_blocks",
        "pulse_fence_lost_total",
        "pulse_consumed_events_total",
        "up",
    }
)
# Prometheus' own, node_exporter's and the kubelet's.
FOREIGN = frozenset(
    {
        "up",
        "node_filesystem_avail_bytes",
        "node_filesystem_size_bytes",
        "kubelet_volume_stats_available_bytes",
        "kubelet_volume_stats_capacity_bytes",
    }
)
SUFFIXES = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "gauge": ("",)}
DURATION = r"^\d+[smhd]$"


class Rule(BaseModel):
    """A rule of a rule file, as Prometheus documents it; nothing else may stand there."""

    model_config = ConfigDict(extra="forbid", strict=True)

    expr: str
    record: str = ""
    alert: str = ""
    for_: str = ""
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}


class Group(BaseModel):
    """A group of rules."""

    model_config = ConfigDict(extra="forbid", strict=True)

    name: str
    rules: list[Rule]
    interval: str = ""


class RuleFile(BaseModel):
    """A whole rule file."""

    model_config = ConfigDict(extra="forbid", strict=True)

    groups: list[Group]


def rename(tree: Json) -> Json:
    """`for` is no name that Python allows."""
    if isinstance(tree, dict):
        return {"for_" if key == "for" else key: rename(value) for key, value in tree.items()}
    return [rename(item) for item in tree] if isinstance(tree, list) else tree


(WRITTEN,) = read_documents(DEPLOY / "alerts/pulse.yaml")
GROUPS = RuleFile.model_validate(rename(WRITTEN)).groups
RULES = [rule for group in GROUPS for rule in group.rules]
BOARD = read_json(DEPLOY / "grafana/pulse.json")
PANELS = [mapping(panel) for panel in items(at(BOARD, "panels"))]
CHARTS = [panel for panel in PANELS if panel["type"] != "row"]


def find_registered() -> frozenset[str]:
    """Every name that `/metrics` of some role may hold."""
    registry = CollectorRegistry()
    for make in (CollectorMetrics, ConsumerMetrics, EnrichMetrics):
        make(registry)
    DoubledAlarm(cast("Warehouse", None), registry, lambda: 0)
    for own in (PROCESS_COLLECTOR, PLATFORM_COLLECTOR, GC_COLLECTOR):
        registry.register(own)
    found = [(family.name, SUFFIXES[family.type]) for family in registry.collect()]
    return frozenset(f"{name}{suffix}" for name, suffixes in found for suffix in suffixes)


def read_expressions() -> Iterator[str]:
    """Every expression of rules and board, Grafana's own variables filled in."""
    yield from (rule.expr for rule in RULES)
    for panel in CHARTS:
        for target in items(panel["targets"]):
            yield text(at(target, "expr")).replace("$__rate_interval", "5m").replace("$instance", ".*")


def find_selectors(expression: str) -> list[promql_parser.VectorSelector]:
    """Every selection of series in an expression; raises ValueError for one that Prometheus would refuse."""
    found: list[promql_parser.VectorSelector] = []

    def visit(node: promql_parser.Expr) -> bool:
        if isinstance(node, promql_parser.MatrixSelector):
            found.append(node.vector_selector)
        if isinstance(node, promql_parser.VectorSelector):
            found.append(node)
        return True

    promql_parser.walk(promql_parser.parse(expression), visit)
    return found


SELECTORS = [selector for expression in read_expressions() for selector in find_selectors(expression)]


def test_every_metric_that_is_asked_for_exists() -> None:
    recorded = {rule.record for rule in RULES if rule.record}
    asked = {selector.name or "" for selector in SELECTORS}
    assert asked - recorded - FOREIGN <= find_registered()
    assert len(asked & find_registered()) > 10


def test_every_alarm_is_watched() -> None:
    watched = {selector.name for rule in RULES if rule.alert for selector in find_selectors(rule.expr)}
    assert watched >= ALARMS


def test_what_is_recorded_is_used_or_named_after_what_it_is() -> None:
    assert all(re.match(r"^pulse:[a-z_]+:[a-z0-9_]+$", rule.record) for rule in RULES if rule.record)


def test_roles_that_are_asked_for_exist() -> None:
    roles = {role.value for role in Role}
    matchers = [matcher for selector in SELECTORS for matcher in selector.matchers.matchers if matcher.name == "role"]
    assert matchers
    assert {word for matcher in matchers for word in matcher.value.split("|") if word} <= roles


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule.alert], ids=lambda rule: rule.alert)
def test_an_alert_says_how_bad_it_is_and_what_is_so(rule: Rule) -> None:
    assert rule.alert.startswith("Pulse")
    assert rule.labels["severity"] in {"page", "ticket"}
    assert rule.annotations["summary"]
    assert set(rule.annotations) <= {"summary", "action"}
    assert re.match(DURATION, rule.for_ or "0s")


def test_a_backlog_is_that_of_the_fullest_process_since_each_has_the_limit() -> None:
    (rule,) = [rule for rule in RULES if rule.alert == "PulseCollectorBacklog"]
    asked = promql_parser.parse(rule.expr)
    assert isinstance(asked, promql_parser.BinaryExpr)
    assert (str(asked.lhs), str(asked.rhs)) == (
        "max by (instance)(pulse_collector_waiting_bytes{})",
        str(MAX_WAITING // 2),
    )
    assert f"at {MAX_WAITING // 2**20} MiB it answers 503" in rule.annotations["summary"]


def test_names_of_groups_and_alerts_stand_once() -> None:
    for found in ([group.name for group in GROUPS], [rule.alert or rule.record for rule in RULES]):
        assert len(found) == len(set(found))


def test_the_board_has_no_panel_twice_and_none_over_another() -> None:
    ids = [number(panel["id"]) for panel in PANELS]
    assert len(ids) == len(set(ids))
    cells: set[tuple[int, int]] = set()
    for panel in PANELS:
        x, y, w, h = (number(at(panel["gridPos"], side)) for side in "xywh")
        own = {(column, row) for column in range(x, x + w) for row in range(y, y + h)}
        assert x + w <= 24
        assert not own & cells
        cells |= own


def test_the_board_asks_the_source_that_is_chosen() -> None:
    sources = {str(panel["datasource"]) for panel in CHARTS}
    assert sources == {str({"type": "prometheus", "uid": "${datasource}"})}
    variables = {text(at(variable, "name")) for variable in items(at(BOARD, "templating", "list"))}
    asked = {name for panel in CHARTS for name in re.findall(r"\$\{?([a-z]+)", str(panel["targets"]))}
    assert asked <= variables


def test_compose_gives_every_target_its_role() -> None:
    (config,) = read_documents(DEPLOY / "compose/prometheus.yaml")
    job = at(config, "scrape_configs", 0)
    relabel = at(job, "relabel_configs", 0)
    found = [
        re.fullmatch(text(at(relabel, "regex")), text(name)) for name in items(at(job, "dns_sd_configs", 0, "names"))
    ]
    assert {match[1] for match in found if match} == {"collector", "consumer", "query", "jobs"}
    assert all(found)
    assert at(relabel, "target_label") == "role"
