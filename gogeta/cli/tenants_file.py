"""tenants.yaml: from bytes to tenants, or to every problem in it with file, line and field.

Standard input and files are read alike, within a bound. What is wrong between the file and the registry (a host that
another tenant has, a forbidden upstream) is found by cli/declaring.py, which asks this module for places.
"""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from gogeta.cli.yaml_tree import MAX_BYTES, YamlTree
from gogeta.domain.errors import InvalidInputError, Problem
from gogeta.domain.tenant import Tenant, read_tenants
from gogeta.domain.upstreams import Forbidden, parse_upstream

STANDARD_INPUT: Final = "-"


@dataclass(frozen=True, slots=True)
class TenantsFile:
    """What a file declares."""

    what: str
    """Its name as the user wrote it, or ``standard input``."""
    tenants: tuple[Tenant, ...]
    tree: YamlTree

    def refuse(self, problems: list[Problem]) -> InvalidInputError:
        """The refusal of the file for ``problems``, in the order of its lines."""
        return _refusal(self.what, problems, self.tree)


def read_tenants_file(name: str) -> TenantsFile:
    """Read ``name`` (``-``: standard input). Raises InvalidInputError with every problem, each with its line."""
    what = "standard input" if name == STANDARD_INPUT else name
    tree = YamlTree(_content(name, what), what=what)
    if tree.data is None or (isinstance(tree.data, dict) and not tree.data):
        raise InvalidInputError(what, (Problem((), "is empty"),), hint="declare tenants: under `tenants:`")
    try:
        tenants = read_tenants(tree.data, what=what)
    except InvalidInputError as error:
        raise _refusal(what, [*error.problems, *_refused_upstreams(tree.data)], tree) from None
    folder = Path.cwd() if name == STANDARD_INPUT else Path(name).resolve().parent
    return TenantsFile(what, tuple(_rooted(tenant, folder) for tenant in tenants), tree)


def _content(name: str, what: str) -> bytes:
    # One byte more than is allowed tells that there is more, without reading all of it.
    if name == STANDARD_INPUT:
        return sys.stdin.buffer.read(MAX_BYTES + 1)
    try:
        with Path(name).open("rb") as stream:
            return stream.read(MAX_BYTES + 1)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise InvalidInputError(what, (Problem((), f"cannot be read: {reason}"),)) from None


def _rooted(tenant: Tenant, folder: Path) -> Tenant:
    # The command is run by another process with another current folder.
    if tenant.process is None or tenant.process.cwd is None:
        return tenant
    return dataclasses.replace(
        tenant, process=dataclasses.replace(tenant.process, cwd=str(folder / Path(tenant.process.cwd).expanduser()))
    )


def _refused_upstreams(data: Any) -> Iterator[Problem]:  # noqa: ANN401 - whatever the file holds
    # The rules that need no registry, for a file that is refused already: a person mends everything in one go.
    tenants = data.get("tenants") if isinstance(data, dict) else None
    for index, tenant in enumerate(tenants if isinstance(tenants, list) else ()):
        upstreams = tenant.get("upstreams") if isinstance(tenant, dict) else None
        for place, url in enumerate(upstreams if isinstance(upstreams, list) else ()):
            with contextlib.suppress(ValueError):
                if isinstance(url, str) and (rule := Forbidden().rule_against(parse_upstream(url))):
                    yield Problem(("tenants", index, "upstreams", place), rule)


def _refusal(what: str, problems: list[Problem], tree: YamlTree) -> InvalidInputError:
    placed = []
    for problem in problems:
        line, column = tree.place(problem.path) or (None, None)
        placed.append(dataclasses.replace(problem, line=line, column=column))
    placed.sort(key=lambda problem: (problem.line or 0, problem.column or 0))
    return InvalidInputError(what, tuple(placed))
