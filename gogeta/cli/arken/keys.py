"""Keys with values as nested folders, however they were listed; and the size that such a tree may have. Pure.

A folder is a dictionary, a value is text. Bytes that are no UTF-8 come as Python's surrogate escapes (from etcd's v3
API) or as U+FFFD (from its v2 API, which replaces them); whoever reads a value says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from gogeta.domain.errors import InvalidInputError, Problem

Folder = dict[str, Any]
"""Name to a value (text) or to a folder."""
OWN_VALUE: Final = ""
"""Where a key is both a value and a folder (v3 allows that), its value stands in the folder under this name."""
MAX_DEPTH: Final = 32
"""Deepest folder; an Arken tree has five levels."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """The largest tree that is read."""

    keys: int = 200_000
    """Some twenty thousand services."""
    size: int = 32 * 1024 * 1024
    """Bytes of keys and values together; through the v2 API, of the JSON that they come in."""


class Gathering:
    """A tree that grows key by key, within its bounds."""

    def __init__(self, what: str, bounds: Bounds) -> None:
        """``what`` names the tree in refusals."""
        self.what = what
        self.count = 0
        """Keys with values so far."""
        self._folders = 0
        self._bounds = bounds
        self._size = 0

    def _count_in(self, path: str, value: str | None) -> None:
        """Raise InvalidInputError when one more key (or folder: no value) is too much."""
        self.count += value is not None
        self._folders += value is None
        # Of text that is mostly ASCII, characters are bytes; the bound is about memory and need not be exact.
        self._size += len(path) + len(value or "")
        if self.count + self._folders > self._bounds.keys or self._size > self._bounds.size:
            raise self.too_large()

    def too_large(self) -> InvalidInputError:
        """The refusal of the tree for its size."""
        limit = f"at most {self._bounds.keys} keys and {self._bounds.size >> 20} MiB are read"
        return InvalidInputError(
            self.what, (Problem((), f"the tree is too large: {limit}"),), hint="name its folders more narrowly"
        )

    def refuse(self, message: str) -> InvalidInputError:
        """The refusal of the tree for its shape."""
        return InvalidInputError(self.what, (Problem((), message),))

    def add(self, folder: Folder, pairs: Iterable[tuple[str, str]], root: str) -> None:
        """Put full paths below ``root`` and their values into its folder. Raises InvalidInputError for too many."""
        for path, value in pairs:
            self._count_in(path, value)
            self._put(folder, path, path.removeprefix(root + "/").split("/"), value)

    def _put(self, folder: Folder, path: str, steps: list[str], value: str) -> None:
        if len(steps) > MAX_DEPTH:
            raise self.refuse(f"{path[:100]}... lies deeper than {MAX_DEPTH} folders")
        for step in steps[:-1]:
            inner = folder.setdefault(step, {})
            if isinstance(inner, str):
                inner = folder[step] = {OWN_VALUE: inner}
            folder = inner
        last = folder.get(steps[-1])
        if isinstance(last, dict):
            last[OWN_VALUE] = value
        else:
            folder[steps[-1]] = value

    def folder_of_node(self, node: object) -> Folder:
        """The folder from a node of the v2 API: ``{"dir": true, "nodes": [{"key", "value"}, ...]}``.

        Raises InvalidInputError for another shape.
        """
        root: Folder = {}
        todo: list[tuple[object, Folder, int]] = [(node, root, 0)]
        while todo:
            current, folder, depth = todo.pop()
            nodes = current.get("nodes", []) if isinstance(current, Mapping) else None
            if not isinstance(nodes, list) or depth > MAX_DEPTH:
                raise self.refuse(
                    f"lies deeper than {MAX_DEPTH} folders" if isinstance(nodes, list) else "holds something else"
                )
            for item in nodes:
                if not isinstance(item, Mapping) or not isinstance(item.get("key"), str):
                    raise self.refuse("holds something else than the nodes of etcd's v2 API")
                name = item["key"].rpartition("/")[2]
                if item.get("dir"):
                    inner = folder[name] = {}
                    self._count_in(name, None)
                    todo.append((item, inner, depth + 1))
                else:
                    value = item.get("value", "")
                    folder[name] = value if isinstance(value, str) else str(value)
                    self._count_in(name, folder[name])
        return root
