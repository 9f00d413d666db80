"""What all workers share: given to each as one value by the controller, which makes and owns the parts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gogeta.domain.state import Member
from gogeta.domain.tenant import Tenant
from gogeta.kit.tasks import Tasks
from gogeta.registry.mirror import TenantMirror
from gogeta.registry.registry import Registry
from passivator.core.idle import IdlePolicy
from passivator.core.lost import LostProxies
from passivator.core.retry import RetryPolicy
from passivator.drivers.base import Driver, RuntimeUnavailableError
from passivator.meters import Meters
from passivator.ownership import Ownership
from passivator.startqueue import StartQueue


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What all workers share."""

    driver: Driver
    owner: Ownership
    registry: Registry
    mirror: TenantMirror
    policy: IdlePolicy
    queue: StartQueue
    meters: Meters
    tasks: Tasks
    settle: float
    drain_limit: float
    """Longest time that a stop waits for proxies and for what is in flight."""
    members: Callable[[], tuple[Member, ...]]
    """The live processes of ours."""
    lost: LostProxies
    retry: RetryPolicy
    fresh: Callable[[], bool]
    """Whether our copy of the registry is current."""
    need: Callable[[Tenant], int]
    """The bytes of memory a tenant counts for."""
    room_timeout: float
    """Longest wait of a start for memory, in seconds."""
    runtime_gone: Callable[[RuntimeUnavailableError], None]
    """The runtime did not answer."""
