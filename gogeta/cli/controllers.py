"""Controllers that `gogeta up` can run in its process, found by entry point.

gogeta never imports passivator: whatever package registers itself under ``gogeta.controllers`` is found here.
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import entry_points
from typing import Any, Final, Protocol

from gogeta.domain.errors import Fault, GogetaError

GROUP: Final = "gogeta.controllers"


class Controller(Protocol):
    """What an entry point of the group leads to."""

    @property
    def name(self) -> str:
        """Its program's name; also the table of the settings file that is its own."""
        ...

    @property
    def settings(self) -> type[Any]:
        """Its settings class (kit/options.py), without the registry's settings: those are gogeta's."""
        ...


class BrokenControllerError(GogetaError):
    """A package registered a controller that cannot be imported: an incomplete installation."""

    fault = Fault.OPERATOR


@cache
def find_controllers() -> tuple[Controller, ...]:
    """All controllers installed, in order of their names."""
    found = []
    for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name):
        try:
            found.append(entry.load())
        except (ImportError, AttributeError) as error:
            raise BrokenControllerError(
                f"the controller {entry.name!r} ({entry.value}) cannot be loaded: {error}",
                hint="install the package again, with its requirements",
            ) from error
    return tuple(found)
