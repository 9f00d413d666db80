"""What becomes of an Arken tree here: tenants, what each begins with, and what is not as it was. Pure, never raises.

A service becomes one tenant: its
instances' addresses as upstreams, one after the other, or an adopted container where the operator says how it is
called. Only what is run from here can be passivated or stopped; what cannot be kept is said.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from gogeta.cli.arken.naming import tenant_names
from gogeta.cli.arken.reading import Domain, Heritage, Service
from gogeta.cli.arken.routes import Routes, route
from gogeta.cli.arken.values import Findings
from gogeta.domain.errors import InvalidInputError, Problem
from gogeta.domain.lifecycle import Desired
from gogeta.domain.tenant import Tenant, read_tenant


@dataclass(frozen=True, slots=True)
class Container:
    """How the containers of services are found: by name or by label, ``{service}`` and ``{tenant}`` in it."""

    by: Literal["container", "label"]
    pattern: str
    port: int | None = None
    """Where the application listens inside; the tree knows only what it was published as."""

    def spec(self, service: str, tenant: str) -> dict[str, Any]:
        """The tenant's ``docker``."""
        return {self.by: self.pattern.replace("{service}", service).replace("{tenant}", tenant)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What the operator wants done with a tree. At most one of ``container`` and ``declared``."""

    now: int
    """Epoch milliseconds: no access is later."""
    www: bool = True
    container: Container | None = None
    declared: Mapping[str, Tenant] | None = None
    """Tenants of a file, by name, that take the place of those made here; others are left out."""


@dataclass(frozen=True, slots=True)
class Imported:
    """One tenant, and what it begins with."""

    source: str
    """The key that it is made from: ``/services/nxio_1``."""
    tenant: Tenant
    was: Desired | None = None
    """What the service was to be; None of an address, which nobody ran from there."""
    last_access: int | None = None
    """Epoch milliseconds."""
    notes: tuple[str, ...] = ()

    @property
    def desired(self) -> Desired | None:
        """The state that it begins in here; None where it is routed only."""
        return None if self.tenant.routed_only else self.was or Desired.PASSIVATED


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that is to be done, or why nothing is (``problems``)."""

    tenants: tuple[Imported, ...]
    notes: tuple[Problem, ...]
    """What is passed over, by key."""
    problems: tuple[Problem, ...]
    strangers: tuple[str, ...] = ()
    """Names of declared tenants that nothing in the tree becomes."""


def make_plan(heritage: Heritage, wishes: Wishes) -> Plan:
    """What becomes of the tree. Never raises."""
    findings = Findings(list(heritage.findings.problems), list(heritage.findings.notes))
    names = tenant_names(
        (service.name for service in heritage.services),
        (domain.host for domain in heritage.domains if domain.upstream is not None),
    )
    routes = route(heritage, findings, www=wishes.www, own_words=wishes.declared is None)
    unread = frozenset(problem.field for problem in findings.problems)
    planner = _Planner(wishes, findings, names, routes, unread)
    tenants = tuple(planner.tenants(heritage))
    known = set(names.values())
    strangers = tuple(name for name in wishes.declared or {} if name not in known)
    return Plan(tenants, tuple(findings.notes), tuple(findings.problems), strangers)


@dataclass(slots=True)
class _Planner:
    wishes: Wishes
    findings: Findings
    names: dict[tuple[str, str], str]
    routes: Routes
    unread: frozenset[str]
    """Keys that are a problem already."""

    def tenants(self, heritage: Heritage) -> Iterator[Imported]:
        for service in heritage.services:
            if (item := self._service(service)) is not None:
                yield item
        for domain in heritage.domains:
            if domain.upstream is not None and (item := self._uri(domain)) is not None:
                yield item

    def _service(self, service: Service) -> Imported | None:
        name, hosts = self.names["service", service.name], self.routes.to_service.get(service.name, [])
        notes = [f"the service's name was {service.name}"] if name != service.name else []
        if self.wishes.declared is not None:
            tenant = self.wishes.declared.get(name)
            if tenant is None:
                self.findings.note(service.path, f"is left out: the file has no tenant {name}")
                return None
        elif not hosts:
            self.findings.note(service.path, "is left out: no domain leads to it")
            return None
        elif not service.instances:
            self.findings.wrong(service.path, f"has no index, expected {service.path}/1/location")
            return None
        else:
            tenant = self._tenant(service, name, hosts, notes)
            if tenant is None:
                return None
        desired = _desired(service)
        if tenant.routed_only:
            if desired is not Desired.STARTED:
                notes.append(
                    f"was {desired}, which cannot be kept: what is routed only is never woken and never put to sleep"
                )
            if tenant.wake.robots:
                notes.append("robots is kept, and has no effect: what is routed only answers /robots.txt itself")
        elif tenant.wake.robots:
            notes.append("robots is answered while it is asleep only; awake it answers /robots.txt itself")
        return Imported(
            service.path,
            tenant,
            desired,
            self._last_access(service, notes),
            tuple(notes),
        )

    def _tenant(self, service: Service, name: str, hosts: list[str], notes: list[str]) -> Tenant | None:
        data: dict[str, Any] = {"name": name, "hosts": hosts}
        if self.wishes.container is not None:
            if len(service.instances) > 1:
                one = service.instances[0]
                self.findings.wrong(
                    service.path,
                    f"has {len(service.instances)} indexes, and a tenant has one container; leave the others out: "
                    f"--skip {service.instances[1].path} keeps {one.index}",
                )
                return None
            data["docker"] = self.wishes.container.spec(service.name, name)
            if self.wishes.container.port is not None:
                data["port"] = self.wishes.container.port
        else:
            data["upstreams"] = self._upstreams(service, notes)
            if not data["upstreams"]:
                return None
        texts = list(dict.fromkeys(instance.robots for instance in service.instances if instance.robots))
        if texts:
            data["wake"] = {"robots": texts[0]}
        if len(texts) > 1:
            notes.append("its indexes have several robots, of which the first is kept")
        return self._read(data, service.path)

    def _upstreams(self, service: Service, notes: list[str]) -> list[str]:
        urls: dict[str, None] = {}
        for instance in service.instances:
            if instance.location is None:
                if f"{instance.path}/location" not in self.unread:
                    notes.append(f"index {instance.index} has no location, and is left out")
                continue
            url = f"http://{instance.location.authority}"
            if url in urls:
                notes.append(f"index {instance.index} has the address of another, and counts once")
            urls[url] = None
        ones = {instance.index: instance.desired for instance in service.instances}
        if Desired.STARTED in ones.values():
            notes += [
                f"index {index} was {desired}: its address is listed all the same"
                for index, desired in ones.items()
                if desired is not Desired.STARTED
            ]
        if not urls and not any(f"{instance.path}/location" in self.unread for instance in service.instances):
            self.findings.wrong(
                service.path, "has no location at any index: nothing says where it answers, or what runs it"
            )
        return list(urls)

    def _uri(self, domain: Domain) -> Imported | None:
        assert domain.upstream is not None  # noqa: S101 - its caller's condition
        name = self.names["uri", domain.host]
        if self.wishes.declared is not None:
            tenant = self.wishes.declared.get(name)
            if tenant is None:
                self.findings.note(domain.path, f"is left out: the file has no tenant {name}")
        else:
            hosts = self.routes.to_address[domain.host]
            tenant = self._read(
                {"name": name, "hosts": hosts, "upstreams": [f"http://{domain.upstream.authority}"]}, domain.path
            )
        return None if tenant is None else Imported(domain.path, tenant)

    def _read(self, data: Mapping[str, Any], path: str) -> Tenant | None:
        try:
            return read_tenant(data, what=path)
        except InvalidInputError as error:
            self.findings.problems += [
                dataclasses.replace(problem, path=(path, *problem.path)) for problem in error.problems
            ]
            return None

    def _last_access(self, service: Service, notes: list[str]) -> int | None:
        times = [instance.last_access for instance in service.instances if instance.last_access is not None]
        if not times:
            return None
        if max(times) > self.wishes.now:
            notes.append("its last access lies in the future, and counts as now")
        return min(max(times), self.wishes.now)


def _desired(service: Service) -> Desired:
    """What the service as a whole was to be: its instances were interchangeable, so one that runs is enough."""
    found = {instance.desired for instance in service.instances}
    for state in (Desired.STARTED, Desired.PASSIVATED, Desired.STOPPED):
        if state in found:
            return state
    return Desired.PASSIVATED
