"""A tenant as its operator declares it: name, hosts, how to run it, and its policies.

The declaration is one frozen tree. ``read_tenant`` and ``read_tenants`` are the only ways in, ``tenant_to_data`` the
only way out; what comes out reads back to an equal value. The same tree is what tenants.yaml holds, what the registry
stores and what the API will speak, so a field is described here once.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, NewType, cast

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, PlainSerializer

from gogeta.domain.asleep import AsleepPaths, Choice, PerHour, Robots
from gogeta.domain.errors import HostConflictError, InvalidInputError, Problem
from gogeta.domain.hosts import normalise_pattern, normalise_tenant_name
from gogeta.domain.quantities import parse_duration, parse_duration_or_never, parse_size
from gogeta.domain.reading import adapter, read
from gogeta.domain.sleeping import Awake, Busy, Sleep, check_depths, first_sleep
from gogeta.domain.upstreams import Endpoint, UnixEndpoint, Upstream, parse_upstream, upstream_url

TenantName = NewType("TenantName", str)
"""A tenant's name in its one spelling (see ``normalise_tenant_name``)."""

_STRICT: Final = ConfigDict(extra="forbid", strict=False)
_MAX_HOSTS: Final = 64
_MAX_UPSTREAMS: Final = 64
_MAX_WORDS: Final = 256
DEFAULT_PORT: Final = 80


def _text(value: object) -> object:
    # YAML reads `A: 1` and `yes` as numbers and booleans; an environment holds text only.
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, (int, float)) else value


def _no_nul(value: str) -> str:
    # What no program can be given: an argument, a path or a variable ends at it.
    if "\0" in value:
        raise ValueError("expected text without NUL characters")
    return value


def _variable(value: str) -> str:
    if not value or "=" in value:
        raise ValueError(f"expected the name of a variable, not {value!r}")
    return _no_nul(value)


def _pattern(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"expected a host such as app.example.com, not {value!r}")  # noqa: TRY004 - pydantic's protocol
    return normalise_pattern(value)


def _name(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise ValueError(f"expected a name such as acme, not {value!r}")  # noqa: TRY004 - pydantic's protocol
    return normalise_tenant_name(str(value))


def _upstream(value: object) -> Upstream:
    if isinstance(value, (Endpoint, UnixEndpoint)):
        return value
    return parse_upstream(value if isinstance(value, str) else repr(value))


def _words(value: object) -> object:
    if isinstance(value, str):
        raise ValueError(f'expected a list of words such as ["/bin/app", "--port", "80"], not the text {value!r}')  # noqa: TRY004
    return value


def _wake_mode(value: object) -> object:
    if value not in ("auto", "page", "hold"):
        raise ValueError(f"expected auto, page or hold, not {value!r}")
    return value


def parse_limit(value: object) -> float:
    """Seconds from a duration; 0 and ``never`` are no limit. Raises ValueError."""
    return parse_duration_or_never(value) or 0.0


Duration = Annotated[float, BeforeValidator(parse_duration)]
DurationOrNever = Annotated[
    float | None,
    BeforeValidator(parse_duration_or_never),
    PlainSerializer(lambda value: "never" if value is None else value),
]
Size = Annotated[int, BeforeValidator(parse_size)]
Word = Annotated[str, AfterValidator(_no_nul)]
Words = Annotated[tuple[Word, ...], BeforeValidator(_words), Field(max_length=_MAX_WORDS)]
Environment = dict[Annotated[str, AfterValidator(_variable)], Annotated[Word, BeforeValidator(_text)]]
DockerName = Annotated[str, Field(pattern=r"^[a-zA-Z0-9][a-zA-Z0-9_.-]*$", max_length=255)]
"""Names of containers and networks: they become parts of paths of Docker's API."""
ImageName = Annotated[str, Field(pattern=r"^[a-zA-Z0-9][a-zA-Z0-9_./:@-]*$", max_length=512)]
ProjectName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$", max_length=128)]
"""Names of Compose projects."""
ServiceName = Annotated[str, Field(pattern=r"^[a-zA-Z0-9._-]+$", max_length=128)]
GroupName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]{0,62}$")]
"""Names of groups of passivators: they become parts of keys."""
UpstreamUrl = Annotated[Upstream, BeforeValidator(_upstream), PlainSerializer(upstream_url)]
Port = Annotated[int, Field(ge=1, le=65535)]


@dataclass(frozen=True, slots=True, kw_only=True)
class DockerSpec:
    """How to run a tenant in Docker: a container made from ``image``, or existing ones that are adopted."""

    __pydantic_config__ = _STRICT

    image: ImageName | None = None
    """The image to make the container from."""
    container: DockerName | None = None
    """Adopt the container of this name instead of making one; it is never created or removed by us."""
    label: str | None = None
    """Adopt the one container with this label (``key`` or ``key=value``)."""
    compose: ProjectName | None = None
    """Adopt all containers of this Compose project as one tenant, started in the order of its ``depends_on``."""
    service: ServiceName | None = None
    """With ``compose``: the service whose containers answer."""
    command: Words | None = None
    """Words that replace the image's command."""
    entrypoint: Words | None = None
    """Words that replace the image's entrypoint."""
    env: Environment = field(default_factory=dict)
    """Variables of its environment."""
    volumes: tuple[str, ...] = ()
    """Binds as Docker writes them: ``/host/path:/path[:ro]`` or ``volume-name:/path[:ro]``."""
    memory: Size | None = None
    """Memory limit in bytes (``256m``); swap gets no more than this."""
    cpus: Annotated[float, Field(gt=0)] | None = None
    """CPU limit in cores, e.g. 0.5."""
    pids: Annotated[int, Field(ge=1)] = 256
    """Most processes and threads."""
    labels: dict[str, str] = field(default_factory=dict)
    """Further labels of the container."""
    cap_add: tuple[str, ...] = ()
    """Capabilities kept; all others are dropped."""
    user: Word | None = None
    """Whom it runs as, instead of the image's user."""
    read_only: bool = False
    """Whether the container's own file system is read-only."""
    init: bool = True
    """Run a small init as PID 1, so that SIGTERM ends programs that do not handle it."""
    network: DockerName | None = None
    """Join this existing network instead of one of the tenant's own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessSpec:
    """How to run a tenant as a local command. ``{port}`` in a word, and PORT in its environment, is its port."""

    __pydantic_config__ = _STRICT

    command: Annotated[Words, Field(min_length=1)]
    cwd: Word | None = None
    """Working folder; a relative one is meant from the folder of tenants.yaml."""
    env: Environment = field(default_factory=dict)
    """Variables of its environment, beside the few that it is given."""
    memory: Size | None = None
    """Most address space of each of its processes, in bytes."""
    open_files: Annotated[int, Field(ge=8)] | None = None
    """Most open files of each of its processes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """When a started tenant is ready: an HTTP path that answers 2xx or 3xx, or else its port accepting a connection."""

    __pydantic_config__ = _STRICT

    path: Annotated[str, Field(pattern=r"^/[!-~]*$", max_length=2048)] | None = None
    """Asked with GET until it answers 2xx or 3xx."""
    timeout: Annotated[Duration, Field(gt=0)] = 60.0
    """Seconds from the start until it has to be ready; after that the start has failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wake:
    """How a visitor of a sleeping tenant is met, and who may wake it. What is not given is as gogeta's settings say."""

    __pydantic_config__ = _STRICT

    mode: Annotated[str, BeforeValidator(_wake_mode)] = "auto"
    """``auto``: hold first, then the page for a person's navigation; ``page``: that at once; ``hold``: never a page."""
    hold: Duration = 1.0
    """Seconds a person's navigation is held before the page."""
    timeout: Annotated[Duration, Field(gt=0)] = 120.0
    """Seconds a program's request is held before a 503."""
    bots: Choice | None = None
    """``answer``: known bots and monitors are answered with 503 and do not wake it; ``wake``: they do."""
    prefetch: Choice | None = None
    """The same for what browsers fetch in advance."""
    favicon: Choice | None = None
    """``answer``: ``/favicon.ico`` is answered with 204 while it is asleep."""
    robots: Robots | None = None
    """``/robots.txt`` while it is asleep: ``disallow`` all, ``allow`` all, the text to send, or ``wake``."""
    asleep_paths: AsleepPaths = ()
    """Paths with a fixed answer while it is asleep: ``/healthz`` (200), ``{path: /ping, status: 204}``; the status
    ``wake`` takes out one of the settings."""
    per_hour: PerHour | None = None
    """Most wakes by visitors in any hour; 0: no limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What the proxy lets through to this tenant. Each stands before the setting of the same kind; 0 is no limit."""

    __pydantic_config__ = _STRICT

    body: Size | None = None
    """Largest request body in bytes (``100m``); a larger one is refused with 413. ``--max-body`` when not given."""
    exchange: Annotated[float, BeforeValidator(parse_limit)] | None = None
    """Longest whole exchange in seconds (``1h``; 0 or ``never``: no limit), upgraded connections exempt.
    ``--exchange-timeout`` when not given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenant:
    """One customer's application, as declared. Exactly one of docker, process and upstreams says how it runs."""

    __pydantic_config__ = _STRICT

    name: Annotated[TenantName, BeforeValidator(_name)]
    """1 to 63 small letters, digits and inner hyphens."""
    hosts: Annotated[tuple[Annotated[str, BeforeValidator(_pattern)], ...], Field(min_length=1, max_length=_MAX_HOSTS)]
    """What it answers for: ``app.example.com``, ``*.example.com`` for all below it, ``*`` for what nobody claims."""
    port: Port | None = None
    """Where the application listens; 80 for Docker, a free one for a process, when not given."""
    docker: DockerSpec | None = None
    """It runs in Docker."""
    process: ProcessSpec | None = None
    """It is a local command."""
    upstreams: Annotated[tuple[UpstreamUrl, ...], Field(max_length=_MAX_UPSTREAMS)] = ()
    """Routed only: addresses that somebody else runs, ``http://host:port`` or ``unix:/path``. Never woken, never
    passivated."""
    https_only: bool = False
    """Redirect requests in plain text to https instead of serving them."""
    idle_timeout: DurationOrNever = 1800.0
    """Seconds without any use until it is passivated; ``never``: it is not."""
    sleep: Sleep = field(default_factory=Sleep)
    """How deep it sleeps, and when."""
    busy: Busy | None = None
    """Its own veto against being put to sleep."""
    awake: Awake | None = None
    """Hours in which it is not put to sleep."""
    stop_grace: Duration = 10.0
    """Seconds between SIGTERM and SIGKILL at a stop."""
    ready: Ready = field(default_factory=Ready)
    """When a start counts as done."""
    wake: Wake = field(default_factory=Wake)
    """How a visitor is met while it is not up, and who may wake it."""
    limits: Limits = field(default_factory=Limits)
    """What the proxy lets through to it."""
    group: GroupName | None = None
    """The group of passivators that runs it, where several with the same driver share a registry (``--group``)."""
    discovered: bool = False
    """Whether passivator declared it from the labels of containers: its ``group`` changes it with them and removes it
    when they are gone. A declaration by hand is without it."""
    keep_alive: bool = True
    """Whether connections to the application serve several requests. False is for an application that must not see two
    visitors on one connection; it costs a connection a request."""

    def __post_init__(self) -> None:
        """The rules that span fields. Raises ValueError."""
        ways = [name for name, given in self._ways() if given]
        if len(ways) != 1:
            found = " and ".join(ways) if ways else "none"
            raise ValueError(f"expected exactly one of docker, process and upstreams, found {found}")
        if len(set(self.hosts)) != len(self.hosts):
            twice = next(host for host in self.hosts if self.hosts.count(host) > 1)
            raise ValueError(f"host {twice!r} is listed twice")
        if self.docker is not None:
            _check_way(self.docker)
        check_depths(self.sleep, self.idle_timeout)

    def _ways(self) -> tuple[tuple[str, bool], ...]:
        return (
            ("docker", self.docker is not None),
            ("process", self.process is not None),
            ("upstreams", bool(self.upstreams)),
        )

    @property
    def driver(self) -> str | None:
        """The kind of driver that runs it: ``docker``, ``process``, or None when it is routed only."""
        if self.docker is not None:
            return "docker"
        return "process" if self.process is not None else None

    @property
    def sleeps_after(self) -> float | None:
        """Seconds without use until it first falls asleep, paused or stopped; None never."""
        return first_sleep(self.sleep, self.idle_timeout)

    @property
    def routed_only(self) -> bool:
        """Whether somebody else runs it: no desired state, no observed state, never asleep."""
        return bool(self.upstreams)


def _check_way(spec: DockerSpec) -> None:
    """The rules that span the fields of a Docker declaration. Raises ValueError."""
    named = [name for name in ("image", "container", "label", "compose") if getattr(spec, name)]
    if len(named) != 1:
        found = " and ".join(named) if named else "none"
        raise ValueError(f"docker: expected exactly one of image, container, label and compose, found {found}")
    if spec.compose is not None and spec.service is None:
        raise ValueError("docker: compose needs `service`, the one of its services that answers")
    if spec.service is not None and spec.compose is None:
        raise ValueError("docker: service goes with compose, and there is none")


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantsFile:
    """The shape of tenants.yaml."""

    __pydantic_config__ = _STRICT

    tenants: tuple[Tenant, ...] = ()
    """One after the other, in any order."""


def read_tenant(data: object, *, what: str) -> Tenant:
    """One tenant from its data. Raises InvalidInputError listing every problem."""
    return read(Tenant, data, what=what)


def read_tenants(data: object, *, what: str) -> tuple[Tenant, ...]:
    """All tenants of a tenants.yaml's data.

    Raises InvalidInputError (every problem, each with its path), among them names used twice, and hosts claimed by two
    tenants (both named).
    """
    data = {} if data is None else data
    found: list[Problem] = []
    try:
        tenants = list(enumerate(read(TenantsFile, data, what=what).tenants))
    except InvalidInputError as error:
        found.extend(error.problems)
        tenants = _readable(data, what)
    names: dict[str, int] = {}
    claims: dict[str, str] = {}
    for index, tenant in tenants:
        if tenant.discovered:
            found.append(Problem(("tenants", index, "discovered"), "is passivator's own mark: leave it out"))
        if tenant.name in names:
            found.append(
                Problem(
                    ("tenants", index, "name"), f"{tenant.name!r} is already the name of tenants[{names[tenant.name]}]"
                )
            )
        names.setdefault(tenant.name, index)
        for place, host in enumerate(tenant.hosts):
            holder = claims.setdefault(host, tenant.name)
            if holder != tenant.name:
                conflict = HostConflictError(host, holder, tenant.name)
                found.append(Problem(("tenants", index, "hosts", place), conflict.message))
    if found:
        raise InvalidInputError(what, tuple(found))
    return tuple(tenant for _, tenant in tenants)


def _readable(data: object, what: str) -> list[tuple[int, Tenant]]:
    # One bad tenant must not hide what is wrong between the others: all problems are told at once.
    items = data.get("tenants") if isinstance(data, dict) else None
    readable = []
    for index, item in enumerate(items if isinstance(items, list) else ()):
        with contextlib.suppress(InvalidInputError):
            readable.append((index, read_tenant(item, what=what)))
    return readable


def tenant_to_data(tenant: Tenant) -> dict[str, Any]:
    """The tenant as JSON-able data, without what is at its default. ``read_tenant`` reads it back to an equal value."""
    return cast("dict[str, Any]", adapter(Tenant).dump_python(tenant, mode="json", exclude_defaults=True))


def find_conflict(claimed: Mapping[str, str], tenants: Iterable[Tenant]) -> HostConflictError | None:
    """The first host that one of ``tenants`` wants while ``claimed`` (host to tenant) gives it to another."""
    claims = dict(claimed)
    for tenant in tenants:
        for host in tenant.hosts:
            holder = claims.setdefault(host, tenant.name)
            if holder != tenant.name:
                return HostConflictError(host, holder, tenant.name)
    return None
