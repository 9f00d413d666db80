"""What the programs really show: to Prometheus' taste, documented, bounded, and about what happened."""

import re
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.deploy.conftest import Scraped, metrics_of
from tests.e2e.system import System
from tests.rig.prometheus import promtool

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"
ROW = re.compile(r"^\| `(\w+)` \| (counter|gauge|histogram) \| (.*?) \| ", re.MULTILINE)
OF_THE_PROCESS = re.compile(r"process_|python_")
ONLY_WITH = re.compile(r"(gogeta|passivator)_span")
"""What is shown only with a setting that the tests of metrics have not: tracing."""


def documented() -> dict[str, tuple[str, set[str]]]:
    """Name to kind and labels, as docs/metrics.md has them."""
    return {
        name: (kind, set(re.findall(r"(?:^|; )`(\w+)`", labels)))
        for name, kind, labels in ROW.findall(PAGE.read_text())
    }


@pytest.mark.parametrize("program", ["gogeta", "passivator"])
def test_prometheus_own_lint_has_nothing_to_say(scraped: Scraped, program: str) -> None:
    judged = promtool("check", "metrics", given=getattr(scraped, program))
    assert (judged.returncode, judged.stdout, judged.stderr) == (0, "", "")


def test_the_lint_would_have_something_to_say() -> None:
    judged = promtool("check", "metrics", given="# TYPE gogeta_wake_milliseconds counter\ngogeta_wake_milliseconds 1\n")
    assert judged.returncode != 0
    assert 'should have "_total" suffix' in judged.stderr


@pytest.mark.parametrize("program", ["gogeta", "passivator"])
def test_what_is_shown_is_documented_and_what_is_documented_is_shown(scraped: Scraped, program: str) -> None:
    shown: dict[str, tuple[str, set[str]]] = {}
    for family in text_string_to_metric_families(getattr(scraped, program)):
        if OF_THE_PROCESS.match(family.name) or family.name.endswith("_created"):
            continue
        labels = {label for sample in family.samples for label in sample.labels if label != "le"}
        name = family.name + ("_total" if family.type == "counter" else "")
        assert name.startswith(f"{program}_")
        shown[name] = family.type, labels
    expected = {name: told for name, told in documented().items() if name.startswith(f"{program}_")}
    assert {name for name in set(expected) - set(shown) if not ONLY_WITH.match(name)} == set()
    assert {name: told for name, told in shown.items() if expected.get(name) != told} == {}


def test_they_tell_what_happened(scraped: Scraped) -> None:
    for line in (
        'gogeta_tenant_requests_total{code="2xx",tenant="acme"} 1.0',
        'gogeta_tenant_requests_total{code="5xx",tenant="broken"} 1.0',
        'gogeta_requests_total{code="4xx"} 1.0',
        'gogeta_refusals_total{reason="unknown-host"} 1.0',
        'gogeta_wakes_total{result="asked"} 2.0',
        "gogeta_held_requests 0.0",
        "gogeta_registry_watch_behind_seconds 0.0",
    ):
        assert line in scraped.gogeta.splitlines(), line
    for line in (
        'passivator_wakes_total{cause="request"} 2.0',
        'passivator_passivations_total{cause="idle"} 1.0',
        'passivator_starts_total{reason="",result="ok"} 1.0',
        "passivator_leader 1.0",
        "passivator_memory_limit_bytes 1.073741824e+09",
    ):
        assert line in scraped.passivator.splitlines(), line
    failed = re.findall(r'passivator_starts_total\{reason="command-failed",result="failed"\} (\S+)', scraped.passivator)
    assert float(failed[0]) >= 1
    lag = re.findall(r"passivator_registry_watch_lag_seconds_count (\S+)", scraped.passivator)
    assert float(lag[0]) > 0


def test_no_host_and_no_path_is_in_any_label(scraped: Scraped) -> None:
    for text in (scraped.gogeta, scraped.passivator):
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                for label, value in sample.labels.items():
                    assert "localhost" not in value, (sample.name, label)
                    assert not value.startswith("/"), (sample.name, label)
                assert "tenant" not in sample.labels or sample.name.startswith("gogeta_tenant_")


def test_several_workers_count_a_tenants_requests_together(local_system: System) -> None:
    system = local_system
    system.declare("acme", idle="10m")
    system.serve("--workers", "2", "--metrics-tenants", "1")
    system.control()
    system.apply()
    for _ in range(20):
        # Each on a connection of its own: both workers get some.
        assert system.curl("acme.localhost").status == 200
    lines: list[str] = []
    for _ in range(100):
        # What workers report is up to half a second old.
        lines = metrics_of(system.admin).splitlines()
        if 'gogeta_tenant_requests_total{code="2xx",tenant="acme"} 20.0' in lines:
            break
    else:
        raise AssertionError([line for line in lines if "tenant_requests" in line])
    judged = promtool("check", "metrics", given="\n".join(lines) + "\n")
    assert (judged.returncode, judged.stdout, judged.stderr) == (0, "", "")
