"""Strict reading of outside data into domain values, with every problem named.

One way in for files, registry values and API bodies: unknown fields are refused with the nearest valid name, and all
problems are reported at once, each with the path to it. Nothing is half read.
"""

from __future__ import annotations

import dataclasses
import difflib
from types import UnionType
from typing import Annotated, Any, Final, TypeVar, Union, get_args, get_origin, get_type_hints

from pydantic import TypeAdapter, ValidationError

from gogeta.domain.errors import InvalidInputError, Problem

T = TypeVar("T")

_EXPECTED: Final = {
    "missing": "is missing",
    "string_type": "expected text",
    "tuple_type": "expected a list",
    "list_type": "expected a list",
    "dict_type": "expected a mapping",
    "dataclass_type": "expected a mapping of fields",
    "int_type": "expected a whole number",
    "int_parsing": "expected a whole number",
    "bool_type": "expected true or false",
}


_adapters: dict[type, TypeAdapter[Any]] = {}


def adapter(kind: type[T]) -> TypeAdapter[T]:
    """The validator of a type, built once."""
    found = _adapters.get(kind)
    if found is None:
        found = _adapters[kind] = TypeAdapter(kind)
    return found


def read(kind: type[T], data: object, *, what: str) -> T:
    """``data`` (as JSON or YAML gives it) as a value of ``kind``.

    Raises InvalidInputError listing every problem, in the order of the data; ``what`` names the input in it.
    """
    try:
        return adapter(kind).validate_python(data)
    except ValidationError as error:
        raise InvalidInputError(what, problems(kind, error)) from None


def read_json(kind: type[T], data: bytes | str, *, what: str) -> T:
    """The same from JSON text."""
    try:
        return adapter(kind).validate_json(data)
    except ValidationError as error:
        raise InvalidInputError(what, problems(kind, error)) from None


def problems(kind: type[object], error: ValidationError) -> tuple[Problem, ...]:
    """Our own wording of a validator's complaints."""
    found = []
    for item in error.errors(include_url=False):
        path = tuple(item["loc"])
        if item["type"] in {"unexpected_keyword_argument", "extra_forbidden"}:
            message = _unknown_field(kind, path)
        elif item["type"] == "missing_argument":
            message = "is missing"
        elif item["type"] == "value_error":
            message = str(item["ctx"]["error"])
        elif item["type"] == "json_invalid":
            message = f"is not JSON ({item['ctx']['error']})"
        else:
            message = _EXPECTED.get(item["type"]) or item["msg"][:1].lower() + item["msg"][1:]
            if item["type"] != "missing":
                message += f", not {_shown(item['input'])}"
        found.append(Problem(path, message))
    return tuple(found)


def nearest(name: str, valid: list[str]) -> str | None:
    """The valid name closest to a mistyped one, or None when none is close."""
    close = difflib.get_close_matches(name.lower().replace("-", "_"), valid, n=1, cutoff=0.6)
    return close[0] if close else None


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _unknown_field(kind: type[object], path: tuple[str | int, ...]) -> str:
    valid = _fields_at(kind, path[:-1])
    name = str(path[-1]) if path else ""
    close = nearest(name, valid)
    if close:
        return f"is not a field here; did you mean {close!r}?"
    return f"is not a field here; valid: {', '.join(sorted(valid))}" if valid else "is not a field here"


def _fields_at(kind: Any, path: tuple[str | int, ...]) -> list[str]:  # noqa: ANN401 - walks type hints of any shape
    kind = _dataclass_in(kind)
    for step in path:
        if kind is None:
            return []
        if isinstance(step, int):
            continue
        hint = get_type_hints(kind, include_extras=True).get(step)
        kind = _dataclass_in(hint)
    return [field.name for field in dataclasses.fields(kind)] if kind is not None else []


def _dataclass_in(hint: Any) -> Any:  # noqa: ANN401 - ditto
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return hint
    if get_origin(hint) in {Union, UnionType, Annotated, tuple, list}:
        for part in get_args(hint):
            if (found := _dataclass_in(part)) is not None:
                return found
    return None
