"""A network for each tenant, and what to do when the engine has no addresses left for one more.

Networks hold address ranges, and an engine as it is installed has about thirty of them. Tenants that sleep need none:
when the engine runs out, networks in which nothing runs are given back, and made again at their tenant's next start.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any, Final

from gogeta.domain.state import ReasonCode
from gogeta.domain.tenant import DockerSpec, Tenant, TenantName
from passivator.drivers.base import StartFailedError
from passivator.drivers.docker_engine import Engine, Refused
from passivator.drivers.docker_spec import TENANT_LABEL, network_config, network_name, object_name
from passivator.drivers.docker_view import is_attached, tenant_of

_EXHAUSTED: Final = ("non-overlapping", "pool", "address space")
_GIVE_BACK: Final = 4
"""Networks given back at once when the engine has no addresses left: starts come in groups."""

logger = logging.getLogger(__name__)

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Network:
    """A network that is there: its id, and whether containers in it can be reached by their address."""

    name: str
    id: str
    reachable: bool


class Networks:
    """The networks of one engine."""

    def __init__(self, engine: Engine, reach: str) -> None:
        """``reach`` as ``docker_reach``: auto, bridge or published."""
        self._engine = engine
        self._reach = reach

    async def ensure(self, tenant: Tenant, spec: DockerSpec) -> Network:
        """The tenant's network, made when missing. StartFailedError when one that is declared is not there."""
        name = network_name(tenant, spec)
        seen = await self._engine.network(name)
        if seen is None:
            if spec.network is not None:
                raise StartFailedError(
                    ReasonCode.BAD_SPEC, f"there is no network {name}", hint=f"`docker network create {name}` makes one"
                )
            await self._make(tenant.name)
            seen = await self._engine.network(name)
        if seen is None:
            raise StartFailedError(ReasonCode.RUNTIME, f"network {name} was made and is not there")
        return Network(name, seen["Id"], self._is_reachable(seen))

    def _is_reachable(self, seen: Json) -> bool:
        if self._reach != "auto":
            return self._reach == "bridge"
        subnets = [pool["Subnet"] for pool in seen["IPAM"].get("Config") or () if pool.get("Subnet")]
        return any(is_attached(subnet) for subnet in subnets)

    async def _make(self, name: TenantName) -> None:
        try:
            await self._engine.create_network(network_config(name))
        except Refused as refused:
            if refused.status == 409:  # somebody was faster
                return
            if not any(sign in refused.message for sign in _EXHAUSTED):
                raise
            if not await self._give_back():
                raise StartFailedError(
                    ReasonCode.RUNTIME,
                    f"no addresses are left for a network of its own: {refused.message}",
                    hint="give the engine more and smaller ones: `default-address-pools` in its daemon.json",
                ) from refused
            await self._engine.create_network(network_config(name))

    async def _give_back(self) -> int:
        """Remove some networks of ours in which nothing runs; how many were."""
        given = 0
        for listed in await self._engine.networks(TENANT_LABEL):
            if given == _GIVE_BACK:
                break
            # Attached are only those that run; what is stopped is attached anew when it is started.
            seen = await self._engine.network(listed["Id"])
            if seen is None or seen.get("Containers") or tenant_of(seen["Labels"]) is None:
                continue
            try:
                await self._engine.remove_network(seen["Id"])
            except Refused as refused:
                logger.info("network %s was not given back: %s", seen["Name"], refused)
            else:
                given += 1
        logger.info("the Docker engine has no addresses left for one more network; %d were given back", given)
        return given

    async def attach(self, network: Network, container: Json) -> None:
        """See that a stopped container is in the network as it is now, which may have been made anew."""
        attached = container["NetworkSettings"]["Networks"].get(network.name)
        if attached is not None and attached.get("NetworkID") in (network.id, "", None):
            return
        if attached is not None:
            await self._engine.disconnect(network.name, container["Id"])
        await self._engine.connect(network.name, container["Id"])

    async def remove(self, name: TenantName) -> None:
        """Remove the tenant's own network, unless somebody else uses it."""
        seen = await self._engine.network(object_name(name))
        if seen is None or tenant_of(seen["Labels"]) != name:
            return
        try:
            await self._engine.remove_network(seen["Id"])
        except Refused as refused:
            logger.warning("network %s stays: %s", seen["Name"], refused)
