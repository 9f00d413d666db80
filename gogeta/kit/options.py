"""Settings declared once: a frozen dataclass whose fields carry their help, unit and parser.

Flags, environment variables, TOML keys and the reference page all derive from these fields. This module knows the
declaration; reading them from the three sources and showing them is built on ``declared``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

_KEY: Final = "gogeta.option"
ON_OFF: Final = ("on", "off")
"""The choices of a switch: its flag may stand alone, and then means the first."""


@dataclass(frozen=True, slots=True)
class Option:
    """One setting.

    The flag is ``--`` and the name with hyphens, the variable is the program's prefix and the name in capitals
    (``GOGETA_LISTEN``), the TOML key is the name.
    """

    name: str
    default: Any
    help: str
    parse: Callable[[object], Any]
    """From text (flags, environment) or a TOML value to the setting's value; ValueError says what was expected."""
    show: Callable[[Any], str]
    """The value as a person would write it."""
    metavar: str
    choices: tuple[str, ...] = ()
    section: str = ""
    """Heading under which help and docs list it."""


def option(
    default: Any,  # noqa: ANN401 - a setting may have any type
    *,
    help: str,  # noqa: A002 - the word users know
    parse: Callable[[object], Any],
    show: Callable[[Any], str] = str,
    metavar: str = "TEXT",
    choices: tuple[str, ...] = (),
    section: str = "",
) -> Any:  # noqa: ANN401 - stands for a field of any type
    """Declare a setting as a field of a frozen dataclass."""
    return dataclasses.field(
        default=default,
        metadata={
            _KEY: Option(
                name="",
                default=default,
                help=help,
                parse=parse,
                show=show,
                metavar=metavar,
                choices=choices,
                section=section,
            )
        },
    )


def declared(settings: type) -> tuple[Option, ...]:
    """All settings of a settings class, in order of declaration."""
    return tuple(
        dataclasses.replace(field.metadata[_KEY], name=field.name)
        for field in dataclasses.fields(settings)
        if _KEY in field.metadata
    )
