"""Reference pages of values, made from their dataclasses: docs/tenants.md and docs/registry-schema.md.

A field's type, its default and the words beneath it are read from the class that the programs read and write with, so
the pages say what the code does. `docs/generate.py` writes them and a test fails when they are stale. It must not know
how a value is stored or who may write it: docs/registry.md says that.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import itertools
import re
from collections.abc import Iterable, Iterator
from enum import Enum
from types import ModuleType, UnionType
from typing import Annotated, Any, Final, NewType, Union, get_args, get_origin, get_type_hints

from pydantic import BeforeValidator, PlainSerializer
from pydantic.fields import FieldInfo

from gogeta.domain.discovery import Discovery
from gogeta.domain.quantities import format_duration, parse_duration, parse_duration_or_never, parse_size
from gogeta.domain.sleeping import parse_percent
from gogeta.domain.state import DesiredState, LastAccess, Leader, Member, ObservedState, Suspicion, Told
from gogeta.domain.tenant import Tenant, TenantsFile, parse_limit
from gogeta.domain.timeline import Timeline, WakeReport
from gogeta.domain.tokens import Token
from gogeta.domain.wakefulness import Vetoes
from gogeta.registry import keys
from gogeta.registry.codec import MAX_VALUE_BYTES, VERSION

KEYS: Final[dict[str, tuple[str, type | None]]] = {
    "TENANTS": ("NAME", Tenant),
    "DESIRED": ("NAME", DesiredState),
    "OBSERVED": ("NAME", ObservedState),
    "ACCESS": ("NAME", LastAccess),
    "SUSPECTS": ("NAME", Suspicion),
    "TIMELINE": ("NAME", Timeline),
    "WAKES": ("NAME", WakeReport),
    "VETOES": ("NAME", Vetoes),
    "MEMBERS": ("KIND-ID", Member),
    "LEADERS": ("GROUP", Leader),
    "WEBHOOKS": ("GROUP", Told),
    "DISCOVERY": ("GROUP", Discovery),
    "TOKENS": ("NAME", Token),
    "GENERATION": ("", None),
}
"""Each constant of ``gogeta.registry.keys``: what stands behind the prefix, and the class of the value."""

_QUANTITIES: Final = {
    parse_duration: "duration",
    parse_duration_or_never: "duration, or `never`",
    parse_limit: "duration, or `never`",
    parse_size: "size",
    parse_percent: "percent",
}
_PLAIN: Final = {str: "text", int: "whole number", float: "number", bool: "true or false", type(None): "null"}

_TENANTS: Final = """\
# tenants.yaml

<!-- Made by docs/generate.py from the dataclasses that it is read with; do not edit. -->

Every field of a tenant, as `gogeta apply` and `gogeta up` read it from a file, the admin API from a body
([api.md](api.md)), and the registry from a key ([registry.md](registry.md)). What fields are for is told by example in
[tutorial.md](tutorial.md), [sleeping.md](sleeping.md), [waking.md](waking.md) and [drivers.md](drivers.md).

A *duration* is a number of seconds, or text such as `500ms`, `30s`, `30m`, `1h30m`; a *size* is a number of bytes, or
text such as `64k`, `256m`, `2g` (powers of 1024). What is at its default need not be said. A field that is not known is
refused, with the nearest one that is.

"""
_SCHEMA: Final = f"""\
# The registry's schema

<!-- Made by docs/generate.py from the keys and the dataclasses of their values; do not edit. -->

Every key, and every member of every value. Who may write what, by which rules, and examples are in
[registry.md](registry.md).

A value is a JSON object of at most {MAX_VALUE_BYTES // 1024} KiB with the member `"version": {VERSION}`. Members at
their default are left out. Members that a reader does not know are passed over, but those of a declaration are refused.
Times are epoch milliseconds in UTC, by the writer's clock.

## Keys

| key | value | is |
|---|---|---|
"""


def tenants_page() -> str:
    """docs/tenants.md."""
    return _TENANTS + "\n".join(_chapters((TenantsFile,), frozenset()))


def schema_page() -> str:
    """docs/registry-schema.md."""
    words = _words_beneath(keys)
    rows = []
    for constant, (behind, kind) in KEYS.items():
        value = "any" if kind is None else "[`Tenant`](tenants.md#tenant)" if kind is Tenant else _link(kind)
        rows.append(f"| `{getattr(keys, constant)}{behind}` | {value} | {words[constant]} |")
    kinds = [kind for _, kind in KEYS.values() if kind is not None]
    return _SCHEMA + "\n".join([*rows, "", *_chapters(kinds, frozenset({Tenant}))])


def _chapters(first: Iterable[type], elsewhere: frozenset[type]) -> Iterator[str]:
    """One chapter for each class that can be reached from ``first``, in the order of first mention."""
    waiting, told = list(first), set(elsewhere)
    while waiting:
        kind = waiting.pop(0)
        if kind in told:
            continue
        told.add(kind)
        hints = get_type_hints(kind, include_extras=True)
        waiting[:0] = [part for hint in hints.values() for part in _classes_in(hint)]
        yield f"## {kind.__name__}\n"
        yield f"{_sentence(inspect.getdoc(kind) or '', inspect.getmodule(kind))}\n"
        yield "| member | is a | default | |"
        yield "|---|---|---|---|"
        words = _words_beneath(kind)
        for field in dataclasses.fields(kind):
            shown = _shown(hints[field.name])
            yield f"| `{field.name}` | {shown} | {_default(field, shown)} | {words.get(field.name, '')} |"
        yield ""


def _words_beneath(source: type | ModuleType) -> dict[str, str]:
    """The text beneath each annotated name of a class or a module: what a reader of the code reads there."""
    tree: ast.AST = ast.parse(inspect.cleandoc(inspect.getsource(source)))
    body = tree.body if isinstance(tree, ast.Module) else []
    if isinstance(source, type) and isinstance(body[0], ast.ClassDef):
        body = body[0].body
    found = {}
    for before, after in itertools.pairwise(body):
        if (
            isinstance(before, ast.AnnAssign)
            and isinstance(before.target, ast.Name)
            and isinstance(after, ast.Expr)
            and isinstance(after.value, ast.Constant)
        ):
            found[before.target.id] = _sentence(str(after.value.value), inspect.getmodule(source))
    return found


def _sentence(text: str, source: ModuleType | None) -> str:
    """A docstring's first paragraph as one line of Markdown; constants of its module are said as their values."""
    first = re.split(r"\n\s*\n", text.strip())[0]
    plain = re.sub(r"\s+", " ", first).replace("``", "`").replace("|", "\\|")
    # Readers of the page know no Python, nor our constants.
    plain = re.sub(r"`(MOST_\w+)`", lambda found: f"{getattr(source, found[1])}", plain)
    return re.sub(r"\bNone\b", "null", plain)


def _classes_in(hint: Any) -> Iterator[type]:  # noqa: ANN401 - walks type hints of any shape
    if get_origin(hint) is Annotated and any(isinstance(part, PlainSerializer) for part in hint.__metadata__):
        return
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        yield hint
    for part in get_args(hint):
        yield from _classes_in(part)


def _link(kind: type) -> str:
    return f"[`{kind.__name__}`](#{kind.__name__.lower()})"


def _shown(hint: Any) -> str:  # noqa: ANN401 - ditto
    """A type in a reader's words."""
    if get_origin(hint) is Annotated:
        return _annotated(hint)
    if isinstance(hint, NewType):
        return _shown(hint.__supertype__)
    if get_origin(hint) in (Union, UnionType):
        # That a member may be null is said by its default.
        return " or ".join(_shown(part) for part in get_args(hint) if part is not type(None))
    if get_origin(hint) is tuple:
        parts = get_args(hint)
        return f"list of {_shown(parts[0])}" if parts[-1] is Ellipsis else f"[{', '.join(map(_shown, parts))}]"
    if get_origin(hint) is dict:
        return f"mapping of {_shown(get_args(hint)[1])}"
    if isinstance(hint, type) and issubclass(hint, Enum):
        return ", ".join(f"`{each.value}`" for each in hint)
    return _PLAIN[hint] if hint in _PLAIN else _link(hint)


def _annotated(hint: Any) -> str:  # noqa: ANN401 - ditto
    kind, *notes = get_args(hint)
    for note in notes:
        if isinstance(note, BeforeValidator) and note.func in _QUANTITIES:
            return _QUANTITIES[note.func] + _bounds(notes)
    if any(isinstance(note, PlainSerializer) for note in notes):
        return "text"
    return _shown(kind) + _bounds(notes, " characters" if kind is str else "")


def _bounds(notes: Iterable[object], of: str = "") -> str:
    limits = [limit for note in notes if isinstance(note, FieldInfo) for limit in note.metadata]
    told = []
    for name, word in (("gt", "more than"), ("ge", "at least"), ("le", "at most"), ("min_length", "at least")):
        told += [f"{word} {getattr(each, name)}" for each in limits if hasattr(each, name)]
    told += [f"at most {each.max_length}{of}" for each in limits if hasattr(each, "max_length")]
    return f" ({', '.join(told)})" if told else ""


def _default(field: dataclasses.Field[Any], shown: str) -> str:
    value = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
    if value is dataclasses.MISSING:
        return "required"
    if value is None:
        return "`never`" if "never" in shown else ""
    if value in ((), {}, "") or dataclasses.is_dataclass(value):
        return ""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{format_duration(value)}`" if shown.startswith("duration") else f"`{value}`"
