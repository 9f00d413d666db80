"""docs/api-reference.md, made from the OpenAPI document that the admin listeners serve.

The document is made from the list of operations, so the page cannot say more or less than the routes do.
`docs/generate.py` writes it and a test fails when it is stale. What the operations mean is told in docs/api.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

_INTRO: Final = """\
# API reference

<!-- Made by docs/generate.py from the OpenAPI document (`/api/v1/openapi.json`); do not edit. -->

Every operation of the admin API: role, parameters, body, and each status that it may answer with. What they are for,
lists, conditions, waiting and the codes of errors are told in [api.md](api.md); the members of a tenant's declaration
in [tenants.md](tenants.md).

A parameter that is not known is refused with 400. Errors are `application/problem+json`, of the schema
[`Problem`](#problem). Two come before any operation is met: 421 for a `Host` that is not the listener's, and 429 after
too many wrong tokens ([api.md](api.md#tokens)).

| operation | role | |
|---|---|---|
"""
_ERRORS: Final = 400
"""Statuses from here on are problems."""


def api_page(document: Mapping[str, Any]) -> str:
    """The page of one document."""
    operations = [
        (f"{method.upper()} {path}", operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    lines = [
        f"| [`{name}`](#{_anchor(name)}) | {operation['x-role']} | {_closed(operation['summary'])} |"
        for name, operation in operations
    ]
    for name, operation in operations:
        lines += ["", *_operation(name, operation)]
    schemas = document["components"]["schemas"]
    lines += [
        "",
        "## Schemas",
        "",
        "The members that are listed are always there; one that has nothing to say is null.",
        "",
    ]
    named = _told((operation for _, operation in operations), schemas)
    lines += [line for name in named for line in _schema(name, schemas[name])]
    return _INTRO + "\n".join(lines).rstrip() + "\n"


def _anchor(heading: str) -> str:
    """As GitHub makes it."""
    kept = "".join(letter for letter in heading.lower() if letter.isalnum() or letter in "-_ ")
    return kept.replace(" ", "-")


def _closed(sentence: str) -> str:
    return sentence if sentence.endswith(".") else sentence + "."


def _operation(name: str, operation: Mapping[str, Any]) -> Iterator[str]:
    yield f"## {name}"
    yield ""
    yield f"{_closed(operation['summary'])} Role: `{operation['x-role']}`."
    parameters = operation.get("parameters", ())
    if parameters:
        yield ""
        yield "| parameter | in | is a | |"
        yield "|---|---|---|---|"
        for each in parameters:
            told = each.get("description", "")
            yield f"| `{each['name']}` | {each['in']} | {_type(each['schema'])} | {told} |"
    if "requestBody" in operation:
        yield ""
        bodies = operation["requestBody"]["content"]
        yield "Body: " + ", or ".join(f"`{kind}` ({_type(each['schema'])})" for kind, each in bodies.items()) + "."
    yield ""
    yield "| status | answer | |"
    yield "|---|---|---|"
    plain = []
    for status, each in operation["responses"].items():
        if int(status) >= _ERRORS:
            plain.append(f"{status} {each['description']}")
            continue
        content = ", ".join(f"`{kind}`: {_type(body['schema'])}" for kind, body in each.get("content", {}).items())
        fields = ", ".join(f"`{field}`" for field in each.get("headers", ()))
        more = f" With {fields}." if fields else ""
        yield f"| {status} | {content} | {_closed(each['description'])}{more} |"
    yield f"| an error | [`Problem`](#problem) | {', '.join(plain)} |"


def _type(schema: Mapping[str, Any]) -> str:
    """A schema in a reader's words."""
    if "$ref" in schema:
        return _link(schema["$ref"])
    if "anyOf" in schema:
        return " or ".join(_type(each) for each in schema["anyOf"])
    if "enum" in schema:
        return ", ".join(f"`{'null' if each is None else each}`" for each in schema["enum"])
    kinds = schema.get("type", "object")
    kind = " or ".join(kinds) if isinstance(kinds, list) else str(kinds)
    if kind == "array":
        return f"list of {_type(schema['items'])}"
    if schema.get("properties"):
        return "object of " + ", ".join(f"`{name}`" for name in schema["properties"])
    bounds = [f"{word} {schema[name]:g}" for name, word in (("minimum", "from"), ("maximum", "to")) if name in schema]
    default = f"; {str(schema['default']).lower()} if not given" if "default" in schema else ""
    return " ".join([kind, *bounds]) + default


def _link(reference: str) -> str:
    name = reference.rpartition("/")[2]
    return f"[`{name}`]({'tenants.md#tenant' if name == 'Declaration' else f'#{name.lower()}'})"


def _told(operations: Iterable[Mapping[str, Any]], schemas: Mapping[str, Any]) -> Iterator[str]:
    """The schemas of answers and of errors, and what these are made of, in the order of first mention."""
    waiting = [
        reference
        for operation in operations
        for reference in _references([operation.get("requestBody"), *operation["responses"].values()])
    ]
    seen: set[str] = set()
    while waiting:
        name = waiting.pop(0).rpartition("/")[2]
        if name in seen or name == "Declaration":
            continue
        seen.add(name)
        yield name
        waiting[:0] = _references(schemas[name])


def _references(part: object) -> list[str]:
    if isinstance(part, Mapping):
        own = [str(part["$ref"])] if "$ref" in part else []
        return own + [found for each in part.values() for found in _references(each)]
    return [found for each in part for found in _references(each)] if isinstance(part, list) else []


def _schema(name: str, schema: Mapping[str, Any]) -> Iterator[str]:
    yield f"### {name}"
    yield ""
    if "description" in schema:
        yield schema["description"]
        yield ""
    if schema.get("properties"):
        yield "| member | is a |"
        yield "|---|---|"
        for member, each in schema["properties"].items():
            yield f"| `{member}` | {_type(each)} |"
        yield ""
