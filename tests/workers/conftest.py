"""What the tests of processes share."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.rig.programs import ProcessRack
from tests.workers.served import Backend, Served


@pytest.fixture
async def served(processes: ProcessRack, tmp_path: Path) -> AsyncIterator[Served]:
    """`gogeta serve`, not started yet, with a tenant ``acme.test`` whose application runs."""
    async with Backend().running() as port:
        made = Served(processes, tmp_path)
        made.declare(port)
        yield made


@pytest.fixture
async def backend(processes: ProcessRack, tmp_path: Path) -> AsyncIterator[tuple[Served, Backend]]:
    """As ``served``, with the application for the test to steer."""
    application = Backend()
    async with application.running() as port:
        made = Served(processes, tmp_path)
        made.declare(port)
        yield made, application
