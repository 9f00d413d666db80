"""Heads and lines that were judged before: the same bytes need no second judgement.

Judging is a pure function of bytes, and clients and tenants say the same thing again and again: a browser, a program or
a monitor repeats its fields with each request, and an answer's head stays the same for a second or longer. What is kept
is the judgement, made by the full parser and all rules, under the exact bytes that it was made of; whoever asks has to
know that these bytes are one whole head, or line. It never holds what was refused.
"""

from __future__ import annotations

from typing import Generic, TypeVar

J = TypeVar("J")


class Memory(Generic[J]):
    """Judgements by the bytes they were made of: bounded in number and size, the least recently used forgotten first.

    ``get`` is the dictionary's own, so that a look-up costs one hash: a miss is made good by ``recall``, which also
    knows the older half.
    """

    __slots__ = ("_limit", "_longest", "_old", "_young", "get")

    def __init__(self, limit: int = 512, *, longest: int = 4096) -> None:
        """At most twice ``limit`` judgements are kept, and none of more than ``longest`` bytes."""
        self._limit = limit
        self._longest = longest
        self._young: dict[bytes, J] = {}
        self._old: dict[bytes, J] = {}
        self.get = self._young.get

    def __len__(self) -> int:
        """How many judgements are kept."""
        return len(self._young) + len(self._old)

    def __repr__(self) -> str:
        """One line for logs and tests."""
        return f"<Memory {len(self)}/{2 * self._limit}>"

    def recall(self, head: bytes) -> J | None:
        """What was known of this head before the last turn of generations; known as a young one from now on."""
        judgement = self._old.pop(head, None)
        if judgement is not None:
            self.learn(head, judgement)
        return judgement

    def learn(self, head: bytes, judgement: J) -> None:
        """Keep a judgement; nothing is kept of a head that is too long."""
        if len(head) > self._longest:
            return
        if len(self._young) >= self._limit:
            self._old, self._young = self._young, {}
            self.get = self._young.get
        self._young[head] = judgement
