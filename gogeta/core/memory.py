"""Heads and lines that were judged before: the same bytes need no second judgement.

Judging is a pure function of bytes, and clients and tenants say the same thing again and again: a browser, a program or
a monitor repeats its fields with each request, and an answer's head stays the same for a second or longer. What is kept
is the judgement, made by the full rules, under the exact bytes that it was made of; whoever asks has to know that these
bytes are one whole head, or line. It never holds what was refused.
"""

from __future__ import annotations

from typing import Final, Generic, TypeVar

J = TypeVar("J")

_DOORS: Final = 2048
"""How many of the last bytes that were new are recognised when they come once more. A power of two."""


class Memory(Generic[J]):
    """Judgements by the bytes they were made of: bounded in number and size, the least recently used forgotten first.

    What is said once is not kept: only the second time tells that there may be a third, and most of what never comes
    again would push out what does. ``get`` is the dictionary's own, so that a look-up costs one hash; a miss is made
    good by ``recall``, which also knows the older half.
    """

    __slots__ = ("_doors", "_limit", "_longest", "_old", "_young", "get")

    def __init__(self, limit: int = 512, *, longest: int = 4096) -> None:
        """At most twice ``limit`` judgements are kept, and none of more than ``longest`` bytes."""
        self._limit = limit
        self._longest = longest
        self._young: dict[bytes, J] = {}
        self._old: dict[bytes, J] = {}
        self._doors = [0] * _DOORS
        self.get = self._young.get

    def __len__(self) -> int:
        """How many judgements are kept."""
        return len(self._young) + len(self._old)

    def __repr__(self) -> str:
        """One line for logs and tests."""
        return f"<Memory {len(self)}/{2 * self._limit}>"

    def recall(self, said: bytes) -> J | None:
        """What was known before the last turn of generations; known as a young one from now on."""
        judgement = self._old.pop(said, None)
        if judgement is not None:
            self._keep(said, judgement)
        return judgement

    def learn(self, said: bytes, judgement: J) -> None:
        """Keep the judgement of what was said a second time."""
        mark = hash(said)
        door = mark & (_DOORS - 1)
        if self._doors[door] != mark:
            self._doors[door] = mark
        elif len(said) <= self._longest:
            self._keep(said, judgement)

    def _keep(self, said: bytes, judgement: J) -> None:
        if len(self._young) >= self._limit:
            self._old, self._young = self._young, {}
            self.get = self._young.get
        self._young[said] = judgement
