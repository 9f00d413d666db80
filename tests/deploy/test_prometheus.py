"""The alert rules: well-formed, about what the programs really show, each tried out; and with real faults they fire."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.conftest import Scraped
from tests.deploy.promql import Shown
from tests.e2e.system import System
from tests.rig.etcd import EtcdServer
from tests.rig.programs import ProcessRack
from tests.rig.prometheus import Prometheus, promtool

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "prometheus"
RULES = FOLDER / "alerts.yml"


def rules() -> list[dict[str, Any]]:
    """All alerts."""
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def anchors(page: Path) -> set[str]:
    """The sections of a page, as links name them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_prometheus_takes_the_rules_and_the_example_of_a_configuration() -> None:
    for what in (("rules", "alerts.yml"), ("config", "prometheus.yml")):
        checked = promtool("check", *what, cwd=FOLDER)
        assert checked.returncode == 0, checked.stdout + checked.stderr


def test_every_alert_fires_when_it_should_and_none_when_all_is_well() -> None:
    tried = promtool("test", "rules", "alerts_test.yml", cwd=FOLDER)
    assert tried.returncode == 0, tried.stdout + tried.stderr
    stories = yaml.safe_load((FOLDER / "alerts_test.yml").read_text())["tests"]
    expected = "".join(
        sample["labels"] for story in stories for test in story["promql_expr_test"] for sample in test["exp_samples"]
    )
    untried = [rule["alert"] for rule in rules() if f'alertname="{rule["alert"]}"' not in expected]
    assert untried == []


def test_a_rule_that_is_changed_fails_its_test(tmp_path: Path) -> None:
    (tmp_path / "alerts.yml").write_text(RULES.read_text().replace("passivator_leader == 1", "passivator_leader == 2"))
    (tmp_path / "alerts_test.yml").write_text((FOLDER / "alerts_test.yml").read_text())
    assert promtool("test", "rules", "alerts_test.yml", cwd=tmp_path).returncode != 0


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_each_alert_asks_for_what_is_really_shown(scraped: Scraped, rule: dict[str, Any]) -> None:
    assert list(Shown(scraped.gogeta, scraped.passivator).complaints(rule["expr"])) == []


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_each_alert_says_what_it_means_what_to_do_and_where_more_is_written(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in ("critical", "warning", "info")
    notes = rule["annotations"]
    assert all(notes[name].strip().endswith(".") for name in ("summary", "description", "action"))
    page, _, anchor = notes["docs"].partition("#")
    assert anchor in anchors(ROOT / page), f"{page} has no section {anchor}"
    # A label that the expression leaves out would be empty in the text.
    for label in re.findall(r"\$labels\.(\w+)", "".join(notes.values())):
        assert label in ("instance", "job") or re.search(rf"by \([^)]*\b{label}\b", rule["expr"]), label


def quick(folder: Path) -> Path:
    """The same rules for a test that cannot wait for minutes: only their patience is another."""
    text = re.sub(r"^( +)for: .*$", r"\1for: 1s", RULES.read_text(), flags=re.MULTILINE)
    file = folder / "alerts.yml"
    file.write_text(re.sub(r"_(stale|unavailable)_seconds > 30", r"_\1_seconds > 2", text))
    return file


def test_real_faults_set_off_the_alerts(etcd: EtcdServer, processes: ProcessRack, tmp_path: Path) -> None:
    system = System(processes, etcd.registry_url, tmp_path)
    system.declare("acme", idle="10m")
    system.declare("broken", command="[/nonexistent]")
    system.serve()
    system.control("--retry-limit", "300ms", "--max-failures", "6")
    system.apply()
    jobs = {"gogeta": system.admin, "passivator": system.passivator_admin}
    prometheus = Prometheus(processes, tmp_path, jobs, quick(tmp_path))
    prometheus.until("count(up == 1) == 2 and on() passivator_leader == 1")
    assert system.curl("acme.localhost").status == 200
    prometheus.until('gogeta_requests_total{code="2xx"} >= 1')
    # An absent series is one until the first scrape: nothing else may have fired.
    assert prometheus.firing() <= {"PassivatorNoLeader"}

    # A tenant whose command is missing: it fails again and again, and is given up.
    assert system.curl("broken.localhost").status == 503
    prometheus.until_firing("PassivatorStartsFail", "PassivatorTenantGivenUp")
    (found,) = [labels for labels, _ in prometheus.query('ALERTS{alertname="PassivatorStartsFail"}')]
    assert found["reason"] == "command-failed"

    # The registry stops answering: both say so. It comes back: both are well.
    etcd.pause()
    prometheus.until_firing("GogetaRegistryAway", "PassivatorRegistryAway")
    assert system.curl("acme.localhost").status == 200, "what is awake is served all the same"
    etcd.resume()
    prometheus.until("absent(gogeta_registry_stale_seconds > 0) and absent(passivator_registry_stale_seconds > 0)")
    prometheus.until("passivator_leader == 1")

    # The only passivator is killed.
    system.passivator.kill()
    prometheus.until_firing("PassivatorNoLeader", "PassivatorDown")
    assert "GogetaDown" not in prometheus.firing()
    system.gogeta.kill()
    prometheus.until_firing("GogetaDown")
