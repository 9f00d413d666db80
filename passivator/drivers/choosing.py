"""Which driver the settings ask for. The only module that knows all of them."""

from __future__ import annotations

from pathlib import Path

from passivator.drivers.base import Driver
from passivator.drivers.process import ProcessDriver
from passivator.settings import ControllerSettings


def open_driver(settings: ControllerSettings) -> Driver:
    """The driver named by ``settings.driver``, not opened yet."""
    return ProcessDriver(Path(settings.state_dir))
