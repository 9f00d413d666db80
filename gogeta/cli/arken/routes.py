"""Which hosts lead to which service or address of an Arken tree, as its gogeta routed them. Pure.

It took ``www.`` off every host before it looked, so every domain has two hosts here. ``/domains`` alone routed; a
service's own ``domain`` counts only where nothing else leads to the service.
"""

from __future__ import annotations

import ipaddress
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Final

from gogeta.cli.arken.reading import Domain, Heritage, Service
from gogeta.cli.arken.values import Findings
from gogeta.domain.hosts import MAX_HOST_LENGTH, normalise_pattern

_WWW: Final = "www."


@dataclass(slots=True)
class Routes:
    """Hosts, each in one place only."""

    to_service: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    """Service's name to its hosts."""
    to_address: dict[str, list[str]] = field(default_factory=dict)
    """Host of a domain with an address of its own to the hosts that lead there."""
    claimed: dict[str, str] = field(default_factory=dict)
    """Host to the key that says where it leads."""


def route(heritage: Heritage, findings: Findings, *, www: bool, own_words: bool) -> Routes:
    """All hosts. ``www``: with the second host of each. ``own_words``: services may say their host themselves."""
    routes = Routes()
    services = {service.name for service in heritage.services}
    explicit = {domain.host: domain for domain in heritage.domains}
    left_out = {note.field for note in findings.notes}
    for domain in heritage.domains:
        if domain.upstream is not None:
            hosts = routes.to_address.setdefault(domain.host, [])
        elif domain.service in services:
            hosts = routes.to_service[domain.service]
        else:
            path = f"{heritage.service_dir}/{domain.service}"
            if path in left_out:
                findings.note(domain.path, f"is left out with {path}")
            else:
                findings.wrong(f"{domain.path}/value", f"there is no service {domain.service[:100]!r} in the tree")
            continue
        both = (domain.host, _alias(domain.host)) if www else (domain.host,)
        for host in both:
            other = explicit.get(host, domain)
            if host and other is domain:
                hosts.append(host)
                routes.claimed[host] = domain.path
            elif host and _leads(other) != _leads(domain):
                findings.note(other.path, f"is routed as it says; the older gogeta answered it like {domain.host}")
    if own_words:
        for service in heritage.services:
            _own_words(service, routes, findings)
    return routes


def _leads(domain: Domain) -> tuple[object, object]:
    return domain.service, domain.upstream


def _alias(host: str) -> str:
    """The host with ``www.``; empty where it has none."""
    if host.startswith((_WWW, "[")) or len(_WWW + host) > MAX_HOST_LENGTH:
        return ""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return _WWW + host
    return ""


def _own_words(service: Service, routes: Routes, findings: Findings) -> None:
    hosts = routes.to_service[service.name]
    for instance in service.instances:
        where = f"{instance.path}/domain"
        if not instance.domain:
            continue
        try:
            host = normalise_pattern(instance.domain)
        except ValueError as error:
            findings.wrong(where, str(error))
            continue
        if host in hosts:
            continue
        if host in routes.claimed:
            findings.note(where, f"{host} does not lead here but where {routes.claimed[host]} says")
        elif hosts or "*" in host:
            findings.note(where, f"{host} leads nowhere, since no domain says so")
        else:
            hosts.append(host)
            routes.claimed[host] = where
            findings.note(where, f"{host} leads here by this key alone, since no domain leads here")
