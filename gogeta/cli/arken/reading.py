"""What an Arken tree says: its domains, and its services with their instances. Pure, and never raises.

What cannot be read is a problem with the key that it stands in; what is passed over is a note. What becomes of it all
is ``planning.py``'s.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, tzinfo

from gogeta.cli.arken.instances import Instance, read_instance
from gogeta.cli.arken.keys import OWN_VALUE, Folder
from gogeta.cli.arken.values import Findings, is_text, read_address, required_text
from gogeta.domain.hosts import normalise_pattern
from gogeta.domain.upstreams import Endpoint


@dataclass(frozen=True, slots=True)
class Service:
    """A service, with its instances in the order of their indexes."""

    name: str
    path: str
    instances: tuple[Instance, ...]


@dataclass(frozen=True, slots=True)
class Domain:
    """A host, and either the name of a service or an address."""

    host: str
    path: str
    service: str = ""
    upstream: Endpoint | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How a tree is read: its folders' names, the zone of times without one, and what is passed over."""

    domain_dir: str = "/domains"
    service_dir: str = "/services"
    zone: tzinfo = UTC
    skip: tuple[str, ...] = ()
    """Patterns of the shell, of paths such as ``/services/nxio_7`` and ``/services/nxio_7/2``."""

    def skips(self, path: str) -> bool:
        """Whether the operator has said to leave it out."""
        return any(fnmatch.fnmatchcase(path, pattern) for pattern in self.skip)


@dataclass(frozen=True, slots=True)
class Heritage:
    """All that a tree says."""

    domains: tuple[Domain, ...]
    services: tuple[Service, ...]
    findings: Findings
    service_dir: str


def read_heritage(domains: Folder, services: Folder, reading: Reading) -> Heritage:
    """Everything in the two folders, in the order of names. Never raises."""
    findings = Findings()
    read_domains = tuple(_domains(domains, reading, findings))
    read_services = tuple(_services(services, reading, findings))
    return Heritage(read_domains, read_services, findings, reading.service_dir)


def _children(folder: Folder, root: str, reading: Reading, findings: Findings) -> Iterator[tuple[str, str, Folder]]:
    for name in sorted(folder):
        path = f"{root}/{name}"
        if reading.skips(path):
            findings.note(path, "is left out, as --skip says")
        elif name == OWN_VALUE:
            findings.wrong(path, "has an empty name")
        elif not isinstance(folder[name], dict):
            findings.wrong(path, "is a value, expected a folder")
        elif not is_text(name):
            findings.wrong(path, "has a name that is not UTF-8")
        else:
            yield name, path, folder[name]


# ------------------------------------------------------------------------------------------------------------ domains


def _domains(folder: Folder, reading: Reading, findings: Findings) -> Iterator[Domain]:
    seen: dict[str, str] = {}
    for name, path, entry in _children(folder, reading.domain_dir, reading, findings):
        try:
            host = normalise_pattern(name)
        except ValueError as error:
            findings.wrong(path, str(error))
            continue
        if ":" in name and not host.startswith("["):
            findings.wrong(path, "has a port, which the older gogeta never looked for; skip it")
            continue
        if "*" in host:
            findings.wrong(path, "is a wildcard, which meant nothing to the older gogeta; skip it or declare it anew")
            continue
        if host in seen:
            findings.wrong(path, f"is the same host as {seen[host]}: upper and lower case do not count")
            continue
        seen[host] = path
        kind, value = (required_text(entry, member, path, findings) for member in ("type", "value"))
        if kind is None or value is None:
            continue
        if kind == "service":
            yield Domain(host, path, service=value)
        elif kind == "uri":
            try:
                yield Domain(host, path, upstream=read_address(value))
            except ValueError as error:
                findings.wrong(f"{path}/value", str(error))
        else:
            findings.wrong(f"{path}/type", f"expected service or uri, not {kind[:60]!r}")


# ----------------------------------------------------------------------------------------------------------- services


def _services(folder: Folder, reading: Reading, findings: Findings) -> Iterator[Service]:
    for name, path, entry in _children(folder, reading.service_dir, reading, findings):
        instances = [
            read_instance(index, f"{path}/{index}", entry[index], reading.zone, findings)
            for index in sorted(entry, key=_by_number)
            if _is_instance(index, entry[index], path, reading, findings)
        ]
        yield Service(name, path, tuple(instances))


def _by_number(index: str) -> tuple[int, str]:
    return (int(index) if _is_number(index) else 1_000_000_000, index)


def _is_number(index: str) -> bool:
    return index.isascii() and index.isdigit() and len(index) < 10


def _is_instance(index: str, entry: object, path: str, reading: Reading, findings: Findings) -> bool:
    path = f"{path}/{index}"
    if reading.skips(path):
        findings.note(path, "is left out, as --skip says")
        return False
    if not _is_number(index) and not (isinstance(entry, dict) and "location" in entry):
        # Its configuration: the older programs passed over it too.
        findings.note(path, "is no index of the service: passed over")
        return False
    if not isinstance(entry, dict):
        findings.wrong(path, "is a value, expected a folder")
        return False
    return True
