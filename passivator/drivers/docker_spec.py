"""From a tenant's declaration to what the Docker engine is asked to make: pure, no engine, no loop.

The defaults are the safe ones; a declaration may loosen a few by name (``cap_add``, ``init``) and none of the others:
nothing runs privileged, in the host's namespaces, or with a restart policy that would fight the controller.
"""

from __future__ import annotations

import hashlib
import json
import math
from typing import Any, Final

from gogeta.domain.state import ReasonCode
from gogeta.domain.tenant import DEFAULT_PORT, DockerSpec, Tenant, TenantName
from passivator.drivers.base import PREFIX, StartFailedError

TENANT_LABEL: Final = f"{PREFIX}.tenant"
SPEC_LABEL: Final = f"{PREFIX}.spec"
"""Holds the fingerprint of the declaration a container was made from: only we set it."""
LOOPBACK: Final = "127.0.0.1"
_NANO: Final = 1_000_000_000
_LOG: Final = {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "2"}}


def object_name(name: TenantName) -> str:
    """Of the tenant's container, and of its network."""
    return f"{PREFIX}-{name}"


def network_name(tenant: Tenant, spec: DockerSpec) -> str:
    """The network its container is made in: its own, unless another is declared.

    Raises StartFailedError for those that would take the isolation away, or have no way in.
    """
    if spec.network is None:
        return object_name(tenant.name)
    if spec.network in ("host", "none") or spec.network.startswith(("container:", "ns:")):
        raise StartFailedError(
            ReasonCode.BAD_SPEC,
            f"network {spec.network!r} is refused: a tenant has a bridge network",
            hint="leave `network` out, or name a network made with `docker network create`",
        )
    return spec.network


def network_config(name: TenantName) -> dict[str, Any]:
    """A bridge of the tenant's own. The engine lets no traffic pass between two bridges."""
    return {
        "Name": object_name(name),
        "Driver": "bridge",
        "CheckDuplicate": True,
        "Labels": {TENANT_LABEL: name},
    }


def stop_seconds(grace: float) -> int:
    """The engine takes whole seconds; never less than was declared."""
    return math.ceil(grace)


def container_port(tenant: Tenant) -> int:
    """Where the application listens inside."""
    return tenant.port or DEFAULT_PORT


def container_config(tenant: Tenant, spec: DockerSpec, *, publish: bool) -> dict[str, Any]:
    """The body of the engine's create call.

    With ``publish``, the tenant's port gets an ephemeral one of this machine's loopback at each start. Raises
    StartFailedError for a network that is refused.
    """
    port = f"{container_port(tenant)}/tcp"
    host: dict[str, Any] = {
        "NetworkMode": network_name(tenant, spec),
        "Binds": list(spec.volumes),
        "Init": spec.init,
        "RestartPolicy": {"Name": "no"},
        "SecurityOpt": ["no-new-privileges"],
        "CapDrop": ["ALL"],
        "CapAdd": list(spec.cap_add),
        "PidsLimit": spec.pids,
        "ReadonlyRootfs": spec.read_only,
        "LogConfig": _LOG,
        "Privileged": False,
    }
    if spec.memory is not None:
        # Equal limits: no swap on top.
        host |= {"Memory": spec.memory, "MemorySwap": spec.memory}
    if spec.cpus is not None:
        host["NanoCpus"] = round(spec.cpus * _NANO)
    if publish:
        host["PortBindings"] = {port: [{"HostIp": LOOPBACK, "HostPort": ""}]}
    config: dict[str, Any] = {
        "Image": spec.image,
        "Env": [f"{name}={value}" for name, value in spec.env.items()],
        "ExposedPorts": {port: {}},
        "HostConfig": host,
    }
    if spec.command is not None:
        config["Cmd"] = list(spec.command)
    if spec.entrypoint is not None:
        config["Entrypoint"] = list(spec.entrypoint)
    if spec.user is not None:
        config["User"] = spec.user
    config["Labels"] = {**spec.labels, TENANT_LABEL: tenant.name}
    config["Labels"][SPEC_LABEL] = fingerprint(config)
    # Not part of the fingerprint: a new grace counts from the next stop, and is no reason for a new container.
    config["StopTimeout"] = stop_seconds(tenant.stop_grace)
    return config


def fingerprint(config: dict[str, Any]) -> str:
    """The same for the same configuration, another for any other."""
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()[:32]
