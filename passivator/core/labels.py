"""Labels of containers as declarations of tenants: pure, and read by the same reader as tenants.yaml.

One container is a tenant of its own; the containers of a Compose project are one together, declared by the labels of
the service that answers. A wrong label refuses the whole, by name: nothing of it is in force, and nothing is guessed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from gogeta.domain.discovery import LONGEST_MESSAGE, Refusal, Refused
from gogeta.domain.errors import InvalidInputError, Problem
from gogeta.domain.hosts import normalise_tenant_name
from gogeta.domain.reading import nearest
from gogeta.domain.tenant import Tenant, read_tenant
from gogeta.registry.codec import MAX_VALUE_BYTES, encode
from passivator.drivers.base import PREFIX
from passivator.drivers.compose_labels import (
    DEPENDS_LABEL,
    PROJECT_LABEL,
    SERVICE_LABEL,
    is_one_off,
    number_of,
    parse_depends_on,
)
from passivator.drivers.docker_spec import SPEC_LABEL, TENANT_LABEL
from passivator.drivers.labelled import Labelled

ENABLE: Final = f"{PREFIX}.enable"
NAME: Final = f"{PREFIX}.name"
HOST: Final = f"{PREFIX}.host"
ASKED_FOR: Final = (ENABLE, HOST)
"""Containers with one of these labels are looked at; a host without the other is a slip of the pen worth telling."""
MOST_SOURCES: Final = 10_000
"""Most containers that are tenants by their labels; the oldest count."""

_LONGEST_SOURCE: Final = 200
"""Most characters of a source's name, for people: labels may be of any length."""
_LONGEST_PROBLEM: Final = 180


@dataclass(frozen=True, slots=True)
class Label:
    """One label: the field of a declaration that it sets."""

    key: str
    path: tuple[str, ...]
    between: str = ""
    """What stands between the values of a list; empty where it is one value."""


LABELS: Final = (
    Label(NAME, ("name",)),
    Label(HOST, ("hosts",), ","),
    Label(f"{PREFIX}.port", ("port",)),
    Label(f"{PREFIX}.idle-timeout", ("idle_timeout",)),
    Label(f"{PREFIX}.stop-grace", ("stop_grace",)),
    Label(f"{PREFIX}.https-only", ("https_only",)),
    Label(f"{PREFIX}.keep-alive", ("keep_alive",)),
    Label(f"{PREFIX}.ready.path", ("ready", "path")),
    Label(f"{PREFIX}.ready.timeout", ("ready", "timeout")),
    Label(f"{PREFIX}.wake.mode", ("wake", "mode")),
    Label(f"{PREFIX}.wake.hold", ("wake", "hold")),
    Label(f"{PREFIX}.wake.timeout", ("wake", "timeout")),
    Label(f"{PREFIX}.wake.bots", ("wake", "bots")),
    Label(f"{PREFIX}.wake.prefetch", ("wake", "prefetch")),
    Label(f"{PREFIX}.wake.favicon", ("wake", "favicon")),
    Label(f"{PREFIX}.wake.robots", ("wake", "robots")),
    Label(f"{PREFIX}.wake.asleep-paths", ("wake", "asleep_paths"), ","),
    Label(f"{PREFIX}.wake.per-hour", ("wake", "per_hour")),
    Label(f"{PREFIX}.sleep.pause-after", ("sleep", "pause_after")),
    Label(f"{PREFIX}.sleep.quiet-tunnel", ("sleep", "quiet_tunnel")),
    Label(f"{PREFIX}.busy.path", ("busy", "path")),
    Label(f"{PREFIX}.busy.cpu", ("busy", "cpu")),
    Label(f"{PREFIX}.busy.at-most", ("busy", "at_most")),
    Label(f"{PREFIX}.awake.hours", ("awake", "hours"), ";"),
    Label(f"{PREFIX}.awake.zone", ("awake", "zone")),
    Label(f"{PREFIX}.awake.wake", ("awake", "wake")),
    Label(f"{PREFIX}.limits.body", ("limits", "body")),
    Label(f"{PREFIX}.limits.exchange", ("limits", "exchange")),
)
"""All that declare something, in the order of the reference (docs/labels.md). ``ENABLE`` and ``DEPENDS_LABEL`` are the
others. There is none for ``sleep.destroy_after``: what labels declare goes with its containers, and not before."""

_BY_KEY: Final = {label.key: label for label in LABELS}
_BY_PATH: Final = {label.path: label.key for label in LABELS}
_OTHERS: Final = frozenset({ENABLE, DEPENDS_LABEL})


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What labels declare."""

    tenant: Tenant
    source: str
    created: int
    running: bool


def read_labelled(listed: Iterable[Labelled], group: str) -> tuple[tuple[Found, ...], tuple[Refusal, ...]]:
    """All tenants that labels declare for the passivators of ``group``, the oldest first; and all that is wrong."""
    found: list[Found] = []
    refused: list[Refusal] = []
    sources = [source for source in _sources(listed) if source.wanted is not False]
    for place, source in enumerate(sorted(sources, key=lambda source: (source.created, source.name))):
        try:
            if place >= MOST_SOURCES:
                raise _wrong(f"{MOST_SOURCES} others are older, and there are no more than so many")
            tenant = source.read(group)
        except InvalidInputError as error:
            refused.append(
                Refusal(source=source.name, why=Refused.INVALID, message=_told(error), names=source.tenant_names)
            )
        else:
            found.append(Found(tenant=tenant, source=source.name, created=source.created, running=source.running))
    return tuple(found), tuple(refused)


# ------------------------------------------------------------------------------------------ containers and projects


class _Source:
    """One container, or the containers of one Compose project that have our labels."""

    def __init__(self, project: str, containers: list[Labelled]) -> None:
        self.project = project
        self.containers = containers
        name = f"Compose project {project}" if project else f"container {containers[0].name}"
        self.name = name[:_LONGEST_SOURCE]

    @property
    def created(self) -> int:
        return min(container.created for container in self.containers)

    @property
    def running(self) -> bool:
        return any(container.running for container in self.containers)

    @property
    def wanted(self) -> bool | None:
        """Whether it is to be a tenant; None where that cannot be told, which is a mistake."""
        said = [_enabled(container.labels) for container in self.containers]
        return False if all(each is False for each in said) else (True if True in said else None)

    @property
    def tenant_names(self) -> tuple[str, ...]:
        """The tenant that it would be, as far as that can be told."""
        try:
            return (normalise_tenant_name(self._asking()[0].labels.get(NAME) or self._own_name()),)
        except ValueError:
            return ()

    def _asking(self) -> list[Labelled]:
        """The containers that ask to be a tenant."""
        return [each for each in self.containers if _enabled(each.labels)] or self.containers

    def _own_name(self) -> str:
        # What Docker and Compose allow in names and a host's label does not.
        return (self.project or self.containers[0].name).lower().replace("_", "-").replace(".", "-").strip("-")

    def read(self, group: str) -> Tenant:
        """The tenant. Raises InvalidInputError."""
        for container in self.containers:
            _check_enable(container.labels)
        asking = self._asking()
        labels = asking[0].labels
        docker: dict[str, str] = {"container": asking[0].name}
        if self.project:
            services = sorted({container.labels[SERVICE_LABEL] for container in asking})
            if len(services) > 1:
                raise _wrong(
                    f"services {', '.join(services)} are labelled {ENABLE}=true; a project is one tenant, so label the "
                    f"one that answers"
                )
            docker = {"compose": self.project, "service": services[0]}
            newest = {number_of(each.labels): each for each in sorted(asking, key=lambda each: each.created)}
            asking = [newest[number] for number in sorted(newest)]
            labels = asking[0].labels
            for other in asking[1:]:
                if _ours(other.labels) != _ours(labels):
                    raise _wrong(f"its containers {asking[0].name} and {other.name} have different labels {PREFIX}.*")
        return _read(_ours(labels), self._own_name(), docker, group)


def _sources(listed: Iterable[Labelled]) -> Iterable[_Source]:
    projects: dict[str, list[Labelled]] = {}
    for container in listed:
        labels = container.labels
        if SPEC_LABEL in labels and TENANT_LABEL in labels:
            continue  # made by us for a tenant that is declared
        if is_one_off(labels):
            continue
        project = labels.get(PROJECT_LABEL, "")
        if project and labels.get(SERVICE_LABEL):
            projects.setdefault(project, []).append(container)
        else:
            yield _Source("", [container])
    for project, containers in projects.items():
        yield _Source(project, containers)


# ------------------------------------------------------------------------------------------ the labels themselves


def _ours(labels: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in sorted(labels.items()) if key == PREFIX or key.startswith(f"{PREFIX}.")}


def _enabled(labels: Mapping[str, str]) -> bool | None:
    return {"true": True, "false": False}.get(labels.get(ENABLE, "").strip().lower())


def _check_enable(labels: Mapping[str, str]) -> None:
    if ENABLE not in labels:
        # Without it a host may be meant for something else, and nothing is taken that nobody offered.
        raise _wrong(f"it is missing: {ENABLE}=true makes a tenant of it, {ENABLE}=false says that it is none", ENABLE)
    if _enabled(labels) is None:
        raise _wrong(f"expected true or false, not {labels[ENABLE]!r}", ENABLE)


def _read(labels: Mapping[str, str], own_name: str, docker: Mapping[str, str], group: str) -> Tenant:
    problems: list[Problem] = []
    data: dict[str, Any] = {"name": own_name, "docker": dict(docker), "group": group, "discovered": True}
    for key, value in labels.items():
        label = _BY_KEY.get(key)
        if label is not None:
            _put(data, label, value)
        elif key == DEPENDS_LABEL:
            _check(problems, key, lambda value=value: parse_depends_on(value))  # type: ignore[misc] # an early binding
        elif key not in _OTHERS:
            problems.append(Problem((key,), _unknown(key)))
    if not data.get("hosts"):
        problems.append(Problem((HOST,), "is missing: which host does it answer for?"))
        data["hosts"] = ["*"]
    try:
        tenant = read_tenant(data, what="labels")
        if len(encode(tenant)) > MAX_VALUE_BYTES:
            problems.append(Problem((), f"the labels are too long together: at most {MAX_VALUE_BYTES} bytes"))
    except InvalidInputError as error:
        problems.extend(_renamed(problem, NAME in labels) for problem in error.problems)
        raise InvalidInputError("labels", tuple(problems)) from None
    if problems:
        raise InvalidInputError("labels", tuple(problems))
    return tenant


def _put(data: dict[str, Any], label: Label, value: str) -> None:
    *outer, field = label.path
    for step in outer:
        data = data.setdefault(step, {})
    parts = [part.strip() for part in value.split(label.between)] if label.between else []
    data[field] = [part for part in parts if part] if label.between else value.strip()


def _check(problems: list[Problem], key: str, read: Callable[[], object]) -> None:
    try:
        read()
    except ValueError as error:
        problems.append(Problem((key,), str(error)))


def _unknown(key: str) -> str:
    # The nearest one is looked for without what all have in common, and without the hyphens that people mix up.
    plain = {each.removeprefix(f"{PREFIX}.").replace("-", "_"): each for each in (*sorted(_OTHERS), *_BY_KEY)}
    close = nearest(key.removeprefix(f"{PREFIX}."), list(plain))
    return f"is no label of ours; did you mean {plain[close]}?" if close else "is no label of ours (docs/labels.md)"


def _renamed(problem: Problem, named: bool) -> Problem:  # noqa: FBT001 - a fact
    """A problem of a field as one of the label that sets it."""
    path = problem.path
    for length in range(len(path), 0, -1):
        steps = tuple(str(step) for step in path[:length])
        if steps == ("name",) and not named:
            return Problem((NAME,), f"is needed, because the name it has by itself will not do: {problem.message}")
        if steps in _BY_PATH:
            return Problem((_BY_PATH[steps],), problem.message)
    if path and path[0] == "docker":
        return Problem((), f"its name in Docker will not do as {'.'.join(map(str, path[1:]))}: {problem.message}")
    of_section = [label.key for label in LABELS if path and label.path[:1] == (str(path[0]),)]
    return Problem((of_section[0].rpartition(".")[0],), problem.message) if of_section else Problem((), problem.message)


def _wrong(message: str, key: str = "") -> InvalidInputError:
    return InvalidInputError("labels", (Problem((key,) if key else (), message),))


def _told(error: InvalidInputError) -> str:
    """All of it within bounds: a label of any length may stand in a message, and must not hide the others."""
    return _cut("; ".join(_cut(str(problem), _LONGEST_PROBLEM) for problem in error.problems), LONGEST_MESSAGE)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 3] + "..."
