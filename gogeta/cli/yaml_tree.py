"""YAML read into a tree that knows the line and column of everything, safely and within bounds.

The parser's own loaders keep no places, accept the same key twice, expand aliases without limit and recurse as deep
as a hostile file asks. This one builds from parser events, without recursion over the input. It knows nothing of
tenants.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from gogeta.domain.errors import InvalidInputError, Problem

MAX_BYTES: Final = 8 << 20
"""Largest file: tens of thousands of tenants."""
MAX_DEPTH: Final = 32
"""Deepest nesting; a tenant needs seven levels."""
MAX_VALUES: Final = 2_000_000
"""Most values once aliases are expanded, so that a small file cannot grow into a large memory."""

MAX_NUMBER_LENGTH: Final = 100
"""Longest number or date: converting one of megabytes takes minutes."""

_CORE: Final = "tag:yaml.org,2002:"
_TEXT: Final = _CORE + "str"
_PLAIN_TAGS: Final = frozenset(
    {None, "!"} | {_CORE + name for name in ("str", "int", "float", "bool", "null", "map", "seq")}
)
_MERGE: Final = _CORE + "merge"

# libyaml's parser where PyYAML was built with it (ten times as fast), its own otherwise.
_Parser: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(slots=True)
class Node:
    """One value: a scalar, a list or a mapping, and where it begins (counted from one)."""

    line: int
    column: int
    scalar: Any = None
    items: list[Node] | None = None
    entries: dict[Any, tuple[Node, Node]] | None = None
    """key -> (the key's node, the value's node), merged mappings included."""
    own_keys: set[Any] = field(default_factory=set)
    """Keys written in the mapping itself, not merged into it."""


class _RefusedError(Exception):
    """The reading cannot go on; carries the problem."""

    def __init__(self, message: str, line: int | None = None, column: int | None = None) -> None:
        super().__init__(message)
        self.problem = Problem((), message, line, column)


class YamlTree:
    """A YAML document: its ``data`` as plain values, and ``place`` of any path in it."""

    def __init__(self, content: bytes, *, what: str) -> None:
        """Read ``content``. Raises InvalidInputError (``what`` names the input) for what is not one plain document."""
        if len(content) > MAX_BYTES:
            raise InvalidInputError(what, (Problem((), f"is larger than {MAX_BYTES >> 20} MiB"),))
        builder = _Builder()
        try:
            self._root = builder.build(content.decode("utf-8-sig"))
            problems = builder.problems
            self.data = None if self._root is None or problems else _plain(self._root)
        except UnicodeDecodeError as error:
            line = content.count(b"\n", 0, error.start) + 1
            problems = [Problem((), f"is not UTF-8 at byte {error.start}", line)]
        except _RefusedError as refused:
            problems = [*builder.problems, refused.problem]
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            text = ", ".join(part for part in (error.context, error.problem) if part)
            problems = [Problem((), f"is not YAML: {text}", *((mark.line + 1, mark.column + 1) if mark else ()))]
        except yaml.reader.ReaderError as error:
            problems = [Problem((), f"is not YAML: {error.reason}", content.count(b"\n", 0, error.position) + 1)]
        if problems:
            raise InvalidInputError(what, tuple(problems))

    def place(self, path: tuple[str | int, ...]) -> tuple[int, int] | None:
        """Line and column of the deepest part of ``path`` that exists: of a mapping's key, of a list's item."""
        node, found = self._root, None
        if node is None:
            return None
        for step in path:
            if node.entries is not None and step in node.entries:
                key, node = node.entries[step]
                found = key.line, key.column
            elif node.items is not None and isinstance(step, int) and step < len(node.items):
                node = node.items[step]
                found = node.line, node.column
            else:
                break
        return found or (node.line, node.column)


@dataclass(slots=True)
class _Open:
    """A collection whose end has not come yet."""

    node: Node
    anchor: str | None
    key: Node | None = None


class _Builder:
    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self._anchors: dict[str, Node] = {}
        self._stack: list[_Open] = []
        self._root: Node | None = None
        self._loader = _Parser("")
        self._merged = 0

    def build(self, text: str) -> Node | None:
        documents = 0
        for event in yaml.parse(text, Loader=_Parser):
            mark: Any = event.start_mark
            line, column = mark.line + 1, mark.column + 1
            match event:
                case yaml.DocumentStartEvent():
                    documents += 1
                    if documents > 1:
                        raise _RefusedError("expected one document, found another one here", line, column)
                case yaml.AliasEvent():
                    self._alias(event.anchor, line, column)
                case yaml.ScalarEvent():
                    self._place(self._scalar(event, line, column), event.anchor)
                case yaml.SequenceStartEvent() | yaml.MappingStartEvent():
                    self._open(event, line, column)
                case yaml.SequenceEndEvent() | yaml.MappingEndEvent():
                    closed = self._stack.pop()
                    # An anchor is known from its end on, so that no alias can lead into itself.
                    self._place(closed.node, closed.anchor)
                case _:
                    pass
        return self._root

    def _open(self, event: Any, line: int, column: int) -> None:  # noqa: ANN401 - one of two event classes
        self._refuse_tag(event.tag, line, column)
        if len(self._stack) >= MAX_DEPTH:
            raise _RefusedError(f"is nested deeper than {MAX_DEPTH} levels", line, column)
        if isinstance(event, yaml.MappingStartEvent):
            node = Node(line, column, entries={})
        else:
            node = Node(line, column, items=[])
        self._stack.append(_Open(node, event.anchor))

    def _alias(self, anchor: str | None, line: int, column: int) -> None:
        if anchor is None or anchor not in self._anchors:
            raise _RefusedError(f"there is no anchor &{anchor} before this alias", line, column)
        self._place(self._anchors[anchor], None)

    def _scalar(self, event: Any, line: int, column: int) -> Node:  # noqa: ANN401 - yaml's events are untyped
        self._refuse_tag(event.tag, line, column)
        tag = event.tag
        if tag is None or tag == "!":
            tag = self._loader.resolve(yaml.ScalarNode, event.value, event.implicit)
        if tag == _MERGE:
            return Node(line, column, scalar=_MERGING)
        construct = self._loader.yaml_constructors.get(tag) if tag != _TEXT else None
        if construct is None:
            return Node(line, column, scalar=event.value)
        if len(event.value) <= MAX_NUMBER_LENGTH:
            # Not only ValueError: a constructor looks words up without asking first (`!!bool maybe`).
            with contextlib.suppress(yaml.YAMLError, ValueError, KeyError, OverflowError, AttributeError):
                return Node(line, column, scalar=construct(self._loader, yaml.ScalarNode(tag, event.value)))
        kind = tag.removeprefix(_CORE)
        self.problems.append(Problem((), f"is not a valid {kind}: {event.value[:60]!r}", line, column))
        return Node(line, column)

    def _refuse_tag(self, tag: str | None, line: int, column: int) -> None:
        if tag not in _PLAIN_TAGS:
            self.problems.append(Problem((), f"the tag {tag!r} is not accepted here", line, column))

    def _place(self, node: Node, anchor: str | None) -> None:
        if anchor:
            self._anchors[anchor] = node
        if not self._stack:
            self._root = node
            return
        top = self._stack[-1]
        if top.node.items is not None:
            top.node.items.append(node)
        elif top.key is None:
            top.key = node
        else:
            key, top.key = top.key, None
            self._entry(top.node, key, node)

    def _entry(self, mapping: Node, key: Node, value: Node) -> None:
        assert mapping.entries is not None  # noqa: S101 - tells the type checker what the caller looked at
        if key.scalar is _MERGING:
            self._merge(mapping, value)
        elif key.items is not None or key.entries is not None:
            self.problems.append(Problem((), "expected text as a key", key.line, key.column))
        elif key.scalar in mapping.own_keys:
            first = mapping.entries[key.scalar][0].line
            message = f"{str(key.scalar)[:60]!r} is there already, in line {first}"
            self.problems.append(Problem((), message, key.line, key.column))
        else:
            mapping.own_keys.add(key.scalar)
            mapping.entries[key.scalar] = key, value

    def _merge(self, mapping: Node, value: Node) -> None:
        assert mapping.entries is not None  # noqa: S101 - ditto
        for source in value.items if value.items is not None else [value]:
            if source.entries is None:
                self.problems.append(Problem((), "expected a mapping to merge with <<", value.line, value.column))
                return
            self._merged += len(source.entries)
            if self._merged > MAX_VALUES:
                raise _RefusedError(f"merges more than {MAX_VALUES} values with <<", value.line, value.column)
            for key, entry in source.entries.items():
                # What is written here wins over what is merged, and an earlier merge over a later one.
                mapping.entries.setdefault(key, entry)


_MERGING: Final = object()


def _plain(root: Node) -> Any:  # noqa: ANN401 - any plain data
    count = 0

    def convert(node: Node, depth: int) -> Any:  # noqa: ANN401 - ditto
        nonlocal count
        count += 1
        if count > MAX_VALUES:
            raise _RefusedError(
                f"has more than {MAX_VALUES} values once its aliases are expanded", node.line, node.column
            )
        if depth > MAX_DEPTH:
            raise _RefusedError(f"is nested deeper than {MAX_DEPTH} levels", node.line, node.column)
        if node.items is not None:
            return [convert(item, depth + 1) for item in node.items]
        if node.entries is not None:
            return {key: convert(value, depth + 1) for key, (_, value) in node.entries.items()}
        return "<<" if node.scalar is _MERGING else node.scalar

    return convert(root, 0)
