"""Hooks and fixtures of the whole test run. The fixtures themselves live in `tests.rig`, which documents them."""

import asyncio
from collections.abc import Callable, Mapping

import pytest
import uvloop

from tests.rig.virtual_time import VirtualTimeLoop


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
