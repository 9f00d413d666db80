"""The certificates of the TLS listeners: which files they are, which one a host gets, and what changed since.

Files are read at the start, where a mistake ends the program with a message, and looked at every few seconds from then
on, where a mistake changes nothing: the last good certificate stays, one line says what is wrong with the new one, and
a counter tells it to whoever watches. A connection keeps the certificate it came with, so nothing is dropped.
"""

from __future__ import annotations

import asyncio
import logging
import os
import ssl
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gogeta.core.certificate import CertificateFacts, certificate_facts
from gogeta.domain.errors import InvalidInputError, Problem
from gogeta.domain.hosts import normalise_pattern

if TYPE_CHECKING:
    from gogeta.settings import ServeSettings

logger = logging.getLogger(__name__)

POLL_SECONDS: Final = 2.0
"""How often the files are looked at. A change counts when it was seen twice: until then it is still being written."""
DEFAULT: Final = "default"
"""What the certificate in a folder is called that is for all hosts without one of their own."""
MAX_BYTES: Final = 1 << 20
"""Largest file that is read as a certificate."""

_CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""Of TLS 1.2: forward secrecy and authenticated encryption alone. Those of TLS 1.3 all are so."""
_ENDINGS: Final = (".crt", ".pem")
_PAIRS: Final = (("fullchain.pem", "privkey.pem"), ("tls.crt", "tls.key"))
"""A folder for each certificate, as certbot and Kubernetes lay them out."""
_BEGIN: Final = "-----BEGIN CERTIFICATE-----"
_END: Final = "-----END CERTIFICATE-----"

Stamp = tuple[int, int, int, int]
"""Device, inode, size and time of change of a file, links followed: what differs when another is in its place."""


class CertificateError(ValueError):
    """A certificate cannot be used; the message says which file and why."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where one certificate is."""

    cert: Path
    key: Path
    """The same file, where the key stands beside the certificate."""
    default: bool
    """Whether it is for all hosts without one of their own."""

    def stamps(self) -> tuple[Stamp, ...] | None:
        """What the files are now; None when one is missing."""
        try:
            found = [os.stat(path) for path in (self.cert, self.key)]  # noqa: PTH116 - thousands of them, looked at often
        except OSError:
            return None
        return tuple((stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns) for stat in found)


@dataclass(frozen=True, slots=True)
class Certificate:
    """One certificate, ready to be served."""

    source: Source
    facts: CertificateFacts
    context: ssl.SSLContext
    stamps: tuple[Stamp, ...]


class Certificates:
    """All of them. ``choose`` is for the loop; ``refresh`` blocks on files, and may run in a thread of its own."""

    def __init__(self, single: Source | None, folder: Path | None) -> None:
        """Read everything. Raises InvalidInputError, whose problems name the settings."""
        self._single = single
        self._folder = folder
        self.reloads = 0
        """Certificates taken in because their files had changed."""
        self.failures = 0
        """Changes that could not be taken in."""
        self._complained: dict[Source | None, object] = {}
        """What was wrong last, so that it is told once."""
        self._seen: dict[Source, tuple[Stamp, ...] | None] = {}
        """What files that differ from what was taken in were at the last look."""
        self._loaded: dict[Source, Certificate] = {}
        problems: list[Problem] = []
        try:
            sources = self._sources()
        except CertificateError as error:
            raise _refused(_problem("tls_dir", str(error))) from error
        for source in sources:
            try:
                self._loaded[source] = load(source)
            except CertificateError as error:
                problems.append(_problem("tls_cert" if source is single else "tls_dir", str(error)))
        if problems:
            raise _refused(*problems)
        self._by_name: dict[str, Certificate] = {}
        self._default: Certificate | None = None
        self._index()

    @classmethod
    def of(cls, settings: ServeSettings) -> Certificates | None:
        """Those that the settings name; None when there are none. Raises InvalidInputError, naming the setting."""
        if settings.tls_key and not settings.tls_cert:
            raise _refused(_problem("tls_key", "there is no --tls-cert that it would belong to"))
        if not settings.tls_cert and not settings.tls_dir:
            if settings.tls_listen is not None:
                raise _refused(_problem("tls_listen", "TLS needs a certificate: --tls-cert or --tls-dir"))
            return None
        single = None
        if settings.tls_cert:
            cert = Path(settings.tls_cert)
            single = Source(cert, Path(settings.tls_key) if settings.tls_key else cert, default=True)
            if settings.tls_key and not single.key.exists():
                raise _refused(_problem("tls_key", f"{single.key}: there is no such file"))
        return cls(single, Path(settings.tls_dir) if settings.tls_dir else None)

    def __len__(self) -> int:
        """How many there are."""
        return len(self._loaded)

    def __repr__(self) -> str:
        """One line for logs and tests."""
        return f"<Certificates: {len(self)}, {len(self._by_name)} names{', a default' if self._default else ''}>"

    @property
    def first_end(self) -> float:
        """When the one that ends first ends, in seconds since the epoch."""
        return min(certificate.facts.ends for certificate in self._loaded.values())

    def choose(self, name: str | None) -> ssl.SSLContext | None:
        """What a visitor is served with who asks for this host: exact, then wildcard, then the default, if any."""
        if name is not None:
            by_name = self._by_name
            # RFC 6125 section 6.4.3: the wildcard stands for one label.
            found = by_name.get(name) or by_name.get("*." + name.partition(".")[2])
            if found is not None:
                return found.context
        return None if self._default is None else self._default.context

    async def watch(self) -> None:
        """Look at the files again and again; ends when cancelled."""
        while True:
            await asyncio.sleep(POLL_SECONDS)
            await asyncio.to_thread(self.refresh)

    def refresh(self) -> None:
        """Look at the files once, and take in what has changed and stands still."""
        try:
            sources = self._sources()
        except CertificateError as error:
            # The folder: nothing of it changes, and its files are not told of one by one.
            self._complain(None, str(error), f"{error}; what was good last is served on")
            sources = known = [] if self._single is None else [self._single]
        else:
            self._complained.pop(None, None)
            known = list(dict.fromkeys((*sources, *self._loaded)))
            self._seen = {source: stamps for source, stamps in self._seen.items() if source in set(known)}
        listed = frozenset(sources)
        changed = False
        for source in known:
            changed = self._look(source, listed=source in listed) or changed
        if changed:
            self._index()

    def _look(self, source: Source, *, listed: bool) -> bool:
        """Take in what has become of one certificate; whether anything has."""
        loaded = self._loaded.get(source)
        stamps = source.stamps() if listed else None
        if loaded is not None and stamps == loaded.stamps:
            self._seen.pop(source, None)
            self._complained.pop(source, None)
            return False
        if source not in self._seen or self._seen[source] != stamps:
            self._seen[source] = stamps
            return False
        if stamps is None:
            return self._gone(source, listed=listed)
        if self._complained.get(source) == stamps:
            return False
        try:
            certificate = load(source)
        except CertificateError as error:
            kept = "the last good one is served on" if loaded is not None else "it is not served"
            self._complain(source, stamps, f"{error}; {kept}")
            return False
        # One object for all readers, replaced at once.
        self._loaded = {**self._loaded, source: certificate}
        self._seen.pop(source, None)
        self._complained.pop(source, None)
        self.reloads += 1
        logger.info("certificate %s: taken in, for %s", source.cert, ", ".join(certificate.facts.names) or "no name")
        return True

    def _gone(self, source: Source, *, listed: bool) -> bool:
        if source not in self._loaded:
            return False
        if listed or len(self._loaded) == 1:
            # Half of it is there, or it was named, or it is all there is: no sign that it is not wanted any more.
            self._complain(source, None, f"{source.cert}: it or its key is gone; the last good one is served on")
            return False
        self._loaded = {other: certificate for other, certificate in self._loaded.items() if other != source}
        self._seen.pop(source, None)
        self._complained.pop(source, None)
        logger.info("certificate %s: gone", source.cert)
        return True

    def _complain(self, source: Source | None, about: object, message: str) -> None:
        if source in self._complained and self._complained[source] == about:
            return
        self._complained[source] = about
        self.failures += 1
        logger.error("certificate %s", message)

    def _index(self) -> None:
        by_name: dict[str, Certificate] = {}
        default = None
        # Two for one name: the one that lasts longer, as after a renewal under another name.
        for certificate in sorted(self._loaded.values(), key=lambda one: (one.facts.ends, str(one.source.cert))):
            for name in _hosts(certificate.facts.names):
                by_name[name] = certificate
            if certificate.source.default and (default is None or certificate.source is self._single):
                default = certificate
        self._by_name, self._default = by_name, default

    def _sources(self) -> list[Source]:
        single = [] if self._single is None else [self._single]
        if self._folder is None:
            return single
        try:
            found = sorted(_in_folder(self._folder), key=lambda source: source.cert)
        except OSError as error:
            raise CertificateError(f"{self._folder}: {error.strerror or error}") from error
        if not found:
            raise CertificateError(
                f"{self._folder}: there is no certificate in it: expected NAME.crt or NAME.pem with NAME.key, "
                "or folders with fullchain.pem and privkey.pem"
            )
        # A key that is missing for a moment does not make another certificate of it.
        known = {source.cert: source for source in self._loaded}
        return [*single, *(known.get(source.cert, source) if source.key == source.cert else source for source in found)]


def _in_folder(folder: Path) -> Iterator[Source]:
    with os.scandir(folder) as entries:
        names = {entry.name: entry.is_dir() for entry in entries if not entry.name.startswith(".")}
    for name, is_folder in names.items():
        path = folder / name
        if is_folder:
            for cert, key in _PAIRS:
                if (path / cert).exists():
                    yield Source(path / cert, path / key, default=name == DEFAULT)
                    break
        elif path.suffix in _ENDINGS and not name.endswith("-key.pem"):
            keys = [folder / key for key in (f"{path.stem}.key", f"{path.stem}-key.pem") if key in names]
            yield Source(path, keys[0] if keys else path, default=path.stem == DEFAULT)


def load(source: Source) -> Certificate:
    """Read one certificate and its key. Raises CertificateError."""
    stamps = source.stamps()
    for path in (source.cert, source.key):
        _readable(path)
    if stamps is None:
        raise CertificateError(f"{source.cert}: it is gone")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_CIPHERS)
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    facts = _facts(source.cert)
    try:
        # Without a way to ask, OpenSSL would ask on the terminal.
        context.load_cert_chain(source.cert, source.key, password=_no_password)
    except _EncryptedError:
        raise CertificateError(
            f"{source.key}: the key is encrypted, and nobody is there to type its password: "
            "`openssl pkey -in KEY -out NEW` writes it without"
        ) from None
    except ssl.SSLError as error:
        raise CertificateError(_explain(source, error)) from error
    except OSError as error:
        raise CertificateError(f"{source.cert}: {error.strerror or error}") from error
    return Certificate(source, facts, context, stamps)


class _EncryptedError(Exception):
    """OpenSSL has asked for a password."""


def _no_password() -> str:
    raise _EncryptedError


def _readable(path: Path) -> None:
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
    except FileNotFoundError:
        raise CertificateError(f"{path}: there is no such file") from None
    except OSError as error:
        raise CertificateError(f"{path}: {error.strerror or error}") from error
    if size > MAX_BYTES:
        raise CertificateError(f"{path}: more than {MAX_BYTES} bytes is no certificate")


def _facts(path: Path) -> CertificateFacts:
    text = path.read_text(encoding="ascii", errors="replace")
    _, begin, rest = text.partition(_BEGIN)
    block, end, _ = rest.partition(_END)
    if not begin or not end:
        raise CertificateError(f"{path}: there is no certificate in PEM in it")
    try:
        return certificate_facts(ssl.PEM_cert_to_DER_cert(begin + block + end))
    except ValueError as error:
        raise CertificateError(f"{path}: {error}") from error


def _explain(source: Source, error: ssl.SSLError) -> str:
    reason = error.reason or ""
    if "MISMATCH" in reason:
        return f"{source.key}: the key is not that of the certificate {source.cert}"
    if source.key == source.cert:
        return f"{source.cert}: it has no key that can be read in it, and there is none beside it ({error})"
    return f"{source.key}: the key cannot be read, or the certificate {source.cert} cannot ({error})"


def _hosts(names: Iterable[str]) -> Iterator[str]:
    for name in names:
        try:
            yield normalise_pattern(name)
        except ValueError:
            logger.warning("a certificate is for %r, which no visitor can ask for", name)


def _problem(setting: str, message: str) -> Problem:
    return Problem(("--" + setting.replace("_", "-"),), message)


def _refused(*problems: Problem) -> InvalidInputError:
    return InvalidInputError("settings", problems)
