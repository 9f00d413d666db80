"""The labels by which Compose says what its containers are: pure, and without anything that an engine says of them.

Compose 2 puts what a service depends on on each of its containers, Compose 1 does not.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from passivator.drivers.base import PREFIX

PROJECT_LABEL: Final = "com.docker.compose.project"
SERVICE_LABEL: Final = "com.docker.compose.service"
NUMBER_LABEL: Final = "com.docker.compose.container-number"
ONE_OFF_LABEL: Final = "com.docker.compose.oneoff"
COMPOSE_DEPENDS_LABEL: Final = "com.docker.compose.depends_on"
DEPENDS_LABEL: Final = f"{PREFIX}.depends-on"
"""The same in an operator's own words: for Compose 1, and for containers that no Compose made."""


class Condition(StrEnum):
    """What a service waits for, in Compose's words."""

    STARTED = "service_started"
    HEALTHY = "service_healthy"
    COMPLETED = "service_completed_successfully"


def is_one_off(labels: Mapping[str, str]) -> bool:
    """Whether it was made by ``compose run``: no part of the project's application."""
    return labels.get(ONE_OFF_LABEL, "").lower() == "true"


def number_of(labels: Mapping[str, str]) -> int:
    """Which of a service's containers it is, from 1; 1 where that cannot be read."""
    number = labels.get(NUMBER_LABEL, "")
    return int(number) if number.isascii() and number.isdigit() and len(number) < 10 else 1


def parse_depends_on(text: str) -> dict[str, Condition]:
    """Services and what is waited for: ``db:service_healthy,cache``, as Compose writes it. Raises ValueError."""
    needs = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        service, _, rest = part.partition(":")
        # Compose adds whether a restart of the other restarts this one, which is Compose's own business.
        word = rest.partition(":")[0] or Condition.STARTED
        if word not in tuple(Condition):
            raise ValueError(f"expected {', '.join(Condition)} after {service!r}, not {word!r}")
        if not service:
            raise ValueError(f"expected services such as db:service_healthy, not {part!r}")
        needs[service] = Condition(word)
    return needs
