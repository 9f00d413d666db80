"""From settings to a store: the one place that knows which stores there are."""

from __future__ import annotations

from pathlib import Path

from gogeta.domain.errors import InvalidInputError, Problem
from gogeta.registry.embedded import EmbeddedStore
from gogeta.registry.store import Store
from gogeta.settings import RegistrySettings


def open_store(settings: RegistrySettings) -> Store:
    """The store that the settings name; its user closes it.

    A store on a network is opened without touching the network, so that a program can start while it is down. Raises
    InvalidInputError for settings that cannot be used (a missing folder, an unreadable certificate), RegistryError for
    a file that cannot be opened.
    """
    return _open_embedded(settings)


def _open_embedded(settings: RegistrySettings) -> EmbeddedStore:
    path = Path(settings.registry.path)
    if not path.parent.is_dir():
        raise InvalidInputError(
            "registry",
            (Problem((), f"the folder {path.parent} of {settings.registry} does not exist"),),
            hint=f"make it: mkdir -p {path.parent}",
        )
    if path.is_dir():
        raise InvalidInputError(
            "registry", (Problem((), f"{path} is a folder"),), hint=f"name a file in it: embedded:{path}/gogeta.db"
        )
    return EmbeddedStore(str(path), timeout=settings.registry_timeout)
