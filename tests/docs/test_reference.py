"""The pages that are made from the code have all of it, and what they say is what the programs do."""

import re
from dataclasses import fields
from typing import Any

import pytest

from gogeta.cli.reference_values import KEYS, schema_page, tenants_page
from gogeta.domain.errors import InvalidInputError
from gogeta.domain.state import ObservedState
from gogeta.domain.tenant import DockerSpec, Tenant, read_tenant
from gogeta.registry import keys
from tests.docs.pages import anchors

MEMBER = re.compile(r"^\| `(\w+)` \| [^|]+ \| [^|]* \| ((?:[^|]|\\\|)*) \|$", re.MULTILINE)


def members(page: str, chapter: str) -> dict[str, str]:
    """The members that a chapter lists, each with its words."""
    text = page.partition(f"## {chapter}\n")[2].partition("\n## ")[0]
    return dict(MEMBER.findall(text))


def test_every_kind_of_key_is_in_the_schema() -> None:
    constants = {name for name, value in vars(keys).items() if isinstance(value, str) and name.isupper()}
    assert constants - {"ROOT", "STATE"} == set(KEYS)
    for name in KEYS:
        assert f"`{getattr(keys, name)}" in schema_page()


@pytest.mark.parametrize("kind", [Tenant, DockerSpec])
def test_every_field_of_a_declaration_is_told_in_words(kind: Any) -> None:  # noqa: ANN401 - a dataclass
    told = members(tenants_page(), kind.__name__)
    assert set(told) == {field.name for field in fields(kind)}
    assert [name for name, words in told.items() if not words] == []


def test_every_member_of_a_value_is_told_in_words() -> None:
    page = schema_page()
    assert set(members(page, "ObservedState")) == {field.name for field in fields(ObservedState)}
    for chapter in anchors(page) - {"keys", "the-registrys-schema"}:
        heading = next(line for line in page.splitlines() if line.lower() == f"## {chapter}")
        told = members(page, heading.removeprefix("## "))
        assert told, heading
        assert [name for name, words in told.items() if not words] == [], heading


def test_types_and_defaults_are_those_that_are_read() -> None:
    page = tenants_page()
    assert "| `idle_timeout` | duration, or `never` | `30m` |" in page
    assert "| `hosts` | list of text (at least 1, at most 64) | required |" in page
    assert "| `exchange` | duration, or `never` |" in page
    hosts = [f"h{number}.test" for number in range(65)]
    with pytest.raises(InvalidInputError):
        read_tenant({"name": "a", "hosts": hosts, "process": {"command": ["x"]}}, what="test")
    assert read_tenant({"name": "a", "hosts": hosts[:64], "upstreams": ["http://a"]}, what="test").idle_timeout == 1800
