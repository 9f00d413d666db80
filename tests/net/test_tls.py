"""TLS on the listener: who gets which certificate, what never becomes a visitor, and that HTTP is the same above it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import socket
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from gogeta.domain.errors import InvalidInputError
from gogeta.domain.upstreams import Endpoint
from gogeta.net.certificates import Certificates, Source
from gogeta.net.listener import TurnedAway
from gogeta.settings import ServeSettings
from tests.core.test_client_hello import hello
from tests.net.stage import Stage, Visitor, stage
from tests.net.talk import LIMIT, OK, App, get, post, until
from tests.net.test_flow import BOUND, SIZE, settled
from tests.net.test_tunnels import ASKS, Socket

AUTHORITY = trustme.CA(key_type=trustme.KeyType.ECDSA)
ANY = Endpoint("127.0.0.1", 0)


def put(folder: Path, name: str, *hosts: str, key: str | None = None) -> trustme.LeafCert:
    """A new certificate for hosts in a folder, as NAME.crt with NAME.key (or with what ``key`` says)."""
    leaf = AUTHORITY.issue_cert(*hosts)
    replace(folder / f"{name}.crt", b"".join(part.bytes() for part in leaf.cert_chain_pems))
    if key is None:
        replace(folder / f"{name}.key", leaf.private_key_pem.bytes())
    return leaf


def replace(path: Path, data: bytes) -> None:
    """Replace a file at once."""
    path.parent.mkdir(exist_ok=True)
    fresh = path.with_name(f".{path.name}.new")
    fresh.write_bytes(data)
    fresh.replace(path)


def client(version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> ssl.SSLContext:
    """What a visitor speaks TLS with; it trusts our authority alone."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.maximum_version = version
    AUTHORITY.configure_trust(context)
    return context


def blind() -> ssl.SSLContext:
    """A visitor who takes any certificate."""
    context = client()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


@contextlib.asynccontextmanager
async def secure(folder: Path, **settings: Any) -> AsyncIterator[Stage]:  # noqa: ANN401 - settings
    """A stage whose listener speaks TLS with the certificates of a folder."""
    if not folder.exists() or not any(folder.iterdir()):
        put(folder, "acme", "acme.test")
    async with stage(tls_dir=str(folder), **settings) as on:
        yield on


def turned_away(on: Stage) -> dict[str, int]:
    """What was turned away, by reason."""
    return {reason.value: count for listener in on.server.listeners for reason, count in listener.turned_away.items()}


async def shown(on: Stage, host: str) -> str:
    """The first name of the certificate that a visitor of this host is shown."""
    async with on.visitor(blind(), host) as visitor:
        der = visitor.writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        names = x509.load_der_x509_certificate(der).extensions.get_extension_for_class(x509.SubjectAlternativeName)
        return str(names.value.get_values_for_type(x509.DNSName)[0])


@pytest.mark.any_loop
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_requests_come_through_and_the_tenant_is_told(tmp_path: Path, version: ssl.TLSVersion) -> None:
    async with secure(tmp_path) as on, on.visitor(client(version)) as visitor:
        app = await on.serve()
        assert (await visitor.ask(get("/a"))).status == 200
        assert (await visitor.ask(post(b"x" * 300_000))).status == 200
        assert [message.start for message in app.seen] == ["GET /a HTTP/1.1", "POST / HTTP/1.1"]
        assert app.seen[0].get("X-Forwarded-Proto") == "https"
        assert app.seen[0].get("X-Forwarded-Port") == str(on.port)
        assert app.seen[0].get("Forwarded") == 'for=127.0.0.1;host="acme.test";proto=https'
        assert len(app.seen[1].body) == 300_000
        tls = visitor.writer.get_extra_info("ssl_object")
        assert (tls.version(), tls.selected_alpn_protocol()) == (version.name.replace("v1_", "v1."), None)
        assert on.server.listeners[0].handshakes == 1


async def test_alpn_is_http_11_alone(tmp_path: Path) -> None:
    offered = client()
    offered.set_alpn_protocols(["h2", "http/1.1"])
    async with secure(tmp_path) as on, on.visitor(offered) as visitor:
        assert visitor.writer.get_extra_info("ssl_object").selected_alpn_protocol() == "http/1.1"


async def test_both_listeners_at_once(tmp_path: Path) -> None:
    async with secure(tmp_path, tls_listen=ANY) as on:
        app = await on.serve()
        assert (await on.ask(get())).status == 200
        assert (await on.ask(get(), tls=client())).status == 200
        assert [message.get("X-Forwarded-Proto") for message in app.seen] == ["http", "https"]
        assert [message.get("X-Forwarded-Port") for message in app.seen] == [str(on.port), str(on.server.tls_port)]


@pytest.mark.any_loop
async def test_a_hello_that_comes_byte_by_byte(tmp_path: Path) -> None:
    """Over a relay that cuts everything the visitor sends into single bytes."""
    async with secure(tmp_path) as on:
        await on.serve()

        async def trickle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            onward_reader, onward = await asyncio.open_connection("127.0.0.1", on.port)
            onward.get_extra_info("socket").setsockopt(6, 1, 1)

            async def back() -> None:
                while data := await onward_reader.read(65536):
                    writer.write(data)
                writer.close()

            returning = asyncio.get_running_loop().create_task(back())
            while data := await reader.read(65536):
                for place in range(len(data)):
                    onward.write(data[place : place + 1])
                    await asyncio.sleep(0)
            onward.close()
            await returning

        relay = await asyncio.start_server(trickle, "127.0.0.1", 0)
        port = relay.sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=client(), server_hostname="acme.test")
        visitor = Visitor(reader, writer, on.proxy)
        assert (await visitor.ask(get())).status == 200
        writer.close()
        await on.quiet()
        relay.close()


# Who gets which certificate.


async def test_exact_then_wildcard_then_default(tmp_path: Path) -> None:
    put(tmp_path, "one", "one.acme.test", "other.test")
    put(tmp_path, "wild", "*.acme.test")
    put(tmp_path, "default", "fallback.test")
    async with secure(tmp_path) as on:
        chosen = {
            "one.acme.test": "one.acme.test",
            "ONE.acme.test": "one.acme.test",
            "other.test": "one.acme.test",
            "two.acme.test": "*.acme.test",
            "a.two.acme.test": "fallback.test",
            "acme.test": "fallback.test",
            "nobody.test": "fallback.test",
        }
        assert {host: await shown(on, host) for host in chosen} == chosen


async def test_without_a_default_an_unknown_host_gets_no_handshake_and_no_name(tmp_path: Path) -> None:
    async with secure(tmp_path) as on:
        with pytest.raises(ssl.SSLError, match=r"(?i)unrecognized.name"):
            await shown(on, "nobody.test")
        async with on.visitor() as visitor:
            visitor.send(hello(None))
            assert await visitor.rest() == bytes.fromhex("15030300020270")
        assert turned_away(on) == {"tls-no-certificate": 2}


async def test_the_single_certificate_is_the_default(tmp_path: Path) -> None:
    single = tmp_path / "single"
    put(single, "s", "single.test")
    put(tmp_path / "dir", "acme", "acme.test")
    put(tmp_path / "dir", "default", "default.test")
    files = {"tls_cert": str(single / "s.crt"), "tls_key": str(single / "s.key")}
    async with secure(tmp_path / "dir", **files) as on:
        assert await shown(on, "acme.test") == "acme.test"
        assert await shown(on, "nobody.test") == "single.test"


def test_layouts_of_a_folder(tmp_path: Path) -> None:
    """NAME.crt + NAME.key, one file for both, mkcert's, certbot's (with links, as it has them), and Kubernetes'."""
    put(tmp_path, "plain", "plain.test")
    leaf = AUTHORITY.issue_cert("joined.test", "*.joined.test")
    replace(tmp_path / "joined.pem", leaf.private_key_pem.bytes() + leaf.cert_chain_pems[0].bytes())
    leaf = AUTHORITY.issue_cert("mkcert.test")
    replace(tmp_path / "mkcert.test.pem", leaf.cert_chain_pems[0].bytes())
    replace(tmp_path / "mkcert.test-key.pem", leaf.private_key_pem.bytes())
    archive = tmp_path / ".archive"
    leaf = put(archive, "1", "certbot.test")
    (tmp_path / "certbot.test").mkdir()
    (tmp_path / "certbot.test" / "fullchain.pem").symlink_to(archive / "1.crt")
    (tmp_path / "certbot.test" / "privkey.pem").symlink_to(archive / "1.key")
    leaf = AUTHORITY.issue_cert("kubernetes.test")
    replace(tmp_path / "secret" / "tls.crt", leaf.cert_chain_pems[0].bytes())
    replace(tmp_path / "secret" / "tls.key", leaf.private_key_pem.bytes())
    (tmp_path / "README").write_text("not a certificate")
    (tmp_path / "empty").mkdir()
    certificates = Certificates.of(ServeSettings(tls_dir=str(tmp_path)))
    assert certificates is not None
    assert len(certificates) == 5
    for host in ("plain", "joined", "a.joined", "mkcert", "certbot", "kubernetes"):
        assert certificates.choose(f"{host}.test") is not None, host
    assert certificates.choose("nobody.test") is None


def test_of_two_for_one_host_the_one_that_lasts_longer_is_served(tmp_path: Path) -> None:
    names = ("b", "a", "c")
    for name, year in zip(names, (2031, 2033, 2032), strict=True):
        leaf = AUTHORITY.issue_cert("acme.test", not_after=datetime(year, 1, 1, tzinfo=UTC))
        replace(tmp_path / f"{name}.pem", leaf.private_key_and_cert_chain_pem.bytes())
    certificates = Certificates.of(ServeSettings(tls_dir=str(tmp_path)))
    assert certificates is not None
    chosen = certificates.choose("acme.test")
    loaded = {source.cert.stem: one.context for source, one in certificates._loaded.items()}  # noqa: SLF001 - which one
    assert chosen is loaded["a"]
    assert certificates.first_end == datetime(2031, 1, 1, tzinfo=UTC).timestamp()


# Files that change.


def single(folder: Path) -> Certificates:
    """The certificate NAME.crt with NAME.key of a folder."""
    certificates = Certificates.of(ServeSettings(tls_cert=str(folder / "a.crt"), tls_key=str(folder / "a.key")))
    assert certificates is not None
    return certificates


def looked(certificates: Certificates, times: int = 2) -> tuple[int, int]:
    """Look at the files so many times; what was taken in, and what failed, so far."""
    for _ in range(times):
        certificates.refresh()
    return certificates.reloads, certificates.failures


async def test_a_new_certificate_is_served_and_no_connection_ends(tmp_path: Path) -> None:
    put(tmp_path, "acme", "acme.test", "before.test")
    async with secure(tmp_path) as on, on.visitor(client()) as old:
        await on.serve()
        certificates = on.server.listeners[0].certificates
        assert certificates is not None
        first = certificates.choose("acme.test")
        put(tmp_path, "acme", "acme.test", "after.test")
        put(tmp_path, "new", "new.test")
        assert looked(certificates, 1) == (0, 0), "seen once, it may be half-written"
        assert looked(certificates, 1) == (2, 0)
        assert certificates.choose("acme.test") is not first
        assert await shown(on, "after.test") == "acme.test"
        assert await shown(on, "new.test") == "new.test"
        assert (await old.ask(get())).status == 200
        with pytest.raises(ssl.SSLError):
            await shown(on, "before.test")


def test_what_does_not_change_is_not_read_again(tmp_path: Path) -> None:
    put(tmp_path, "a", "a.test")
    certificates = single(tmp_path)
    context = certificates.choose("a.test")
    assert looked(certificates, 5) == (0, 0)
    assert certificates.choose("a.test") is context


@pytest.mark.parametrize("first", ["crt", "key"])
def test_a_half_written_pair_leaves_the_last_good_one(
    tmp_path: Path, first: str, caplog: pytest.LogCaptureFixture
) -> None:
    put(tmp_path, "a", "a.test", "old.test")
    certificates = single(tmp_path)
    good = certificates.choose("a.test")
    put(tmp_path / "next", "a", "a.test", "new.test")
    second = {"crt": "key", "key": "crt"}[first]
    (tmp_path / "next" / f"a.{first}").replace(tmp_path / f"a.{first}")
    assert looked(certificates, 5) == (0, 1)
    assert certificates.choose("old.test") is good
    assert len([record for record in caplog.records if record.levelno == logging.ERROR]) == 1
    assert "the key is not that of the certificate" in caplog.text
    (tmp_path / "next" / f"a.{second}").replace(tmp_path / f"a.{second}")
    assert looked(certificates) == (1, 1)
    assert certificates.choose("new.test") is not good


def test_a_file_is_still_being_written_while_it_changes(tmp_path: Path) -> None:
    put(tmp_path, "a", "a.test")
    certificates = single(tmp_path)
    leaf = AUTHORITY.issue_cert("a.test", "new.test")
    whole = leaf.cert_chain_pems[0].bytes()
    (tmp_path / "a.key").write_bytes(leaf.private_key_pem.bytes())
    for size in range(100, len(whole), 200):
        (tmp_path / "a.crt").write_bytes(whole[:size])
        assert looked(certificates, 1) == (0, 0)
    (tmp_path / "a.crt").write_bytes(whole)
    assert looked(certificates) == (1, 0)


def test_links_that_are_turned_are_a_change(tmp_path: Path) -> None:
    """As certbot does it: two links, one after the other."""
    for number in ("1", "2"):
        put(tmp_path / ".archive", number, "a.test", f"v{number}.test")
    live = tmp_path / "live" / "a.test"
    live.mkdir(parents=True)

    def turn(link: str, to: str) -> None:
        fresh = live / f".{link}"
        fresh.symlink_to(tmp_path / ".archive" / to)
        fresh.replace(live / link)

    turn("fullchain.pem", "1.crt")
    turn("privkey.pem", "1.key")
    certificates = Certificates.of(ServeSettings(tls_dir=str(tmp_path / "live")))
    assert certificates is not None
    turn("privkey.pem", "2.key")
    assert looked(certificates, 1) == (0, 0)
    turn("fullchain.pem", "2.crt")
    assert looked(certificates) == (1, 0)
    assert certificates.choose("v2.test") is not None
    assert certificates.choose("v1.test") is None


def test_what_is_removed_from_the_folder_is_not_served_any_more(tmp_path: Path) -> None:
    put(tmp_path, "a", "a.test")
    put(tmp_path, "b", "b.test")
    certificates = Certificates.of(ServeSettings(tls_dir=str(tmp_path)))
    assert certificates is not None
    (tmp_path / "a.key").unlink()
    assert looked(certificates, 5) == (0, 1)
    assert certificates.choose("a.test") is not None, "half of it is still there"
    (tmp_path / "a.crt").unlink()
    assert looked(certificates) == (0, 1)
    assert certificates.choose("a.test") is None
    (tmp_path / "b.crt").unlink()
    assert looked(certificates, 5)[1] == 2
    assert certificates.choose("b.test") is not None, "the last one stays"
    shutil.rmtree(tmp_path)
    assert looked(certificates, 5)[1] == 3
    assert certificates.choose("b.test") is not None


def test_a_bad_newcomer_is_told_once_and_taken_when_it_is_mended(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    put(tmp_path, "a", "a.test")
    certificates = Certificates.of(ServeSettings(tls_dir=str(tmp_path)))
    assert certificates is not None
    put(tmp_path, "b", "b.test", key="none")
    assert looked(certificates, 5) == (0, 1)
    assert len(caplog.records) == 1
    put(tmp_path, "b", "b.test")
    assert looked(certificates, 3) == (1, 1)
    assert certificates.choose("b.test") is not None


async def test_the_files_are_watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gogeta.net.certificates.POLL_SECONDS", 0.01)
    async with secure(tmp_path) as on:
        put(tmp_path, "new", "new.test")
        certificates = on.server.listeners[0].certificates
        assert certificates is not None
        await until(lambda: certificates.reloads == 1)
        assert await shown(on, "new.test") == "new.test"


# Mistakes of the operator.


def refusal(**settings: Any) -> str:  # noqa: ANN401 - settings
    """What is said about settings that do not do."""
    with pytest.raises(InvalidInputError) as caught:
        Certificates.of(ServeSettings(**settings))
    assert caught.value.what == "settings"
    return "\n".join(str(problem) for problem in caught.value.problems)


def test_mistakes_name_the_setting_the_file_and_what_is_wrong(tmp_path: Path) -> None:
    leaf = put(tmp_path, "a", "a.test")
    put(tmp_path, "b", "b.test")
    cert, key = str(tmp_path / "a.crt"), str(tmp_path / "a.key")
    missing = str(tmp_path / "missing")
    private = serialization.load_pem_private_key(leaf.private_key_pem.bytes(), None)
    for shape in (serialization.PrivateFormat.PKCS8, serialization.PrivateFormat.TraditionalOpenSSL):
        secret = serialization.BestAvailableEncryption(b"secret")
        (tmp_path / "locked.key").write_bytes(private.private_bytes(serialization.Encoding.PEM, shape, secret))
        assert "--tls-cert: " in (text := refusal(tls_cert=cert, tls_key=str(tmp_path / "locked.key")))
        assert "encrypted" in text

    assert refusal(tls_cert=missing, tls_key=key) == f"--tls-cert: {missing}: there is no such file"
    assert refusal(tls_cert=cert, tls_key=missing) == f"--tls-key: {missing}: there is no such file"
    assert "the key is not that of the certificate" in refusal(tls_cert=cert, tls_key=str(tmp_path / "b.key"))
    assert "no key that can be read in it" in refusal(tls_cert=cert)
    assert "--tls-key: there is no --tls-cert" in refusal(tls_key=key)
    assert "--tls-listen: TLS needs a certificate" in refusal(tls_listen=ANY)
    assert "no certificate in PEM" in refusal(tls_cert=key, tls_key=key)
    assert "--tls-dir: " in (text := refusal(tls_dir=missing))
    assert missing in text
    (tmp_path / "empty").mkdir()
    assert "there is no certificate in it" in refusal(tls_dir=str(tmp_path / "empty"))
    (tmp_path / "b.key").unlink()
    assert refusal(tls_dir=str(tmp_path)).startswith(f"--tls-dir: {tmp_path / 'b.crt'}: it has no key")
    os.truncate(cert, 300)
    assert "no certificate in PEM" in refusal(tls_cert=cert, tls_key=key)
    os.truncate(cert, 2 << 20)
    assert "is no certificate" in refusal(tls_cert=cert, tls_key=key)


def test_without_any_setting_there_is_no_tls() -> None:
    assert Certificates.of(ServeSettings()) is None


def test_a_source_that_is_gone_has_no_stamps(tmp_path: Path) -> None:
    assert Source(tmp_path / "a", tmp_path / "a", default=False).stamps() is None


# What never becomes a visitor.


async def counted(on: Stage, reason: TurnedAway, count: int = 1) -> None:
    """Wait until so many were turned away for this reason, and nobody for another."""
    await until(lambda: turned_away(on).get(reason.value, 0) == count and not on.server.arriving)
    assert set(turned_away(on)) == {reason.value}
    assert not on.proxy.connections
    assert on.proxy.tally.connections == 0


async def test_plain_http_on_the_tls_port_is_told_so(tmp_path: Path) -> None:
    async with secure(tmp_path) as on:
        async with on.visitor() as visitor:
            answer = await visitor.ask(get())
            assert (answer.status, answer.get("Connection")) == (400, "close")
            assert await visitor.rest() == b""
        await counted(on, TurnedAway.PLAIN_HTTP)


@pytest.mark.parametrize(
    ("data", "reason", "alert"),
    [
        (b"\0\1\2", TurnedAway.NOT_TLS, 10),
        (b"\x16\x03\x01\x00\x00", TurnedAway.HELLO, 50),
        (hello("acme.test").replace(b"acme.test", b"acm\xff.test"), TurnedAway.HELLO, 50),
    ],
)
async def test_what_is_no_hello_gets_an_alert(tmp_path: Path, data: bytes, reason: TurnedAway, alert: int) -> None:
    async with secure(tmp_path) as on:
        async with on.visitor() as visitor:
            visitor.send(data)
            assert await visitor.rest() == bytes((21, 3, 3, 0, 2, 2, alert))
        await counted(on, reason)


@pytest.mark.any_loop
@pytest.mark.parametrize("begun", [b"", b"\x16\x03", None], ids=["silent", "begun", "hello"])
async def test_a_handshake_that_does_not_end_is_ended(
    tmp_path: Path, begun: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    async with secure(tmp_path, tls_handshake_timeout=0.1) as on:
        async with on.visitor() as visitor:
            visitor.send(hello("acme.test") if begun is None else begun)
            await visitor.everything()
        await counted(on, TurnedAway.TLS_TIMEOUT)
        assert not caplog.records


@pytest.mark.any_loop
@pytest.mark.parametrize("begun", [b"", b"\x16\x03", None], ids=["silent", "begun", "hello"])
@pytest.mark.parametrize("how", ["close", "reset"])
async def test_a_visitor_who_leaves_during_the_handshake(
    tmp_path: Path, begun: bytes | None, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with secure(tmp_path) as on:
        async with on.visitor() as visitor:
            visitor.send(hello("acme.test") if begun is None else begun)
            await until(lambda: on.server.arriving)
            if how == "reset":
                visitor.reset()
        await counted(on, TurnedAway.LEFT)
        assert not caplog.records


@pytest.mark.any_loop
async def test_garbage_after_the_hello(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with secure(tmp_path) as on:
        async with on.visitor() as visitor:
            visitor.send(hello("acme.test") + b"\x17\x03\x03\x00\x20" + bytes(32))
            await visitor.everything()
        await counted(on, TurnedAway.TLS_OTHER)
        assert not caplog.records


async def test_a_visitor_who_rejects_our_certificate(tmp_path: Path) -> None:
    stranger = ssl.create_default_context()
    stranger.maximum_version = ssl.TLSVersion.TLSv1_2

    def visit(port: int) -> None:
        # Not with asyncio, which keeps the alert to itself.
        with socket.create_connection(("127.0.0.1", port)) as plain, pytest.raises(ssl.SSLCertVerificationError):
            stranger.wrap_socket(plain, server_hostname="acme.test")

    async with secure(tmp_path) as on:
        await asyncio.to_thread(visit, on.port)
        await counted(on, TurnedAway.TLS_REJECTED)


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
async def test_old_versions_and_ciphers_are_refused(tmp_path: Path) -> None:
    old = blind()
    old.minimum_version = ssl.TLSVersion.TLSv1
    old.maximum_version = ssl.TLSVersion.TLSv1_1
    old.set_ciphers("ALL:@SECLEVEL=0")
    weak = client(ssl.TLSVersion.TLSv1_2)
    weak.set_ciphers("ECDHE+AES:!AESGCM")
    for context, reason in ((old, TurnedAway.TLS_VERSION), (weak, TurnedAway.TLS_ALGORITHMS)):
        async with secure(tmp_path) as on:
            with pytest.raises((ssl.SSLError, ConnectionError)):
                async with on.visitor(context):
                    pass
            await counted(on, reason)


async def test_connections_that_arrive_are_bounded_too(tmp_path: Path) -> None:
    async with secure(tmp_path, max_connections=2) as on, on.visitor() as one, on.visitor(client()) as two:
        await on.serve()
        await until(lambda: on.server.arriving == 1 and len(on.proxy.connections) == 1)
        async with on.visitor() as third:
            assert await third.everything() == b""
        assert turned_away(on) == {"too-many-connections": 1}
        assert (await two.ask(get())).status == 200
        one.writer.close()
        await until(lambda: not on.server.arriving)
        async with on.visitor(client()) as third:
            assert (await third.ask(get())).status == 200


# HTTP above it.


@pytest.mark.any_loop
async def test_a_slow_reader_slows_the_tenant_down(tmp_path: Path) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % SIZE
    async with secure(tmp_path) as on, on.visitor(client()) as visitor:
        app = await on.serve(App(head + b"x" * SIZE))
        visitor.writer.transport.pause_reading()  # type: ignore[attr-defined] # a transport that reads
        visitor.send(get())
        await until(lambda: app.writers and app.writers[0].transport.get_write_buffer_size())
        assert 0 < await settled(on) < BOUND
        beneath = next(iter(on.proxy.connections))._beneath  # noqa: SLF001 - what TLS has handed on waits there
        assert beneath is not None
        assert beneath.get_write_buffer_size() < BOUND
        visitor.writer.transport.resume_reading()  # type: ignore[attr-defined] # ditto
        assert (await visitor.answer()).body == b"x" * SIZE
        app.response = OK
        assert (await visitor.ask(get())).status == 200


@pytest.mark.any_loop
async def test_a_slow_tenant_slows_the_visitor_down(tmp_path: Path) -> None:
    go_on = asyncio.Event()

    class Slow(App):
        async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            reader._transport.pause_reading()  # type: ignore[attr-defined] # noqa: SLF001 - not a byte is taken
            await go_on.wait()
            reader._transport.resume_reading()  # type: ignore[attr-defined] # noqa: SLF001 - ditto
            await super().__call__(reader, writer)

    async with secure(tmp_path) as on, on.visitor(client()) as visitor:
        app = await on.serve(Slow())
        visitor.send(post(b"x" * SIZE))
        await until(lambda: on.proxy.upstreams)
        assert 0 < await settled(on) < BOUND
        go_on.set()
        assert (await visitor.answer()).status == 200
        assert len(app.seen[0].body) == SIZE


async def test_a_visitor_who_leaves_takes_the_request_with_it(tmp_path: Path) -> None:
    async with secure(tmp_path) as on:
        app = await on.serve(App(b""))
        for how in ("close", "reset"):
            async with on.visitor(client()) as visitor:
                visitor.send(get())
                await app.heard(len(app.seen) + 1)
                if how == "reset":
                    visitor.writer.transport.abort()
            await until(lambda: app.lost == app.connections)
        assert app.connections == 2


async def test_a_visitor_who_stops_in_its_body_is_not_taken_for_complete(tmp_path: Path) -> None:
    async with secure(tmp_path) as on:
        app = await on.serve(App(b""))
        async with on.visitor(client()) as visitor:
            visitor.send(post(b"hello")[:-1])
            await until(lambda: app.connections)
        await until(lambda: app.lost == 1)
        assert not app.seen


@pytest.mark.any_loop
async def test_nothing_is_logged_of_a_visitor_who_says_goodbye_early(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Either loop warns of a protocol that wants to keep TLS half-open, once for each such visitor."""
    async with secure(tmp_path) as on:
        app = await on.serve(App(b""))
        async with on.visitor(client()) as visitor:
            visitor.send(get())
            await app.heard(1)
            visitor.writer.close()
            await until(lambda: app.lost == 1)
        await on.quiet()
        assert not caplog.records


async def test_a_response_that_breaks_off_breaks_off_for_the_visitor(tmp_path: Path) -> None:
    async with secure(tmp_path) as on, on.visitor(client()) as visitor:
        app = await on.serve(App(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello"))
        visitor.send(get())
        assert await visitor.reader.readuntil(b"hello")
        app.writers[0].transport.abort()
        with pytest.raises((ConnectionError, ssl.SSLError, asyncio.IncompleteReadError)):
            await visitor.reader.readexactly(5)


@pytest.mark.any_loop
async def test_an_answer_before_the_end_of_the_request_arrives_whole(tmp_path: Path) -> None:
    head = b"HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 100000\r\n\r\n"

    async def hasty(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(head + b"x" * 100_000)
        while await reader.read(65536):
            continue

    async with secure(tmp_path) as on, on.visitor(client()) as visitor:
        await on.serve(hasty)
        connection = await visitor.other_side()
        visitor.send(b"POST / HTTP/1.1\r\nHost: acme.test\r\nContent-Length: 100000000\r\n\r\n")
        sent = 0
        while sent < 2_000_000:
            visitor.send(b"x" * 50_000)
            sent += 50_000
            await asyncio.sleep(0)
        answer = await visitor.answer()
        assert (answer.status, len(answer.body)) == (413, 100_000)
        # It says goodbye at once: that the answer ends with the connection need not be guessed.
        await until(lambda: connection._closing)  # noqa: SLF001 - its last word is said
        assert connection.transport.is_closing()


async def test_an_idle_visitor_is_let_go_in_peace(tmp_path: Path) -> None:
    async with secure(tmp_path, keep_alive_timeout=0.1) as on, on.visitor(client()) as visitor:
        await on.serve()
        await visitor.ask(get())
        assert await visitor.rest() == b""
        visitor.writer.close()
        await on.quiet()


async def inert(on: Stage) -> ssl.SSLSocket:
    """A visitor that does nothing by itself: what is not asked for stays in the kernel's buffers, which are small."""

    def connect() -> ssl.SSLSocket:
        plain = socket.socket()
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        plain.settimeout(LIMIT)
        plain.connect(("127.0.0.1", on.port))
        return client().wrap_socket(plain, server_hostname="acme.test")

    return await asyncio.to_thread(connect)


async def test_a_last_answer_waits_for_a_slow_reader(tmp_path: Path) -> None:
    """What waits beneath TLS is no less unsent: a deadline that passes meanwhile does not cut it off."""
    size = 60_000
    response = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (size, b"x" * size)
    async with secure(tmp_path) as on:
        await on.serve(App(response))
        with await inert(on) as visitor:
            await until(lambda: on.proxy.connections)
            connection = next(iter(on.proxy.connections))
            with socket.socket(fileno=os.dup(connection.transport.get_extra_info("socket").fileno())) as same:
                same.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
            visitor.send(get("/", "Connection: close"))
            await until(lambda: connection._closing)  # noqa: SLF001 - its last word is said
            assert connection.transport.get_write_buffer_size() == 0
            assert connection._unsent() > 0  # noqa: SLF001 - that is what keeps it
            connection.expired()

            def read() -> bytes:
                got = b""
                while data := visitor.recv(65536):
                    got += data
                return got

            assert len((await asyncio.to_thread(read)).partition(b"\r\n\r\n")[2]) == size


# Tunnels.


@pytest.mark.any_loop
async def test_a_websocket_through_tls(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with secure(tmp_path) as on, on.visitor(client()) as visitor:
        app = Socket(b"hello ")
        await on.serve(app)
        visitor.send(get("/", *ASKS) + b"early ")
        assert (await visitor.answer()).status == 101
        visitor.send(b"late " + b"x" * 1_000_000)
        want = b"hello early late " + b"x" * 1_000_000
        assert await visitor.reader.readexactly(len(want)) == want
        visitor.writer.close()
        await until(lambda: app.ended)
        await on.quiet()
        assert not caplog.records


@pytest.mark.any_loop
async def test_a_tunnel_ends_with_the_tenant(tmp_path: Path) -> None:
    """TLS has no half-close: a visitor that waits for the end must not wait for ever."""
    async with secure(tmp_path) as on, on.visitor(client()) as visitor:
        app = await on.serve(Socket(b"", echo=False))
        visitor.send(get("/", *ASKS))
        assert (await visitor.answer()).status == 101
        app.writers[0].write(b"bye")
        app.writers[0].write_eof()
        assert await visitor.rest() == b"bye"
        visitor.writer.close()
        await on.quiet()
        app.writers[0].close()


# The end.


@pytest.mark.any_loop
async def test_a_drain_lets_who_arrives_ask_once(tmp_path: Path) -> None:
    async with secure(tmp_path) as on:
        await on.serve()
        reader, writer = await asyncio.open_connection("127.0.0.1", on.port)
        await until(lambda: on.server.arriving)
        draining = asyncio.get_running_loop().create_task(on.server.drain(10.0))
        await until(lambda: on.proxy.draining)
        await writer.start_tls(client(), server_hostname="acme.test")
        answer = await Visitor(reader, writer, on.proxy).ask(get())
        assert (answer.status, answer.get("Connection")) == (200, "close")
        writer.close()
        assert await draining == 0


@pytest.mark.any_loop
async def test_a_drain_does_not_wait_for_a_visitor_who_does_not_say_goodbye(tmp_path: Path) -> None:
    async with secure(tmp_path) as on:
        await on.serve()
        with await inert(on):
            await until(lambda: on.proxy.connections)
            began = on.proxy.loop_time()
            assert await on.server.drain(30.0) == 0
            assert on.proxy.loop_time() - began < 15
