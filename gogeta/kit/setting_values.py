"""What a setting's value looks like: parsers from text to values, each naming the accepted forms when it refuses.

They take what a flag, a variable or a TOML key gives, and raise ValueError. Which settings there are, and what they
mean, is ``gogeta/settings.py``'s and passivator's business.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from gogeta.domain.hosts import normalise_host, split_authority
from gogeta.domain.quantities import format_duration, parse_duration
from gogeta.domain.upstreams import Endpoint
from gogeta.kit.options import ON_OFF, option

_ETCD_PORT: Final = 2379
_MOST_HOSTS: Final = 64
_SWITCH: Final = {
    "on": True,
    "true": True,
    "yes": True,
    "1": True,
    "off": False,
    "false": False,
    "no": False,
    "0": False,
}
_PSEUDONYM: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}(?::[0-9]{1,5})?").fullmatch
"""RFC 9110 section 7.6.3, ``received-by``: a token, or a host with its port."""
_BLANK: Final = re.compile(r"[\x00-\x20\x7f-\uffff]").search
_CREDENTIALS: Final = re.compile(r"(?<=://)[^/@]*@")


def parse_listener(value: object) -> Endpoint:
    """``host:port``, ``[ipv6]:port`` or ``:port`` (every address). Port 0 takes a free one. Raises ValueError."""
    if isinstance(value, Endpoint):
        return value
    try:
        host, port = split_authority(str(value))
    except ValueError as error:
        raise ValueError(f"expected an address such as 127.0.0.1:8080: {error}") from None
    if port is None:
        raise ValueError(f"expected an address with a port such as 127.0.0.1:8080, not {value!r}")
    return Endpoint(host.strip("[]"), port)


def parse_optional_listener(value: object) -> Endpoint | None:
    """As ``parse_listener``; empty for no listener. Raises ValueError."""
    return None if value is None or value == "" else parse_listener(value)


@dataclass(frozen=True, slots=True)
class RegistryUrl:
    """Where the registry is: ``embedded:PATH``, or ``etcd://[user:password@]host:port[,...]``, ``etcds://`` for TLS."""

    scheme: str
    path: str = ""
    endpoints: tuple[Endpoint, ...] = ()
    user: str = ""
    password: str = ""

    def __str__(self) -> str:
        """As a person writes it, the password left out."""
        if self.scheme == "embedded":
            return f"embedded:{self.path}"
        user = f"{self.user}:***@" if self.user else ""
        return f"{self.scheme}://{user}" + ",".join(str(endpoint) for endpoint in self.endpoints)

    __repr__ = __str__


def parse_registry(value: object) -> RegistryUrl:
    """A registry URL. Raises ValueError naming the accepted forms; a password never stands in the message."""
    if isinstance(value, RegistryUrl):
        return value
    text = str(value).strip()
    shown = _CREDENTIALS.sub("***@", text)
    forms = "expected embedded:PATH, etcd://host:port[,host:port...] or etcds://..."
    scheme, colon, rest = text.partition(":")
    if not colon:
        raise ValueError(f"{forms}, not {shown!r}")
    if scheme == "embedded":
        path = rest.removeprefix("//")
        if not path:
            raise ValueError(f"{forms}: the path is missing")
        return RegistryUrl("embedded", path=path)
    if scheme not in ("etcd", "etcds") or not rest.startswith("//"):
        raise ValueError(f"{forms}, not {shown!r}")
    credentials, at, hosts = rest[2:].rstrip("/").rpartition("@")
    user, _, password = credentials.partition(":") if at else ("", "", "")
    endpoints = []
    for part in hosts.split(","):
        try:
            host, port = split_authority(part)
        except ValueError as error:
            raise ValueError(f"{forms}: {error}") from None
        if not host:
            raise ValueError(f"{forms}, not {shown!r}")
        endpoints.append(Endpoint(host.strip("[]"), port or _ETCD_PORT))
    return RegistryUrl(scheme, endpoints=tuple(endpoints), user=unquote(user), password=unquote(password))


Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def parse_networks(value: object) -> tuple[Network, ...]:
    """Networks from a list, or from text with commas between. Raises ValueError naming the one that is none."""
    items = value if isinstance(value, list | tuple) else [part for part in str(value).split(",") if part.strip()]
    networks = []
    for item in items:
        try:
            networks.append(ipaddress.ip_network(str(item).strip()))
        except ValueError as error:
            raise ValueError(f"expected networks such as 10.0.0.0/8,::1/128, not {item!r} ({error})") from None
    return tuple(networks)


def whole(minimum: int, maximum: int = 2**31) -> Callable[[object], int]:
    """A parser of whole numbers from ``minimum`` to ``maximum``."""

    def parse(value: object) -> int:
        try:
            number = int(str(value))
        except ValueError:
            raise ValueError(f"expected a whole number, not {value!r}") from None
        if isinstance(value, bool) or not minimum <= number <= maximum:
            raise ValueError(f"expected a whole number from {minimum} to {maximum}, not {value!r}")
        return number

    return parse


def parse_hosts(value: object) -> tuple[str, ...]:
    """Names of hosts without ports, separated by commas or in a list, each in its one spelling. Raises ValueError."""
    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, (list, tuple)) or not all(isinstance(part, str) for part in parts):
        raise ValueError("expected names of hosts, separated by commas")
    given = [part.strip() for part in parts if part.strip()]
    if len(given) > _MOST_HOSTS:
        raise ValueError(f"expected at most {_MOST_HOSTS} names, not {len(given)}")
    found = []
    for name in given:
        host, port = split_authority(name)
        if port is not None:
            raise ValueError(f"expected the name of a host without a port, not {name!r}")
        found.append(normalise_host(host))
    return tuple(found)


def one_of(*choices: str) -> Callable[[object], str]:
    """A parser of one word of a closed set."""

    def parse(value: object) -> str:
        word = str(value).strip().lower()
        if word not in choices:
            raise ValueError(f"expected {', '.join(choices[:-1])} or {choices[-1]}, not {value!r}")
        return word

    return parse


def text(value: object) -> str:
    """A parser of any text."""
    return str(value)


def parse_via(value: object) -> str:
    """Our name in ``Via``; empty for none. Raises ValueError when it cannot stand in the field."""
    name = str(value).strip()
    if name and not _PSEUDONYM(name):
        raise ValueError(f"expected a name such as gogeta-1 or a host, not {value!r}")
    return name


def parse_web_address(value: object) -> str:
    """An http or https URL without a fragment; empty for none. Raises ValueError; credentials never stand in it."""
    text = str(value).strip()
    if not text:
        return ""
    shown = _CREDENTIALS.sub("***@", text)
    try:
        parts = urlsplit(text)
        whole_port = parts.port is None or parts.port > 0
    except ValueError as error:
        raise ValueError(f"expected a URL such as http://127.0.0.1:4318, not {shown!r} ({error})") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or not whole_port or parts.fragment or _BLANK(text):
        raise ValueError(f"expected a URL such as http://127.0.0.1:4318, not {shown!r}")
    return text


def parse_collector(value: object) -> str:
    """The URL of a collector of spans; empty for none. Raises ValueError."""
    text = parse_web_address(value)
    if text and urlsplit(text).query:
        raise ValueError("expected a URL without a query such as http://127.0.0.1:4318")
    return text


def parse_switch(value: object) -> bool:
    """On or off. Raises ValueError naming the words."""
    word = str(value).strip().lower()
    if word not in _SWITCH:
        raise ValueError(f"expected on or off, not {value!r}")
    return _SWITCH[word]


def switch(**declaration: Any) -> Any:  # noqa: ANN401 - a field's declaration
    """Declare a setting that is off if nobody says otherwise; its flag alone switches it on."""
    return option(
        False,  # noqa: FBT003 - the value of a setting
        parse=parse_switch,
        show=lambda on: "on" if on else "off",
        metavar="SWITCH",
        choices=ON_OFF,
        **declaration,
    )


def duration(default: float, **declaration: Any) -> Any:  # noqa: ANN401 - a field's declaration
    """Declare a setting in seconds."""
    return option(default, parse=parse_duration, show=format_duration, metavar="DURATION", **declaration)


def share(value: object) -> float:
    """A parser of a part of the whole, from 0 to 1."""
    try:
        part = float(str(value))
    except ValueError:
        part = -1.0
    if isinstance(value, bool) or not 0 <= part <= 1:
        raise ValueError(f"expected a number from 0 to 1, not {value!r}")
    return part
