"""Single values of an Arken tree, and what is said about those that cannot be read. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Final

from gogeta.cli.arken.keys import Folder
from gogeta.domain.errors import Problem
from gogeta.domain.upstreams import Endpoint, parse_upstream

_MAX_JSON: Final = 64 * 1024


@dataclass(slots=True)
class Findings:
    """What was found wrong, and what is worth knowing, by the key that it is about."""

    problems: list[Problem] = field(default_factory=list)
    notes: list[Problem] = field(default_factory=list)

    def wrong(self, path: str, message: str) -> None:
        """The tree cannot be imported as it is."""
        self.problems.append(Problem((path,), message))

    def note(self, path: str, message: str) -> None:
        """Something is not as it was, or is left out."""
        self.notes.append(Problem((path,), message))


def required_text(entry: Folder, member: str, path: str, findings: Findings) -> str | None:
    """A value that has to be there."""
    value = optional_text(entry, member, path, findings)
    if value == "":
        findings.wrong(path, f"has no {member}" if member not in entry else f"{member} is empty")
        return None
    return value


def optional_text(entry: Folder, member: str, path: str, findings: Findings) -> str | None:
    """A value; empty where there is none, None where it cannot be read, which is told then."""
    value = entry.get(member, "")
    if not isinstance(value, str):
        findings.wrong(f"{path}/{member}", "is a folder, expected a value")
        return None
    if not is_text(value):
        findings.wrong(f"{path}/{member}", "holds bytes that are not UTF-8")
        return None
    return value


def is_text(value: str) -> bool:
    """Whether it was UTF-8 in the tree (see ``keys.py``)."""
    return value.isascii() or ("\ufffd" not in value and not any("\ud800" <= letter <= "\udfff" for letter in value))


def json_object(entry: Folder, member: str, path: str, findings: Findings) -> dict[str, Any]:
    """A value's JSON object, its members' names in lower case as Go reads them; empty where there is none."""
    text = optional_text(entry, member, path, findings)
    if not text:
        return {}
    where = f"{path}/{member}"
    if len(text) > _MAX_JSON:
        findings.wrong(where, f"is longer than {_MAX_JSON} characters")
        return {}
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        findings.wrong(where, f"is not JSON ({error})")
        return {}
    if not isinstance(data, dict):
        findings.wrong(where, f"expected a JSON object, not {shown(data)}")
        return {}
    return {name.lower(): value for name, value in data.items()}


def shown(value: object) -> str:
    """A JSON value in a message."""
    try:
        text = json.dumps(value)
    except RecursionError:
        text = type(value).__name__
    return text if len(text) <= 60 else text[:57] + "..."


def read_address(url: str) -> Endpoint:
    """The address of a plain http URL. Raises ValueError, also for a unix socket: such a tree holds none."""
    upstream = parse_upstream(url)
    if not isinstance(upstream, Endpoint):
        raise ValueError(f"expected a plain http URL such as http://10.0.0.7:8080, not {url!r}")  # noqa: TRY004 - one way
    return upstream
