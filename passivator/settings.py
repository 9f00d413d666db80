"""passivator's settings: every one declared here, once (see gogeta/settings.py for how they are read)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from gogeta.domain.upstreams import Endpoint
from gogeta.kit.options import option
from gogeta.settings import RegistrySettings, duration, one_of, parse_listener, text, whole

DRIVERS: Final = ("docker", "process")


@dataclass(frozen=True, kw_only=True)
class ControllerSettings:
    """What the controller can be told; ``gogeta up`` takes these too."""

    driver: str = option(
        "process",
        help="What runs tenants: docker, or process for local commands.",
        parse=one_of(*DRIVERS),
        metavar="DRIVER",
        choices=DRIVERS,
        section="Runtime",
    )
    docker_host: str = option(
        "unix:///var/run/docker.sock",
        help="Where the Docker engine listens: unix:///PATH or tcp://HOST:PORT.",
        parse=text,
        metavar="URL",
        section="Runtime",
    )
    docker_reach: str = option(
        "auto",
        help="How containers are reached: by their bridge address, or by a port published on loopback; "
        "auto tries the bridge first.",
        parse=one_of("auto", "bridge", "published"),
        metavar="WAY",
        choices=("auto", "bridge", "published"),
        section="Runtime",
    )
    state_dir: str = option(
        "gogeta-state",
        help="Folder for what local processes write; made when missing.",
        parse=text,
        metavar="DIR",
        section="Runtime",
    )
    max_starts: int = option(
        4, help="Most starts at the same time; others queue.", parse=whole(1, 1000), metavar="N", section="Life cycle"
    )
    settle: float = duration(
        0.5,
        help="Pause between the decision to passivate and the stop: a proxy that uses the tenant takes it back.",
        section="Life cycle",
    )
    drain_limit: float = duration(
        30.0,
        help="Longest that a stop waits for proxies to hear of it and for what is in flight. Then an operator's "
        "`stop` cuts it off, and any other sleep is taken back.",
        section="Life cycle",
    )
    lost_proxy_grace: float = duration(
        300.0,
        help="How long tenants stay awake that a proxy had in flight which was lost without a goodbye: it may be "
        "frozen, or cut off from the registry, and still be serving.",
        section="Life cycle",
    )
    resync: float = duration(
        30.0, help="How often everything is compared again, whatever events said.", section="Life cycle"
    )
    retry_first: float = duration(
        1.0, help="Wait after a first failed start; doubled after each further one.", section="Life cycle"
    )
    retry_limit: float = duration(300.0, help="Longest wait between failed starts.", section="Life cycle")


@dataclass(frozen=True, kw_only=True)
class PassivatorSettings(ControllerSettings, RegistrySettings):
    """What ``passivator`` can be told."""

    admin: Endpoint = option(
        Endpoint("127.0.0.1", 9902),
        help="Address of health, readiness and metrics.",
        parse=parse_listener,
        metavar="HOST:PORT",
        section="Listeners",
    )
