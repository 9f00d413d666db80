"""What is answered for a sleeping tenant without waking it, as operators declare it.

The same words stand in a tenant's ``wake`` and in gogeta's settings, so they are read here once.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, Final

from pydantic import BeforeValidator, ConfigDict, Field, PlainSerializer

ANSWER: Final = "answer"
"""Such a request is answered by gogeta, and the tenant sleeps on."""
WAKE: Final = "wake"
"""Such a request is one like all others."""
DISALLOW: Final = "disallow"
ALLOW: Final = "allow"
MAX_PATHS: Final = 64
MAX_ROBOTS: Final = 8192
MAX_WAKES: Final = 1_000_000

_PATH: Final = re.compile(r"/[!-\"$->@-~]*").fullmatch
"""As it stands in a request's target: visible ASCII, without a query or a fragment."""
_MAX_PATH: Final = 1024
_TOLD: Final = re.compile(r"(?P<path>/.*?)=(?P<status>[0-9]{3}|wake)").fullmatch


def parse_choice(value: object) -> str:
    """``answer`` or ``wake``. Raises ValueError."""
    word = str(value).strip().lower()
    if word not in (ANSWER, WAKE):
        raise ValueError(f"expected answer or wake, not {value!r}")
    return word


def parse_robots(value: object) -> str:
    """``disallow``, ``allow``, ``wake``, or the text of a robots.txt. Raises ValueError.

    A text has a colon in it, as every line of a robots.txt that says anything has; so a slip of the pen is no text.
    """
    text = str(value)
    if (word := text.strip().lower()) in (DISALLOW, ALLOW, WAKE):
        return word
    if ":" not in text or "\0" in text:
        raise ValueError(f"expected disallow, allow, wake or the text of a robots.txt, not {value!r}")
    if len(text) > MAX_ROBOTS:
        raise ValueError(f"expected a robots.txt of at most {MAX_ROBOTS} characters, not {len(text)}")
    return text


def _asleep_path(value: object) -> str:
    if not isinstance(value, str) or not _PATH(value) or len(value) > _MAX_PATH:
        raise ValueError(f"expected a path such as /healthz, without a query, not {value!r}")
    return value


def _asleep_status(value: object) -> int:
    if value == WAKE:
        return 0
    try:
        status = HTTPStatus(int(str(value)))
    except ValueError:
        status = HTTPStatus.CONTINUE
    if isinstance(value, bool) or status // 100 not in (2, 4, 5):
        raise ValueError(f"expected a status such as 200, 204 or 503, or wake, not {value!r}")
    return int(status)


@dataclass(frozen=True, slots=True)
class AsleepPath:
    """A path that is answered with a fixed status while the tenant is asleep: a health check's, say."""

    __pydantic_config__ = ConfigDict(extra="forbid", strict=False)

    path: Annotated[str, BeforeValidator(_asleep_path)]
    """Compared whole and as written; a query does not count."""
    status: Annotated[
        int, BeforeValidator(_asleep_status), PlainSerializer(lambda status: status or WAKE, return_type=object)
    ] = 200
    """0 (``wake``) where it is like any other path, although the settings say something else."""

    def __str__(self) -> str:
        """As it stands in a setting: ``/healthz=200``."""
        return f"{self.path}={self.status or WAKE}"


def parse_asleep_path(value: object) -> object:
    """``/healthz`` or ``/healthz=204`` as an AsleepPath; other forms pass to whoever validates. Raises ValueError."""
    if not isinstance(value, str):
        return value
    told = _TOLD(value)
    path, status = (told["path"], told["status"]) if told else (value, 200)
    return AsleepPath(_asleep_path(path), _asleep_status(status))


def parse_asleep_paths(value: object) -> tuple[AsleepPath, ...]:
    """A setting: a list of those, or text with commas between. Raises ValueError naming the one that is none."""
    items = value if isinstance(value, list | tuple) else [part for part in str(value).split(",") if part.strip()]
    paths = []
    for item in items:
        path = parse_asleep_path(item.strip() if isinstance(item, str) else item)
        if not isinstance(path, AsleepPath):
            raise ValueError(f"expected paths such as /healthz or /healthz=204, not {item!r}")  # noqa: TRY004 - one way
        paths.append(path)
    if len(paths) > MAX_PATHS:
        raise ValueError(f"expected at most {MAX_PATHS} paths, not {len(paths)}")
    return tuple(paths)


def _list(value: object) -> object:
    if isinstance(value, dict | str):
        raise ValueError('expected a list such as ["/healthz", {path: /ping, status: 204}]')  # noqa: TRY004 - pydantic's
    return value


Choice = Annotated[str, BeforeValidator(parse_choice)]
Robots = Annotated[str, BeforeValidator(parse_robots)]
AsleepPaths = Annotated[
    tuple[Annotated[AsleepPath, BeforeValidator(parse_asleep_path)], ...],
    BeforeValidator(_list),
    Field(max_length=MAX_PATHS),
]
PerHour = Annotated[int, Field(ge=0, le=MAX_WAKES)]
