"""The stage as a fixture."""

from collections.abc import AsyncIterator

import pytest

from tests.passivator.stage import Stage


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    """A registry, a runtime and no passivator yet; default settings."""
    stage = Stage()
    yield stage
    await stage.kill()
