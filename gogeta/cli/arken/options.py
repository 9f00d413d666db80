"""What `gogeta import-arken` takes on its command line: which tree is read and how, and what is made of it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import tzinfo
from typing import Any, Final, TypeVar

import click

from gogeta.cli.arken.times import read_offset
from gogeta.domain.hosts import normalise_host
from gogeta.domain.hours import zone_of
from gogeta.kit.setting_values import RegistryUrl, parse_registry

Callback = TypeVar("Callback", bound=Callable[..., Any])

_SCHEMES: Final = {"http": "etcd", "https": "etcds", "etcd": "etcd", "etcds": "etcds"}


class EtcdUrlType(click.ParamType[RegistryUrl]):
    """Where the old etcd is, as it was written then (``http://``) or as a registry is (``etcd://``)."""

    name = "url"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> RegistryUrl:
        """The URL, or a refusal with the accepted forms; a password never stands in it."""
        scheme, colon, rest = value.partition("://")
        try:
            if not colon or scheme not in _SCHEMES:
                raise ValueError  # noqa: TRY301 - told below, together with what else may be wrong
            url = parse_registry(f"{_SCHEMES[scheme]}://{rest}")
            for endpoint in url.endpoints:
                normalise_host(endpoint.authority)
        except ValueError:
            shown = "" if "@" in value else f", not {value!r}"
            self.fail(f"expected etcd's address such as http://10.0.0.5:2379 or https://...{shown}", param, ctx)
        return url


class ZoneType(click.ParamType[tzinfo]):
    """A time zone, by name or as an offset."""

    name = "zone"

    def convert(self, value: str | tzinfo, param: click.Parameter | None, ctx: click.Context | None) -> tzinfo:
        """The zone, or a refusal with the accepted forms."""
        if isinstance(value, tzinfo):
            return value
        try:
            zone = read_offset(value) or zone_of(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)
        if zone is None:
            self.fail(f"expected a zone such as UTC, Europe/Paris or +02:00, not {value!r}", param, ctx)
        return zone


class FolderType(click.ParamType[str]):
    """A folder of the tree."""

    name = "dir"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The path with a slash before it and none after it."""
        path = "/" + value.strip("/")
        if path == "/" or not value.isprintable():
            self.fail(f"expected a folder such as /domains, not {value!r}", param, ctx)
        return path


class PatternType(click.ParamType[str]):
    """How containers are called."""

    name = "pattern"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The pattern, if it tells one service from another."""
        if "{service}" not in value and "{tenant}" not in value:
            self.fail(f"expected {{service}} or {{tenant}} in it, as in nuxeo-{{service}}, not {value!r}", param, ctx)
        return value


def tree_options(callback: Callback) -> Callback:
    """Which tree is read, and how."""
    for decorator in reversed(
        (
            click.option("--etcd", required=True, type=EtcdUrlType(), metavar="URL", help="Where the old etcd is."),
            click.option(
                "--etcd-api",
                type=click.Choice(["auto", "v2", "v3"]),
                default="auto",
                show_default=True,
                help="Which keys: those that Arken used (v2), what `etcdctl migrate` made of them (v3), or v2 where "
                "there are any.",
            ),
            click.option(
                "--etcd-ca", default="", metavar="FILE", help="PEM file of the authority that signed its certificates."
            ),
            click.option("--etcd-cert", default="", metavar="FILE", help="PEM file of our client certificate for it."),
            click.option("--etcd-key", default="", metavar="FILE", help="PEM file of that certificate's private key."),
            click.option(
                "--etcd-password-file",
                default="",
                metavar="FILE",
                help="File with the password of the user in the URL.",
            ),
            click.option(
                "--domain-dir",
                type=FolderType(),
                default="/domains",
                show_default=True,
                metavar="DIR",
                help="Its folder of domains.",
            ),
            click.option(
                "--service-dir",
                type=FolderType(),
                default="/services",
                show_default=True,
                metavar="DIR",
                help="Its folder of services.",
            ),
            click.option(
                "--timezone",
                type=ZoneType(),
                default="UTC",
                show_default=True,
                metavar="ZONE",
                help="Zone of last accesses that name none: where the older gogeta ran, e.g. Europe/Paris.",
            ),
            click.option(
                "--skip",
                multiple=True,
                metavar="PATTERN",
                help="Leave out keys such as /services/test_* or /services/acme/2. May be given again.",
            ),
        )
    ):
        callback = decorator(callback)
    return callback


def tenant_options(callback: Callback) -> Callback:
    """What is made of it."""
    for decorator in reversed(
        (
            click.option(
                "--container-name",
                type=PatternType(),
                metavar="PATTERN",
                help="Services run in containers of this name: adopt them. {service} stands for the service's name, "
                "{tenant} for the tenant's.",
            ),
            click.option(
                "--container-label", type=PatternType(), metavar="PATTERN", help="The same by a label: key={service}."
            ),
            click.option(
                "--container-port",
                type=click.IntRange(1, 65535),
                metavar="N",
                help="Where the application listens in its container; 80 when not given.",
            ),
            click.option("-f", "--file", metavar="FILE", help="Import as these tenants, made by -o yaml and edited."),
            click.option(
                "--www/--no-www", default=True, help="Whether www. before a domain leads there too, as it did."
            ),
        )
    ):
        callback = decorator(callback)
    return callback
