"""What the engine says of a container, read into the drivers' terms: pure, no engine, no loop."""

from __future__ import annotations

import ipaddress
import socket
from contextlib import closing
from typing import Any, Final

from gogeta.domain.hosts import normalise_tenant_name
from gogeta.domain.state import ReasonCode
from gogeta.domain.tenant import TenantName
from gogeta.domain.upstreams import Endpoint
from passivator.drivers.base import Health, Runtime, StartFailedError, Status
from passivator.drivers.docker_spec import TENANT_LABEL

Json = dict[str, Any]

_NEVER: Final = "0001-01-01"
_STATUSES: Final = {
    "created": Status.EXITED,
    "running": Status.RUNNING,
    "restarting": Status.RUNNING,
    "removing": Status.STOPPING,
    "paused": Status.PAUSED,
    "exited": Status.EXITED,
    "dead": Status.EXITED,
}
_NO_COMMAND: Final = (
    "executable file not found",
    "no such file or directory",
    "permission denied",
    "exec format error",
)
_NOT_UNDERSTOOD: Final = ("invalid", "unable to find user", "unable to find group", "unknown")
_PORT_TAKEN: Final = ("port is already allocated", "address already in use")
STOPPED_BY_US: Final = frozenset({0, 137, 143})
"""How containers end that somebody stopped."""
_STOP_SIGNALS: Final = frozenset({"15", "9"})


def tenant_of(labels: Json | None) -> TenantName | None:
    """The tenant whose label these labels have; None when there is none, or nobody could be called so."""
    name = (labels or {}).get(TENANT_LABEL, "")
    try:
        return TenantName(name) if normalise_tenant_name(name) == name else None
    except ValueError:
        return None


def instance_of(container: Json) -> str:
    """The id of the present or last start: a container is started many times, and each time is another instance."""
    started = container["State"]["StartedAt"]
    return "" if started.startswith(_NEVER) else f"{container['Id'][:12]}@{started}"


def view(container: Json, *, port: int, message: str = "", stopping: bool = False) -> Runtime:
    """The container as the drivers tell it; ``port`` is where its application listens."""
    state = container["State"]
    status = _STATUSES.get(state["Status"], Status.EXITED)
    if stopping and status in (Status.RUNNING, Status.PAUSED):
        status = Status.STOPPING
    runs = status is not Status.EXITED
    return Runtime(
        status=status,
        instance=instance_of(container),
        endpoints=_endpoints(container, port) if runs else (),
        health=_health(state),
        exit_code=None if runs else state["ExitCode"],
        out_of_memory=bool(state["OOMKilled"]) and not runs,
        message=message or state.get("Error") or "",
    )


def unexpected_end(runtime: Runtime) -> bool:
    """Whether it ended in a way that its own last words may explain, and nobody has said why yet."""
    ended = runtime.status is Status.EXITED and runtime.exit_code not in STOPPED_BY_US
    return ended and not runtime.message and bool(runtime.instance)


def _health(state: Json) -> Health:
    status = (state.get("Health") or {}).get("Status", "none")
    return Health(status) if status in tuple(Health) else Health.NONE


def _endpoints(container: Json, port: int) -> tuple[Endpoint, ...]:
    """Its published loopback port where it has one, which leads there from everywhere we may be; else its address."""
    settings = container["NetworkSettings"]
    if container["HostConfig"]["NetworkMode"] == "host":
        return (Endpoint("127.0.0.1", port),)
    for binding in (settings.get("Ports") or {}).get(f"{port}/tcp") or ():
        if binding["HostIp"] in ("127.0.0.1", "0.0.0.0"):  # noqa: S104 - compared with, never bound
            return (Endpoint("127.0.0.1", int(binding["HostPort"])),)
    # Also of adopted containers in several networks: those first that lead there without a router.
    addresses = [network["IPAddress"] for network in settings["Networks"].values() if network.get("IPAddress")]
    prefixes = {network["IPAddress"]: network.get("IPPrefixLen") or 32 for network in settings["Networks"].values()}
    addresses.sort(key=lambda address: not is_attached(f"{address}/{prefixes[address]}"))
    return (Endpoint(addresses[0], port),) if addresses else ()


def is_attached(subnet: str) -> bool:
    """Whether this machine has an address of its own in the subnet, so that its containers can be reached directly.

    Where the engine runs in a virtual machine, in another network namespace or elsewhere, its bridges are not ours.
    Asks the routing table, by the address a datagram would be sent from; nothing is sent.
    """
    network = ipaddress.ip_network(subnet, strict=False)
    family = socket.AF_INET if network.version == 4 else socket.AF_INET6
    with closing(socket.socket(family, socket.SOCK_DGRAM)) as probe:
        try:
            probe.connect((str(network.network_address + (1 if network.num_addresses > 1 else 0)), 9))
        except OSError:
            return False
        return ipaddress.ip_address(probe.getsockname()[0]) in network


def refused_create(status: int, message: str) -> StartFailedError:
    """Why the engine did not make a container."""
    if status == 404 and "image" in message.lower():
        return StartFailedError(ReasonCode.IMAGE_MISSING, message, hint="`docker pull` it, or correct its name")
    # Some engines answer 500 to a declaration they do not understand.
    theirs = status >= 500 and not any(sign in message.lower() for sign in _NOT_UNDERSTOOD)
    return StartFailedError(ReasonCode.RUNTIME if theirs else ReasonCode.BAD_SPEC, message)


def refused_start(status: int, message: str) -> StartFailedError:
    """Why the engine did not start a container."""
    lower = message.lower()
    if any(sign in lower for sign in _PORT_TAKEN):
        return StartFailedError(ReasonCode.PORT_TAKEN, message)
    if any(sign in lower for sign in _NO_COMMAND):
        # The same words come for a bind whose source is missing.
        code = ReasonCode.BAD_SPEC if "mount" in lower else ReasonCode.COMMAND_FAILED
        return StartFailedError(code, message)
    return refused_create(status, message)


def asks_to_stop(event: Json) -> bool:
    """Whether it is a signal such as a stop begins with. The engine tells a stop only when it has ended."""
    signal = ((event.get("Actor") or {}).get("Attributes") or {}).get("signal")
    return event.get("Action") == "kill" and signal in _STOP_SIGNALS


def stop_asked(history: list[Json]) -> bool:
    """Whether the last start was asked to stop, by what happened since: signalled and not dead."""
    asked = False
    for event in history:
        asked = asks_to_stop(event) or (asked and event.get("Action") not in ("die", "start"))
    return asked
