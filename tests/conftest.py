"""Hooks and fixtures of the whole test run. The fixtures themselves live in `tests.rig`, which documents them."""

import asyncio
import os
from collections.abc import Callable, Iterator, Mapping

import pytest
import uvloop

from tests.rig.fixtures import *  # noqa: F403  # its __all__ is the list of fixtures
from tests.rig.missing import summary
from tests.rig.virtual_time import VirtualTimeLoop

# Which marker the use of a fixture brings along.
_MARKER_OF_FIXTURE = {
    "chromium": "browser",
    "docker": "docker",
    "etcd": "etcd",
    "etcd_cluster": "etcd",
    "make_etcd": "etcd",
}


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The loop, or loops, that a test runs on, by its marker (see `tests.rig`)."""
    if item.get_closest_marker("virtual_time"):
        return {"virtual_time": VirtualTimeLoop}
    if item.get_closest_marker("any_loop"):
        return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
    if item.get_closest_marker("uvloop"):
        return {"uvloop": uvloop.new_event_loop}
    return {"asyncio": asyncio.new_event_loop}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests by the parts they use, and run the end-to-end ones last: a unit test says more about a fault.

    The end-to-end ones run whole programs on the real clock, and a machine that stands still for some seconds can
    upset any of them. One that failed is run once more; the closing lines tell of it, with what it said the first time.
    """
    for item in items:
        for fixture in getattr(item, "fixturenames", ()):
            if marker := _MARKER_OF_FIXTURE.get(fixture):
                item.add_marker(marker)
        if item.get_closest_marker("e2e"):
            item.add_marker(pytest.mark.flaky(reruns=1))
    items.sort(key=lambda item: item.get_closest_marker("e2e") is not None)


def _not_run(config: pytest.Config) -> str | None:
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    return summary(reporter.stats.get("skipped", [])) if reporter else None


@pytest.hookimpl(wrapper=True)
def pytest_sessionfinish(session: pytest.Session) -> Iterator[None]:
    """In CI every part must be there: a run that left tests out for want of one has failed."""
    if os.environ.get("CI") and session.exitstatus == pytest.ExitCode.OK and _not_run(session.config):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
    return (yield)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """What must not be overlooked: the tests that failed at first, and those that did not run for want of a part."""
    for report in terminalreporter.stats.get("rerun", []):
        terminalreporter.write_line(f"FAILED AT FIRST {report.nodeid}", yellow=True)
        terminalreporter.write_line(report.longreprtext[-3000:])
    if line := _not_run(config):
        terminalreporter.write_line(line, red=bool(os.environ.get("CI")), yellow=True)
