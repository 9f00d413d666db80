"""The shared corpus of labelled wire cases, where it is: beside the checkout, never in it.

It is other people's data (two public projects, named in the file), so it is no part of this repository.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve()
WHERE = Path("shared", "corpus", "http1.json")


@dataclass(frozen=True)
class Labelled:
    """One case: bytes, and what its authors say that a strict recipient owes them."""

    name: str
    data: bytes
    label: str

    @property
    def must_refuse(self) -> bool:
        """Whether nothing of it may be forwarded."""
        return "2" not in self.label and not self.label.startswith(("llhttp", "!"))

    @property
    def must_pass(self) -> bool:
        """Whether it has to be forwarded."""
        return self.label in ("2xx", "2xx + close")


def find() -> Path | None:
    """The file, beside this checkout or beside one that this is a worktree of; None when it is not there."""
    return next((parent / WHERE for parent in HERE.parents[3:] if (parent / WHERE).is_file()), None)


def load() -> list[Labelled]:
    """All cases, each under a name of its own; empty when the file is not there."""
    path = find()
    if path is None:
        return []
    cases = []
    for number, case in enumerate(json.loads(path.read_text())["cases"]):
        data = "".join(case["chunks"]).encode("latin-1")
        cases.append(Labelled(f"{number} {case['name']}", data, case["label"]))
    return cases
