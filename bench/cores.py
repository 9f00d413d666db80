"""Which processor cores measured programs and their load run on, so that every one of them is pinned alike."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Cores:
    """The proxy under test has the first core for itself; load and backend share all the others."""

    proxy: frozenset[int]
    others: frozenset[int]
    alone: bool
    """False on a machine with one core, which all have to share."""

    def __str__(self) -> str:
        if not self.alone:
            return f"only one core here: proxy, load and backend share core {_listed(self.proxy)}"
        return f"proxy on core {_listed(self.proxy)}; load and backend on {_listed(self.others)}"


def choose_cores() -> Cores:
    """The cores this process may use, divided."""
    usable = sorted(os.sched_getaffinity(0))
    first, others = frozenset(usable[:1]), frozenset(usable[1:])
    return Cores(first, others or first, alone=bool(others))


@contextlib.contextmanager
def pinned(cores: frozenset[int]) -> Iterator[None]:
    """What is started inside inherits these cores, from its first instruction on."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _listed(cores: frozenset[int]) -> str:
    return ", ".join(map(str, sorted(cores)))
