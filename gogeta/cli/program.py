"""gogeta as a program with settings: its name, and which settings classes its commands can have between them."""

from __future__ import annotations

from collections.abc import Iterable

from gogeta.kit.sources import Program
from gogeta.settings import ServeSettings


def _every() -> Iterable[type]:
    from gogeta.cli.controllers import find_controllers  # noqa: PLC0415 - imports whole programs

    return (ServeSettings, *(controller.settings for controller in find_controllers()))


GOGETA = Program("gogeta", _every)
"""``gogeta`` as kit/sources.py wants to know it."""
