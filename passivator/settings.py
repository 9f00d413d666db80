"""passivator's settings: every one declared here, once (see gogeta/settings.py for how they are read)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from gogeta.domain.quantities import format_duration, parse_duration, parse_size
from gogeta.domain.upstreams import Endpoint
from gogeta.kit.options import ON_OFF, option
from gogeta.kit.setting_values import duration, one_of, parse_listener, parse_switch, parse_web_address, text, whole
from gogeta.settings import AdminSettings, RegistrySettings, TracingSettings

DRIVERS: Final = ("docker", "process")
AUTO: Final = -1
"""Of ``memory_limit``: as much as the runtime's machine can bear."""
MOST_URLS: Final = 8
"""Receivers of webhooks."""
EVENTS: Final = ("started", "passivated", "failed", "stopped")
"""What webhooks may tell; core/transition.py says when each happens."""
SHORTEST_LEASE: Final = 2.0
_GROUP: Final = re.compile(r"[a-z0-9][a-z0-9.-]{0,62}").fullmatch


def parse_memory_limit(value: object) -> int:
    """A size, 0 for no limit, ``auto`` for AUTO. Raises ValueError."""
    if value == AUTO or (isinstance(value, str) and value.strip().lower() == "auto"):
        return AUTO
    try:
        return parse_size(value)
    except ValueError:
        raise ValueError(f"expected a size such as 4g, 0 for no limit, or auto, not {value!r}") from None


def parse_group(value: object) -> str:
    """The name of a group; empty for the runtime's own. Raises ValueError."""
    name = str(value).strip().lower()
    if name and not _GROUP(name):
        raise ValueError(f"expected a name of letters, digits, dots and hyphens such as docker-rack1, not {value!r}")
    return name


def parse_lease(value: object) -> float:
    """The time of a lease: 2 seconds or more, as short as etcd's leases can be. Raises ValueError."""
    seconds = parse_duration(value)
    if seconds < SHORTEST_LEASE:
        raise ValueError(f"expected {SHORTEST_LEASE:g}s or more, not {value!r}")
    return seconds


def show_memory_limit(value: int) -> str:
    """As a person writes it."""
    return "auto" if value == AUTO else str(value)


def parse_urls(value: object) -> tuple[str, ...]:
    """URLs from a list, or from text with commas between. Raises ValueError, which shows no credentials."""
    items = value if isinstance(value, list | tuple) else str(value).split(",")
    urls = tuple(dict.fromkeys(url for item in items if (url := parse_web_address(item))))
    if len(urls) > MOST_URLS:
        raise ValueError(f"expected at most {MOST_URLS} URLs, not {len(urls)}")
    return urls


def parse_events(value: object) -> tuple[str, ...]:
    """Kinds of events from a list, or from text with commas between. Raises ValueError naming the kinds."""
    items = value if isinstance(value, list | tuple) else str(value).split(",")
    words = tuple(dict.fromkeys(word for item in items if (word := str(item).strip().lower())))
    for word in words:
        if word not in EVENTS:
            raise ValueError(f"expected {', '.join(EVENTS[:-1])} or {EVENTS[-1]}, not {word!r}")
    if not words:
        raise ValueError(f"expected one or more of {', '.join(EVENTS)}")
    return words


@dataclass(frozen=True, kw_only=True)
class ControllerSettings(TracingSettings):
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
    discover: bool = option(
        False,  # noqa: FBT003 - the value of a setting
        help="Whether containers and Compose projects become tenants by their labels (docs/labels.md). For docker.",
        parse=parse_switch,
        show=lambda on: "on" if on else "off",
        metavar="SWITCH",
        choices=ON_OFF,
        section="Runtime",
    )
    discover_settle: float = duration(
        10.0,
        help="How long containers must be gone until the tenant that their labels declared is withdrawn: Compose "
        "removes containers before it makes them anew.",
        section="Runtime",
    )
    state_dir: str = option(
        "gogeta-state",
        help="Folder for what local processes write; made when missing.",
        parse=text,
        metavar="DIR",
        section="Runtime",
    )
    group: str = option(
        "",
        help="The group of passivators in which one leads: those that drive the same runtime. Derived from the runtime "
        "when not given (docs/several.md).",
        parse=parse_group,
        metavar="NAME",
        section="Several",
    )
    lead_ttl: float = option(
        5.0,
        parse=parse_lease,
        show=format_duration,
        metavar="DURATION",
        help="How long a leader may be silent until another passivator of its group takes over; at least 2 s.",
        section="Several",
    )
    max_starts: int = option(
        4, help="Most starts at the same time; others queue.", parse=whole(1, 1000), metavar="N", section="Life cycle"
    )
    max_queued: int = option(
        1000,
        help="Most starts that wait for their turn; more fail with the reason queue-full, and are tried again.",
        parse=whole(1),
        metavar="N",
        section="Life cycle",
    )
    memory_limit: int = option(
        0,
        help="Most memory that all started tenants together may declare; starts beyond it wait. 0: no limit; auto: as "
        "much as the runtime's machine can bear.",
        parse=parse_memory_limit,
        show=show_memory_limit,
        metavar="SIZE",
        section="Memory",
    )
    memory_default: int = option(
        256 * 1024 * 1024,
        help="What a tenant counts for that declares no memory.",
        parse=parse_size,
        metavar="SIZE",
        section="Memory",
    )
    make_room: bool = option(
        True,  # noqa: FBT003 - the value of a setting
        help="Whether the longest idle tenant is put to sleep when others wait for memory.",
        parse=parse_switch,
        show=lambda on: "on" if on else "off",
        metavar="SWITCH",
        choices=ON_OFF,
        section="Memory",
    )
    room_min_awake: float = duration(
        60.0,
        help="How long a tenant must have been up and unused before it is put to sleep for others.",
        section="Memory",
    )
    room_timeout: float = duration(
        60.0,
        help="Longest wait of a start for memory; then it fails with the reason no-room, and is tried again.",
        section="Memory",
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
    max_failures: int = option(
        8,
        help="Failures in a row (starts that fail, crashes soon after one) until a tenant is given up: then it is "
        "tried only when a visitor asks for it, at most once in the longest wait, or an operator. 0: never given up.",
        parse=whole(0, 1000),
        metavar="N",
        section="Life cycle",
    )

    webhook_urls: tuple[str, ...] = option(
        (),
        help="Where webhooks go (docs/webhooks.md): each URL gets every event. Off without one.",
        parse=parse_urls,
        show=",".join,
        metavar="URL[,URL...]",
        section="Webhooks",
    )
    webhook_secret_file: str = option(
        "",
        help="File with the secret that webhooks are signed with; more lines are more secrets, for a change of them.",
        parse=text,
        metavar="FILE",
        section="Webhooks",
    )
    webhook_events: tuple[str, ...] = option(
        ("started", "passivated", "failed"),
        help="Which events are sent: started, passivated, failed, stopped (by an operator).",
        parse=parse_events,
        show=",".join,
        metavar="EVENT[,EVENT...]",
        section="Webhooks",
    )
    webhook_timeout: float = duration(
        10.0, help="Longest wait for a receiver's answer; then it is tried again.", section="Webhooks"
    )
    webhook_attempts: int = option(
        8,
        help="Tries of one webhook, with pauses that grow from 1 s to 5 min; then it is given up.",
        parse=whole(1, 100),
        metavar="N",
        section="Webhooks",
    )
    webhook_queue: int = option(
        1000,
        help="Most webhooks that wait for one URL; more are dropped and counted.",
        parse=whole(1, 1_000_000),
        metavar="N",
        section="Webhooks",
    )


@dataclass(frozen=True, kw_only=True)
class PassivatorSettings(AdminSettings, ControllerSettings, RegistrySettings):
    """What ``passivator`` can be told."""

    admin: Endpoint = option(
        Endpoint("127.0.0.1", 9902),
        help="Address of health, readiness, metrics and the admin API.",
        parse=parse_listener,
        metavar="HOST:PORT",
        section="Listeners",
    )
