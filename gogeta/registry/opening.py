"""From settings to a store: the one place that knows which stores there are."""

from __future__ import annotations

import ssl
from pathlib import Path

from gogeta.domain.errors import InvalidInputError, Problem
from gogeta.registry.embedded import EmbeddedStore
from gogeta.registry.readonly import ReadOnlyStore
from gogeta.registry.store import Store
from gogeta.settings import RegistrySettings

_MAX_PASSWORD_BYTES = 4096


def open_to_read(settings: RegistrySettings) -> Store:
    """The same store for one who only looks: whatever is built on it, nothing is written."""
    if settings.registry.scheme == "embedded":
        return ReadOnlyStore(_open_embedded(settings, read_only=True))
    return ReadOnlyStore(open_store(settings))


def open_store(settings: RegistrySettings) -> Store:
    """The store that the settings name; its user closes it.

    A store on a network is opened without touching the network, so that a program can start while it is down. Raises
    InvalidInputError for settings that cannot be used (a missing folder, an unreadable certificate), RegistryError for
    a file that cannot be opened.
    """
    if settings.registry.scheme == "embedded":
        return _open_embedded(settings)
    # It brings aiohttp along, which takes longer to import than a command on an embedded registry takes in all.
    from gogeta.registry.etcd import EtcdStore  # noqa: PLC0415

    return EtcdStore(
        settings.registry.endpoints,
        tls=tls_context(settings),
        user=settings.registry.user,
        password=read_password(settings),
        timeout=settings.registry_timeout,
    )


def _open_embedded(settings: RegistrySettings, *, read_only: bool = False) -> EmbeddedStore:
    path = Path(settings.registry.path)
    if not path.parent.is_dir():
        raise _refused("registry", f"the folder {path.parent} does not exist", hint=f"make it: mkdir -p {path.parent}")
    if path.is_dir():
        raise _refused("registry", f"{path} is a folder", hint=f"name a file in it: embedded:{path}/gogeta.db")
    return EmbeddedStore(str(path), timeout=settings.registry_timeout, read_only=read_only)


def tls_context(settings: RegistrySettings) -> ssl.SSLContext | None:
    """How etcd is spoken to; None without TLS. Raises InvalidInputError for files that cannot be used."""
    files = {"registry_ca": settings.registry_ca, "registry_cert": settings.registry_cert}
    files["registry_key"] = settings.registry_key
    if settings.registry.scheme == "etcd":
        given = [name for name, file in files.items() if file]
        if given:
            # Silently speaking without TLS is the one thing their giver did not want.
            raise _refused(given[0], "is given, but the registry URL is without TLS", hint="write etcds:// in it")
        return None
    if bool(settings.registry_cert) != bool(settings.registry_key):
        raise _refused(
            "registry_key" if settings.registry_cert else "registry_cert",
            "is missing: a client certificate and its key are given together",
        )
    for name, file in files.items():
        if file:
            _read(name, file)
    try:
        context = ssl.create_default_context(cafile=settings.registry_ca or None)
    except (ssl.SSLError, OSError) as error:
        raise _refused("registry_ca", f"{settings.registry_ca} holds no certificate in PEM form ({error})") from None
    if settings.registry_cert:
        try:
            context.load_cert_chain(settings.registry_cert, settings.registry_key, password=_no_passphrase)
        except (ssl.SSLError, OSError) as error:
            raise _refused(
                "registry_cert",
                f"{settings.registry_cert} and {settings.registry_key} are no certificate and its key ({error})",
                hint="both in PEM form, the key without a passphrase",
            ) from None
    return context


def _no_passphrase() -> str:
    # Without this OpenSSL asks on the terminal and waits.
    return ""


def read_password(settings: RegistrySettings) -> str:
    """The password of etcd's user, from the URL or a file; empty without. Raises InvalidInputError."""
    if not settings.registry_password_file:
        return settings.registry.password
    if not settings.registry.user:
        raise _refused(
            "registry_password_file",
            "is given, but the registry URL names no user",
            hint="write the user into the URL: etcd://USER@HOST:PORT",
        )
    if settings.registry.password:
        raise _refused("registry_password_file", "is given, but the registry URL has a password as well")
    password = _read("registry_password_file", settings.registry_password_file)
    try:
        return password.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise _refused("registry_password_file", f"{settings.registry_password_file} is no text") from None


def _read(name: str, file: str) -> bytes:
    try:
        with Path(file).open("rb") as opened:
            return opened.read(_MAX_PASSWORD_BYTES)
    except OSError as error:
        raise _refused(name, f"{file} cannot be read ({error.strerror})") from None


def _refused(setting: str, message: str, *, hint: str = "") -> InvalidInputError:
    return InvalidInputError("settings", (Problem((setting,), message),), hint=hint)
