"""gogeta's settings: every one declared here, once, with its help, its unit and its default.

Flags, ``GOGETA_...`` variables, TOML keys and docs/settings.md derive from these fields (kit/options.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Self

from gogeta.domain.asleep import (
    ANSWER,
    DISALLOW,
    MAX_WAKES,
    WAKE,
    AsleepPath,
    parse_asleep_paths,
    parse_choice,
    parse_robots,
)
from gogeta.domain.bots import parse_bot_names
from gogeta.domain.quantities import format_duration, parse_duration_or_never, parse_size
from gogeta.domain.upstreams import Endpoint
from gogeta.kit.options import option
from gogeta.kit.setting_values import (
    Network,
    RegistryUrl,
    duration,
    one_of,
    parse_collector,
    parse_hosts,
    parse_listener,
    parse_networks,
    parse_optional_listener,
    parse_registry,
    parse_via,
    share,
    switch,
    text,
    whole,
)

DEFAULT_REGISTRY: Final = "embedded:gogeta.db"
MOST_METRICS_TENANTS: Final = 200
"""As many fit, with all their numbers, into what a worker tells its supervisor twice a second."""


def asleep(**declaration: Any) -> Any:  # noqa: ANN401 - a field's declaration
    """Declare a kind of requests that are answered while a tenant is asleep, and may wake it instead."""
    return option(ANSWER, parse=parse_choice, metavar="WHAT", choices=(ANSWER, WAKE), section="Waking", **declaration)


LOG_LEVELS: Final = ("debug", "info", "warning", "error")


@dataclass(frozen=True, kw_only=True)
class RegistrySettings:
    """Where the registry is, and how it is spoken to. Shared by every command."""

    registry: RegistryUrl = option(
        parse_registry(DEFAULT_REGISTRY),
        help="The registry: embedded:PATH for one machine, etcd://HOST:PORT[,HOST:PORT...] for many, etcds:// for TLS.",
        parse=parse_registry,
        metavar="URL",
        section="Registry",
    )
    registry_ca: str = option(
        "",
        help="PEM file of the authority that signed etcd's certificates.",
        parse=text,
        metavar="FILE",
        section="Registry",
    )
    registry_cert: str = option(
        "", help="PEM file of our client certificate for etcd.", parse=text, metavar="FILE", section="Registry"
    )
    registry_key: str = option(
        "", help="PEM file of that certificate's private key.", parse=text, metavar="FILE", section="Registry"
    )
    registry_password_file: str = option(
        "",
        help="File with the password of the user named in the registry URL, so that it need not stand in the URL.",
        parse=text,
        metavar="FILE",
        section="Registry",
    )
    registry_timeout: float = duration(3.0, help="Longest wait for one answer of the registry.", section="Registry")
    log_level: str = option(
        "info",
        help="Least severe messages to log.",
        parse=one_of(*LOG_LEVELS),
        metavar="LEVEL",
        choices=LOG_LEVELS,
        section="Logs",
    )
    log_format: str = option(
        "text",
        help="Readable lines, or one JSON object a line.",
        parse=one_of("text", "json"),
        metavar="FORMAT",
        choices=("text", "json"),
        section="Logs",
    )


@dataclass(frozen=True, kw_only=True)
class TracingSettings:
    """Where spans go. Shared by both programs."""

    tracing: str = option(
        "",
        help="URL of an OpenTelemetry collector (OTLP over HTTP) that spans are sent to, e.g. http://127.0.0.1:4318. "
        "Off without it.",
        parse=parse_collector,
        metavar="URL",
        section="Tracing",
    )
    tracing_sample: float = option(
        1.0,
        help="Part of the traces beginning here that is kept, from 0 to 1. A request that comes with a `traceparent` "
        "is kept if that says so.",
        parse=share,
        metavar="SHARE",
        section="Tracing",
    )
    tracing_queue: int = option(
        4096,
        help="Most spans waiting to be sent, in each process; more are dropped and counted.",
        parse=whole(1, 1_000_000),
        metavar="N",
        section="Tracing",
    )


@dataclass(frozen=True, kw_only=True)
class AdminSettings:
    """Who is answered on an admin listener. Shared by both programs."""

    admin_auth: str = option(
        "auto",
        help="Whether the admin API asks for a token (`gogeta token`): on every address but a loopback one, or always.",
        parse=one_of("auto", "always"),
        metavar="WHEN",
        choices=("auto", "always"),
        section="Listeners",
    )
    admin_names: tuple[str, ...] = option(
        (),
        help="Hosts that the admin listener answers to besides its IP addresses and localhost, e.g. the name that "
        "Prometheus or a proxy in front asks for.",
        parse=parse_hosts,
        show=",".join,
        metavar="HOST[,HOST...]",
        section="Listeners",
    )


@dataclass(frozen=True, kw_only=True)
class ServeSettings(AdminSettings, TracingSettings, RegistrySettings):
    """What ``gogeta serve`` can be told."""

    listen: Endpoint = option(
        Endpoint("127.0.0.1", 8080),
        help="Address on which visitors are served.",
        parse=parse_listener,
        metavar="HOST:PORT",
        section="Listeners",
    )
    admin: Endpoint = option(
        Endpoint("127.0.0.1", 9901),
        help="Address of health, readiness, metrics and the admin API. Keep it away from visitors.",
        parse=parse_listener,
        metavar="HOST:PORT",
        section="Listeners",
    )
    proxy_protocol: bool = switch(
        help="Every visitor's connection begins with a PROXY protocol header (version 1 or 2); others are closed. "
        "Only from --trusted-proxies, if those are set.",
        section="Listeners",
    )
    workers: int = option(
        1,
        help="Worker processes, each with a loop of its own on one core.",
        parse=whole(1, 256),
        metavar="N",
        section="Listeners",
    )
    tls_cert: str = option(
        "",
        help="PEM file of the certificate, its chain behind it: for every host that no other certificate is for. "
        "Files are read again when they change.",
        parse=text,
        metavar="FILE",
        section="TLS",
    )
    tls_key: str = option(
        "",
        help="PEM file of that certificate's private key; not needed if it stands in the same file.",
        parse=text,
        metavar="FILE",
        section="TLS",
    )
    tls_dir: str = option(
        "",
        help="Folder of certificates, chosen by the host that the visitor names: NAME.crt or NAME.pem with NAME.key, "
        "or NAME/fullchain.pem with NAME/privkey.pem. The one called default is for all other hosts.",
        parse=text,
        metavar="DIR",
        section="TLS",
    )
    tls_listen: Endpoint | None = option(
        None,
        help="Address on which visitors are served over TLS. Without it, --listen speaks TLS as soon as there is a "
        "certificate.",
        parse=parse_optional_listener,
        show=lambda endpoint: "" if endpoint is None else str(endpoint),
        metavar="HOST:PORT",
        section="TLS",
    )
    https_redirect: bool = switch(
        help="Redirect requests in plain text to https, for all tenants; `https_only: true` in a declaration does so "
        "for one.",
        section="TLS",
    )
    https_port: int = option(
        0,
        help="Port of https, as visitors see it, for those redirects; 0 is that of --tls-listen, else 443.",
        parse=whole(0, 65535),
        metavar="N",
        section="TLS",
    )
    max_connections: int = option(
        20_000,
        help="Most visitors' connections at once, in each worker; more are refused with 503.",
        parse=whole(1),
        metavar="N",
        section="Limits",
    )
    max_connections_per_address: int = option(
        1000,
        help="Most connections at once from one address (IPv6: one /64 network), in each worker; more are refused "
        "with 429. 0: no limit. Trusted proxies are not counted.",
        parse=whole(0),
        metavar="N",
        section="Limits",
    )
    max_header_bytes: int = option(
        32 * 1024,
        help="Longest request or response head; beyond it 431, from a tenant 502.",
        parse=parse_size,
        metavar="SIZE",
        section="Limits",
    )
    max_header_fields: int = option(
        128, help="Most header fields in a head.", parse=whole(1, 10_000), metavar="N", section="Limits"
    )
    max_body: int = option(
        0,
        help="Largest request body, where a tenant's limits say nothing else; beyond it 413. 0: no limit.",
        parse=parse_size,
        metavar="SIZE",
        section="Limits",
    )
    min_body_rate: int = option(
        1024,
        help="Least bytes a second of a request's body while it is awaited; slower ones get 408. 0: no limit.",
        parse=parse_size,
        metavar="SIZE",
        section="Limits",
    )
    max_held: int = option(
        10_000,
        help="Most requests waiting for tenants to wake, in all; more get 503.",
        parse=whole(1),
        metavar="N",
        section="Limits",
    )
    max_held_per_tenant: int = option(
        2_000,
        help="Most requests waiting for one tenant to wake; more get 503.",
        parse=whole(1),
        metavar="N",
        section="Limits",
    )
    max_progress_streams: int = option(
        1_000,
        help="Most starting pages that follow a start live, in each worker; more ask again once in a while.",
        parse=whole(0),
        metavar="N",
        section="Limits",
    )
    max_progress_streams_per_tenant: int = option(
        100,
        help="The same for one tenant.",
        parse=whole(0),
        metavar="N",
        section="Limits",
    )
    max_idle_upstream: int = option(
        64, help="Most idle connections kept to one endpoint.", parse=whole(0, 10_000), metavar="N", section="Limits"
    )
    asleep_bots: str = asleep(
        help="What known bots and monitors, by their User-Agent, do with a sleeping tenant: they are answered with "
        "503, or wake it. This and what follows holds where a tenant's wake says nothing else."
    )
    asleep_bot_names: tuple[str, ...] = option(
        (),
        help="Changes to the list of known bots (docs/waking.md): NAME adds one, -NAME takes one out.",
        parse=parse_bot_names,
        show=",".join,
        metavar="NAME[,NAME...]",
        section="Waking",
    )
    asleep_prefetch: str = asleep(
        help="What browsers do with a sleeping tenant that fetch in advance (Sec-Purpose: prefetch): 503, or wake it."
    )
    asleep_favicon: str = asleep(help="What /favicon.ico is while a tenant is asleep: 204, or a wake.")
    asleep_robots: str = option(
        DISALLOW,
        help="What /robots.txt is while a tenant is asleep: disallow all, allow all, the text to send, or a wake.",
        parse=parse_robots,
        metavar="WHAT",
        section="Waking",
    )
    asleep_paths: tuple[AsleepPath, ...] = option(
        (),
        help="Paths with a fixed answer while a tenant is asleep, such as /healthz (200) or /ping=204.",
        parse=parse_asleep_paths,
        show=lambda paths: ",".join(str(path) for path in paths),
        metavar="PATH[=STATUS][,...]",
        section="Waking",
    )
    wakes_per_hour: int = option(
        1000,
        help="Most wakes of one tenant by visitors in any hour, over all proxies; then 429. 0: no limit.",
        parse=whole(0, MAX_WAKES),
        metavar="N",
        section="Waking",
    )
    wakes_per_hour_per_address: int = option(
        3000,
        help="Most wakes in any hour by visitors from one address (IPv6: one /64 network), in each worker; then 429. "
        "0: no limit.",
        parse=whole(0, MAX_WAKES),
        metavar="N",
        section="Waking",
    )
    header_timeout: float = duration(
        10.0, help="Longest time to send a request head, from its first byte; then 408.", section="Timeouts"
    )
    tls_handshake_timeout: float = duration(10.0, help="Longest time for a TLS handshake.", section="Timeouts")
    keep_alive_timeout: float = duration(
        75.0, help="How long an idle visitor's connection is kept.", section="Timeouts"
    )
    connect_timeout: float = duration(3.0, help="Longest time to connect to a tenant.", section="Timeouts")
    response_timeout: float = duration(
        60.0, help="Longest wait for a tenant's response head after the request was sent; then 504.", section="Timeouts"
    )
    body_timeout: float = duration(
        60.0, help="Longest pause in a body, either way; upgraded connections are exempt.", section="Timeouts"
    )
    body_rate_window: float = duration(
        30.0, help="Time over which the rate of a request's body is judged (see min_body_rate).", section="Timeouts"
    )
    exchange_timeout: float | None = option(
        None,
        help="Longest whole exchange, where a tenant's limits say nothing else; then 504, or a broken connection where "
        "the answer had begun. Upgraded connections are exempt. 0 or never: no limit.",
        parse=parse_duration_or_never,
        show=format_duration,
        metavar="DURATION",
        section="Timeouts",
    )
    upstream_idle_timeout: float = duration(
        30.0, help="How long an idle connection to a tenant is kept.", section="Timeouts"
    )
    drain_timeout: float = duration(
        30.0, help="After SIGTERM: how long exchanges in flight may go on.", section="Timeouts"
    )
    drain_delay: float = duration(
        0.0,
        help="After SIGTERM: how long visitors are still let in while /readyz says 503, so that load balancers notice.",
        section="Timeouts",
    )
    handover_timeout: float = duration(
        60.0,
        help="After SIGHUP: how long the new version may take to be ready; then the old one stays.",
        section="Timeouts",
    )
    trusted_proxies: tuple[Network, ...] = option(
        (),
        help="Networks of proxies in front whose X-Forwarded-* and Forwarded fields are believed, "
        "e.g. 10.0.0.0/8,::1/128.",
        parse=parse_networks,
        show=lambda networks: ",".join(str(network) for network in networks),
        metavar="CIDR[,CIDR...]",
        section="Forwarding",
    )
    via: str = option(
        "",
        help="Our name in Via, which requests and responses then carry; a request that has it already is in a loop and "
        "gets 508. Each gogeta in a chain needs a name of its own.",
        parse=parse_via,
        metavar="NAME",
        section="Forwarding",
    )
    access_interval: float = duration(
        10.0,
        help="Most often a tenant's last access is written while it is in use; "
        "a tenth of its idle timeout if that is less.",
        section="Timeouts",
    )
    pages: str = option(
        "",
        help="Folder with a theme for our pages: starting.html, error.html, or both. Read again when it changes.",
        parse=text,
        metavar="DIR",
        section="Pages",
    )
    access_log: str = option(
        "off",
        help="Where a line for each exchange goes: off, - for standard output, or a file that all workers share. One "
        "that was moved or removed is made anew within about a second.",
        parse=text,
        metavar="FILE",
        section="Access log",
    )
    access_log_format: str = option(
        "json",
        help="One JSON object a line, or the combined format that other web servers write.",
        parse=one_of("json", "combined"),
        metavar="FORMAT",
        choices=("json", "combined"),
        section="Access log",
    )
    access_log_sample: float = option(
        1.0,
        help="Part of the exchanges that is logged, from 0 to 1. Answers of 500 and more and exchanges that broke off "
        "always are.",
        parse=share,
        metavar="SHARE",
        section="Access log",
    )
    access_log_query: str = option(
        "drop",
        help="Whether the query of what was asked is logged; secrets often stand in it. A referer's never is.",
        parse=one_of("drop", "keep"),
        metavar="WHAT",
        choices=("drop", "keep"),
        section="Access log",
    )
    access_log_queue: int = option(
        10_000,
        help="Most lines waiting to be written, in each worker; more are dropped and counted.",
        parse=whole(1, 1_000_000),
        metavar="N",
        section="Access log",
    )

    metrics_tenants: int = option(
        0,
        help="Most tenants whose requests are counted by their names in /metrics: those that were declared first. All "
        'others are counted as tenant="_other". 0: nothing is counted by tenant.',
        parse=whole(0, MOST_METRICS_TENANTS),
        metavar="N",
        section="Metrics",
    )

    @property
    def listeners(self) -> tuple[Endpoint, ...]:
        """Every address of ours: no upstream may be one of them."""
        return tuple(endpoint for _, endpoint in listeners(self).values())

    def at(self, places: Mapping[str, Endpoint]) -> Self:
        """The same settings with the addresses that listeners, by name, really have."""
        names = {HTTP: "listen", HTTPS: "tls_listen", ADMIN: "admin"}
        changes: dict[str, Any] = {names[name]: endpoint for name, endpoint in places.items()}
        return replace(self, **changes)


HTTP: Final = "http"
HTTPS: Final = "https"
ADMIN: Final = "admin"
LISTENERS: Final = (HTTP, HTTPS, ADMIN)
"""Names of the listeners, as a service manager gives them too."""
UNNAMED: Final = (HTTP, ADMIN)
"""The listeners that sockets without one of these names are for, in this order."""


def listeners(settings: ServeSettings) -> dict[str, tuple[str, Endpoint]]:
    """Each listener's name, its setting and its address."""
    secure = {} if settings.tls_listen is None else {HTTPS: ("tls-listen", settings.tls_listen)}
    return {HTTP: ("listen", settings.listen), **secure, ADMIN: ("admin", settings.admin)}
