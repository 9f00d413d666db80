"""A Compose project as one tenant: which containers it has, in which order they start, and what they are together.

Read from the labels that Compose puts on containers, and from what the engine says of each: pure, no engine, no loop.
Compose 2 says on each container what it depends on; Compose 1 does not, and then the order in which the containers were
made stands for it, because that is the order in which Compose 1 started them. A container may say it itself, with
``gogeta.depends-on``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from gogeta.domain.upstreams import Endpoint
from passivator.drivers.base import NOTHING, Health, Runtime, Status
from passivator.drivers.compose_labels import (
    COMPOSE_DEPENDS_LABEL,
    DEPENDS_LABEL,
    SERVICE_LABEL,
    Condition,
    is_one_off,
    number_of,
    parse_depends_on,
)
from passivator.drivers.docker_view import STOPPED_BY_US, instance_of, view

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Project:
    """All containers of one project, as the engine says them."""

    name: str
    answering: str
    """The service that requests go to."""
    services: Mapping[str, tuple[Json, ...]]
    needs: Mapping[str, Mapping[str, Condition]]
    """Service to what it waits for; only services that the project has containers of."""
    waves: tuple[tuple[str, ...], ...]
    """Services in the order of starting: those of one wave at the same time. Stops go the other way round."""
    problem: str = ""
    """Why it cannot be started at all, if it cannot."""

    @property
    def needed(self) -> frozenset[str]:
        """The services without which it does not answer: those that must run."""
        needed, todo = set[str](), [self.answering]
        while todo:
            service = todo.pop()
            needed.add(service)
            todo.extend(
                other
                for other, condition in self.needs.get(service, {}).items()
                if condition is not Condition.COMPLETED and other not in needed
            )
        return frozenset(needed)

    @property
    def containers(self) -> Iterator[Json]:
        """All of them, in the order of starting."""
        for wave in self.waves:
            for service in wave:
                yield from self.services[service]


def read_project(name: str, answering: str, containers: Iterable[Json]) -> Project:
    """The project that these containers of it make up. What is wrong with it is in ``problem``."""
    services = _services(containers)
    problems = [] if answering in services else [f"service {answering} has no container"]
    needs, known = _needs(services, problems)
    for service, wanted in needs.items():
        problems.extend(
            f"service {other}, which {service} depends on, has no container"
            for other in wanted
            if other not in services
        )
    needs = {service: {o: c for o, c in wanted.items() if o in services} for service, wanted in needs.items()}
    if not known:
        waves: tuple[tuple[str, ...], ...] = tuple((service,) for service in _by_age(services, answering))
    else:
        waves, circle = _waves(services, needs)
        if circle:
            problems.append(f"services {', '.join(circle)} depend on each other in a circle")
    return Project(name, answering, services, needs, waves, "; ".join(problems))


def _services(containers: Iterable[Json]) -> dict[str, tuple[Json, ...]]:
    newest: dict[tuple[str, int], Json] = {}
    for seen in containers:
        labels = seen["Config"]["Labels"] or {}
        service = labels.get(SERVICE_LABEL, "")
        if not service or is_one_off(labels):
            continue
        # While Compose makes a container anew there are two of one number: the newer stays.
        place = (service, number_of(labels))
        if place not in newest or newest[place]["Created"] < seen["Created"]:
            newest[place] = seen
    services: dict[str, tuple[Json, ...]] = {}
    for (service, _), seen in sorted(newest.items()):
        services[service] = (*services.get(service, ()), seen)
    return services


def _needs(
    services: Mapping[str, tuple[Json, ...]], problems: list[str]
) -> tuple[dict[str, dict[str, Condition]], bool]:
    """What each service depends on, and whether anybody says so at all."""
    needs: dict[str, dict[str, Condition]] = {}
    known = False
    for service, containers in services.items():
        wanted: dict[str, Condition] = {}
        for seen in containers:
            labels = seen["Config"]["Labels"]
            for label in (COMPOSE_DEPENDS_LABEL, DEPENDS_LABEL):
                if label not in labels:
                    continue
                known = True
                try:
                    wanted |= parse_depends_on(labels[label])
                except ValueError as error:
                    problems.append(f"label {label} of service {service}: {error}")
        needs[service] = wanted
    return needs, known


def _by_age(services: Mapping[str, tuple[Json, ...]], answering: str) -> list[str]:
    """In the order in which they were made, the one that answers last."""
    return sorted(services, key=lambda service: (service == answering, services[service][0]["Created"], service))


def _waves(
    services: Mapping[str, tuple[Json, ...]], needs: Mapping[str, Mapping[str, Condition]]
) -> tuple[tuple[tuple[str, ...], ...], list[str]]:
    """Services in waves, and those that wait for each other for ever: they make up the last wave."""
    waves: list[tuple[str, ...]] = []
    left = sorted(services)
    while left:
        wave = tuple(service for service in left if not any(other in left for other in needs[service]))
        if not wave:
            return (*waves, tuple(left)), left
        waves.append(wave)
        left = [service for service in left if service not in wave]
    return tuple(waves), []


# ------------------------------------------------------------------------------------------ what they are together


def view_project(project: Project, *, port: int, is_stopping: Callable[[Json], bool]) -> Runtime:
    """The project as the drivers tell it; ``port`` is where the answering containers listen.

    Its instance is that of all that has to run: whichever of it starts again, the whole is another start. Its health is
    that of the service that answers: what others had to be when it started was waited for then.
    """
    every = list(project.containers)
    if not every:
        return NOTHING
    needed = [seen for service in sorted(project.needed) for seen in project.services.get(service, ())]
    fronts = [view(seen, port=port, stopping=is_stopping(seen)) for seen in project.services.get(project.answering, ())]
    status = _status(project, every, needed, is_stopping)
    ended = culprit(project) if status in (Status.EXITED, Status.BROKEN) else None
    last = view(ended[1], port=port) if ended is not None else None
    return Runtime(
        status=status,
        instance=_instance(project, needed),
        endpoints=_endpoints(fronts) if status is not Status.EXITED else (),
        health=_health(fronts),
        exit_code=last.exit_code if last is not None else None,
        out_of_memory=last is not None and last.out_of_memory,
        message=f"service {ended[0]}: {last.message}".rstrip(": ") if ended is not None and last is not None else "",
    )


def _status(project: Project, every: list[Json], needed: list[Json], is_stopping: Callable[[Json], bool]) -> Status:
    if not any(seen["State"]["Running"] for seen in every):
        return Status.EXITED
    if any(is_stopping(seen) for seen in needed):
        return Status.STOPPING
    if any(seen["State"]["Paused"] for seen in every):
        return Status.PAUSED
    # Of several containers of one service one is enough, as for the visitor it is.
    whole = all(any(seen["State"]["Running"] for seen in project.services.get(each, ())) for each in project.needed)
    return Status.RUNNING if whole else Status.BROKEN


def _instance(project: Project, needed: list[Json]) -> str:
    starts = [instance for seen in needed if (instance := instance_of(seen))]
    if not starts:
        return ""
    return f"{project.name}@{hashlib.sha256('|'.join(sorted(starts)).encode()).hexdigest()[:24]}"


def _endpoints(fronts: list[Runtime]) -> tuple[Endpoint, ...]:
    return tuple(dict.fromkeys(endpoint for front in fronts for endpoint in front.endpoints))


def _health(fronts: list[Runtime]) -> Health:
    found = {front.health for front in fronts if front.status is not Status.EXITED}
    return next(
        (health for health in (Health.UNHEALTHY, Health.STARTING, Health.HEALTHY) if health in found), Health.NONE
    )


def culprit(project: Project) -> tuple[str, Json] | None:
    """The service, and its container, because of which it does not run: one that failed rather than one that was ended.

    Of several the one that starts first: those after it may have failed because of it.
    """
    needed = project.needed
    down = [
        (service, project.services[service][0])
        for wave in project.waves
        for service in wave
        if service in needed and not any(seen["State"]["Running"] for seen in project.services[service])
    ]
    failed = [each for each in down if each[1]["State"]["ExitCode"] not in STOPPED_BY_US]
    return next(iter(failed or down), None)
