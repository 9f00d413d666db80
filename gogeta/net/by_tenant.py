"""Answers counted by tenant, for at most so many tenants: where to count, and what of it is shown under which name.

A request adds to one list, its tenant's; where nothing is shown by tenant, that is the one list of all, so that the way
of a request is the same and costs the same. Who has a name of its own is decided when somebody looks: those that were
declared first, so that all workers and proxies name the same. The others share one list, shown as ``OTHER``.

No number that is shown ever falls while its tenant is there: who gets a name later, because others were removed, begins
at nothing, and what it had before stays with the others.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from gogeta.net.fleet import Entry

OTHER: Final = "_other"
"""Stands for all tenants without a name of their own here; no tenant can be called so."""
CLASSES: Final = 6
"""Answers are counted by the first digit of their status."""


class AnswersByTenant:
    """The lists that one worker's answers are counted in."""

    def __init__(self, most: int, answers: list[int]) -> None:
        """At most ``most`` tenants are named; 0: none is, and nothing is counted apart.

        ``answers``: where answers are counted that belong to no tenant, or to one that is gone.
        """
        self.most = most
        self._answers = answers
        self._other = [0] * CLASSES
        self._named: dict[str, Entry] = {}
        self._changed = True
        """Whether tenants have come or gone since somebody looked."""

    def begin(self) -> list[int]:
        """Where the answers of a tenant that is new here are counted."""
        self._changed = True
        return [0] * CLASSES if self.most else self._answers

    def end(self, entry: Entry) -> None:
        """A tenant is gone; what is still under way there is counted with what has no tenant."""
        self._changed = True
        self._named.pop(entry.name, None)
        if entry.answers is not self._other and self.most:
            _add(self._answers, entry.answers)
            entry.answers = self._answers

    def named(self, entries: Collection[Entry]) -> dict[str, Entry]:
        """The tenants that have a name of their own, as of now."""
        if self._changed and self.most:
            self._changed = False
            self._name(entries)
        return self._named

    def shown(self, entries: Collection[Entry]) -> dict[str, list[int]]:
        """Answers by name: of each named tenant, and of the others if there are any."""
        shown = {name: list(entry.answers) for name, entry in self.named(entries).items()}
        if self.most and (len(shown) < len(entries) or any(self._other)):
            shown[OTHER] = list(self._other)
        return shown

    def total(self, shown: Mapping[str, list[int]]) -> list[int]:
        """All answers of this worker; ``shown``: as told by ``shown``, at the same moment."""
        return list(map(sum, zip(self._answers, *shown.values(), strict=True)))

    def _name(self, entries: Collection[Entry]) -> None:
        nameless = sorted(
            (entry for entry in entries if entry.name not in self._named),
            key=lambda entry: (entry.record.created, entry.name),
        )
        free = self.most - len(self._named)
        for entry in nameless[:free]:
            self._named[entry.name] = entry
            if entry.answers is self._other:
                entry.answers = [0] * CLASSES
        for entry in nameless[free:]:
            if entry.answers is not self._other:
                _add(self._other, entry.answers)
                entry.answers = self._other


def _add(to: list[int], more: list[int]) -> None:
    for place, number in enumerate(more):
        to[place] += number
