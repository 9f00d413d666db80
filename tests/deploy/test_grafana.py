"""The dashboard: what it asks for is really shown, and it works with and without requests by tenant."""

import itertools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.conftest import Scraped
from tests.deploy.promql import Shown
from tests.e2e.system import System
from tests.rig.programs import ProcessRack
from tests.rig.prometheus import Prometheus, promtool

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

FILE = Path(__file__).parents[2] / "deploy" / "grafana" / "gogeta.json"
DASHBOARD: dict[str, Any] = json.loads(FILE.read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
VARIABLES = {variable["name"]: variable for variable in DASHBOARD["templating"]["list"]}


def expressions() -> Iterator[tuple[str, str]]:
    """Each panel's title and expression, and those of variables and annotations."""
    for panel in PANELS:
        for target in panel["targets"]:
            yield panel["title"], target["expr"]
    for annotation in DASHBOARD["annotations"]["list"]:
        yield annotation["name"], annotation["expr"]


def filled(expression: str, tenant: str = ".*") -> str:
    """As Grafana sends it."""
    return expression.replace("$__rate_interval", "1m").replace("$__range", "1h").replace("$tenant", tenant)


def test_what_it_asks_for_is_really_shown(scraped: Scraped) -> None:
    shown = Shown(scraped.gogeta, scraped.passivator)
    complaints = [
        (title, complaint)
        for title, expression in expressions()
        for complaint in shown.complaints(expression, {"$tenant": ""})
    ]
    assert complaints == []
    query = VARIABLES["tenant"]["query"]["query"]
    name, label = re.fullmatch(r"label_values\((\w+), (\w+)\)", query).groups()  # type: ignore[union-attr]
    assert label in shown.labels[name]


def test_prometheus_takes_every_expression(tmp_path: Path) -> None:
    rules = [
        {"record": f"panel:{number}", "expr": filled(expression)}
        for number, (_, expression) in enumerate(expressions())
    ]
    assert len(rules) > 60
    file = tmp_path / "panels.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    checked = promtool("check", "rules", file)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_legends_name_labels_that_are_there() -> None:
    for panel in PANELS:
        for target in panel["targets"]:
            for label in re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]):
                grouped = ",".join(re.findall(r"by \(([^)]*)\)", target["expr"]))
                assert label == "instance" or label in re.split(r"[ ,]+", grouped), (panel["title"], label)


def test_every_panel_is_in_its_place_says_what_it_shows_and_asks_the_chosen_source() -> None:
    identifiers = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(identifiers)) == len(identifiers)
    for panel in PANELS:
        assert panel["description"]
        assert all(target["datasource"]["uid"] == "${datasource}" for target in (panel, *panel["targets"]) if target)
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
    assert VARIABLES["datasource"]["type"] == "datasource"
    for one, other in itertools.combinations((panel["gridPos"] for panel in DASHBOARD["panels"]), 2):
        apart = (
            one["x"] + one["w"] <= other["x"]
            or other["x"] + other["w"] <= one["x"]
            or one["y"] + one["h"] <= other["y"]
            or other["y"] + other["h"] <= one["y"]
        )
        assert apart, (one, other)


@pytest.mark.parametrize("named", [0, 5])
def test_with_and_without_requests_by_tenant_the_panels_have_something_to_show(
    local_system: System, processes: ProcessRack, tmp_path: Path, named: int
) -> None:
    system = local_system
    system.declare("acme", idle="10m")
    system.declare("globex", idle="10m")
    system.serve("--metrics-tenants", str(named))
    system.control("--memory-limit", "1g")
    system.apply()
    prometheus = Prometheus(processes, tmp_path, {"gogeta": system.admin, "passivator": system.passivator_admin})
    prometheus.until('passivator_leader == 1 and on() gogeta_requests_total{code="2xx"} == 0')
    for _ in range(3):
        assert system.curl("acme.localhost").status == 200
    prometheus.until('increase(gogeta_requests_total{code="2xx"}[1m]) > 0')
    prometheus.until("increase(gogeta_wake_seconds_count[1m]) > 0")
    prometheus.until('increase(passivator_wake_seconds_count{phase="total"}[1m]) > 0')

    by_title: dict[str, list[str]] = {}
    for title, expression in expressions():
        by_title.setdefault(title, []).append(expression)
    empty = {
        title
        for title, asked in by_title.items()
        if not any(prometheus.query(filled(expression)) for expression in asked)
    }
    quiet = {
        "Answers of our own, by reason",
        "Not woken, and why",
        "Starts that failed, by reason",
        "Crashes, and tenants given up",
        "Kept awake, and why",
        "Errors of the registry",
        "Errors of the runtime",
        "First certificate ends in",
        "Changes of the lead",
    }
    by_tenant = {"Tenants with most requests", "In flight by tenant"}
    assert empty <= quiet | (set() if named else by_tenant), "what shows nothing has nothing to show"
    (asked,) = by_title["Requests by class of status"]
    assert {labels["code"]: value for labels, value in prometheus.query(filled(asked))}["2xx"] > 0
    # Of whoever is chosen and was not asked for there is nothing; where nobody is told apart, all are shown.
    of_globex = sum(value for _, value in prometheus.query(filled(asked, tenant="globex")))
    assert (of_globex > 0) is (named == 0)
