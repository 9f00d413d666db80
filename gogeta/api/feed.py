"""The latest changes of tenants, numbered, so that a listener that was away goes on where it was.

A bounded ring, pure. An id is ``EPOCH-NUMBER``: the epoch tells one run of a process from another, so that an id of an
earlier run is seen to be one, and is answered with ``reset`` instead of a gap. It knows no network and no registry.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

LIMIT: Final = 4096
"""Events that are kept, if nothing else is said."""
_ID: Final = re.compile(r"([0-9a-z]{1,32})-(0|[1-9][0-9]{0,18})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Event:
    """One event: ``kind`` is ``tenant``, ``removed``, ``hello`` or ``reset``."""

    number: int
    id: str
    kind: str
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Missed:
    """What was asked for is not there any more: the listener has to look at the state as a whole, then go on."""

    why: str


class Feed:
    """The ring (see the module's docstring)."""

    def __init__(self, epoch: str, limit: int = LIMIT) -> None:
        """``epoch``: 1 to 32 digits and letters a-z that no other run has; ``limit``: most events kept, at least 1."""
        if not _ID.fullmatch(f"{epoch}-0") or limit < 1:
            raise ValueError(
                f"expected an epoch of letters and digits and a limit of 1 or more, not {epoch!r}, {limit}"
            )
        self._epoch = epoch
        self._events: deque[Event] = deque(maxlen=limit)
        self.last = 0
        """Number of the latest event; 0 before the first."""

    @property
    def last_id(self) -> str:
        """The id of the latest event: what follows it is new."""
        return self.id_of(self.last)

    def id_of(self, number: int) -> str:
        """The id of an event of this run."""
        return f"{self._epoch}-{number}"

    def append(self, kind: str, data: Mapping[str, Any]) -> Event:
        """One more event; the oldest goes when there is no room."""
        self.last += 1
        event = Event(self.last, self.id_of(self.last), kind, data)
        self._events.append(event)
        return event

    def number_of(self, text: str) -> int | Missed:
        """The number in an id of this run; ``Missed`` for an id of another. Raises ValueError for what is no id."""
        found = _ID.fullmatch(text)
        if found is None:
            raise ValueError(f"expected an id that this feed gave, such as {self.last_id}, not {text[:80]!r}")
        epoch, number = found[1], int(found[2])
        if epoch != self._epoch or number > self.last:
            return Missed("the id is of another run of this process")
        return number

    def after(self, number: int, most: int = LIMIT) -> list[Event] | Missed:
        """Up to ``most`` events after ``number``, the oldest first; ``Missed`` when some of them are gone already."""
        first = self.last - len(self._events) + 1
        if number + 1 < first:
            return Missed(f"only the latest {len(self._events)} events are kept")
        start = number + 1 - first
        return [self._events[place] for place in range(start, min(len(self._events), start + most))]
