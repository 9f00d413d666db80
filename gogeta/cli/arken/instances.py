"""One index of a service of an Arken tree: where it answers, what it was to be, when it was used. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import tzinfo
from typing import Final

from gogeta.cli.arken.keys import Folder
from gogeta.cli.arken.times import read_time
from gogeta.cli.arken.values import Findings, is_text, json_object, optional_text, read_address, shown
from gogeta.domain.asleep import ALLOW, DISALLOW, WAKE, parse_robots
from gogeta.domain.lifecycle import Desired
from gogeta.domain.upstreams import Endpoint

_MEANT: Final = {"started": Desired.STARTED, "passivated": Desired.PASSIVATED, "stopped": Desired.STOPPED}
"""What ``status/expected`` may be."""
_WAS: Final = {"starting": Desired.STARTED, "stopping": Desired.STOPPED, **_MEANT}
"""What ``status/current`` says where nothing is expected."""
_SAYS_NOTHING: Final = frozenset({"error", "warning", "n/a", ""})
_INSTANCE: Final = frozenset({"location", "domain", "lastAccess", "status", "config"})


@dataclass(frozen=True, slots=True)
class Instance:
    """One index of a service."""

    index: str
    path: str
    location: Endpoint | None = None
    """None where it has none, or an empty one."""
    domain: str = ""
    """Its own word about its host; the older gogeta routed by ``/domains`` alone."""
    robots: str = ""
    last_access: int | None = None
    """Epoch milliseconds."""
    desired: Desired = Desired.STARTED


def read_instance(index: str, path: str, entry: Folder, zone: tzinfo, findings: Findings) -> Instance:
    """What stands under ``path``; ``zone`` is that of times that name none."""
    for member in sorted(set(entry) - _INSTANCE):
        findings.note(f"{path}/{member}", "is not known here: passed over")
    return Instance(
        index,
        path,
        location=_location(entry, path, findings),
        domain=optional_text(entry, "domain", path, findings) or "",
        robots=_robots(entry, path, findings),
        last_access=_last_access(entry, path, zone, findings),
        desired=_desired(entry, path, findings),
    )


def _location(entry: Folder, path: str, findings: Findings) -> Endpoint | None:
    data = json_object(entry, "location", path, findings)
    host, port = data.get("host", ""), data.get("port", 0)
    where = f"{path}/location"
    if not isinstance(host, str) or not is_text(host):
        findings.wrong(where, f"host: expected text, not {shown(host)}")
    elif isinstance(port, bool) or not isinstance(port, int):
        findings.wrong(where, f"port: expected a whole number, not {shown(port)}")
    # Written so before an instance has an address: the older programs took it for none.
    elif host and port:
        if not 1 <= port <= 65535:
            findings.wrong(where, f"port: expected 1 to 65535, not {shown(port)}")
            return None
        try:
            return read_address(f"http://{_bracketed(host)}:{port}")
        except ValueError as error:
            findings.wrong(where, f"host: {error}")
    return None


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host and not host.startswith("[") else host


def _robots(entry: Folder, path: str, findings: Findings) -> str:
    folder = entry.get("config", {})
    if not isinstance(folder, dict):
        findings.wrong(f"{path}/config", "is a value, expected a folder")
        return ""
    for member in sorted(set(folder) - {"gogeta"}):
        findings.note(f"{path}/config/{member}", "is not gogeta's: passed over")
    robots = json_object(folder, "gogeta", f"{path}/config", findings).get("robots", "")
    if robots in ("", None):
        return ""
    # It was always the text itself; here some words have a meaning of their own.
    if not isinstance(robots, str) or robots.strip().lower() in (ALLOW, DISALLOW, WAKE) or not is_text(robots):
        findings.wrong(f"{path}/config/gogeta", f"robots: expected the text of a robots.txt, not {shown(robots)}")
        return ""
    try:
        return parse_robots(robots)
    except ValueError as error:
        findings.wrong(f"{path}/config/gogeta", f"robots: {error}")
        return ""


def _last_access(entry: Folder, path: str, zone: tzinfo, findings: Findings) -> int | None:
    text = optional_text(entry, "lastAccess", path, findings)
    if not text:
        return None
    try:
        return read_time(text, zone)
    except ValueError as error:
        findings.wrong(f"{path}/lastAccess", str(error))
        return None


def _desired(entry: Folder, path: str, findings: Findings) -> Desired:
    folder = entry.get("status")
    if folder is None:
        # An instance without a status was taken for started.
        return Desired.STARTED
    if not isinstance(folder, dict):
        findings.wrong(f"{path}/status", "is a value, expected a folder")
        return Desired.STARTED
    for member in sorted(set(folder) - {"expected", "current", "alive"}):
        findings.note(f"{path}/status/{member}", "is not known here: passed over")
    for member in ("expected", "current"):
        word = optional_text(folder, member, f"{path}/status", findings)
        if word is None or word in _SAYS_NOTHING:
            continue
        found = (_MEANT if member == "expected" else _WAS).get(word)
        if found is not None:
            return found
        if member == "current" or word not in _WAS:
            findings.wrong(f"{path}/status/{member}", f"expected {', '.join(_WAS)} or error, not {word[:60]!r}")
    # What has failed, or says nothing: its next request tries.
    return Desired.PASSIVATED
