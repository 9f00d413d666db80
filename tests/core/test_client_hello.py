"""The hello, as OpenSSL writes it and as nobody should: whole, at every byte, and over several records."""

from __future__ import annotations

import contextlib
import ssl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gogeta.core.client_hello import LONGEST, Alert, ClientHello, HelloError, NotTlsError, read_hello


def hello(name: str | None = "a.test", version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> bytes:
    """A hello of OpenSSL's."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.maximum_version = version
    context.set_alpn_protocols(["http/1.1"])
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(incoming, outgoing, server_hostname=name)
    with contextlib.suppress(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


def records(message: bytes, size: int) -> bytes:
    """A message in records of so many bytes."""
    parts = [message[place : place + size] for place in range(0, len(message), size)]
    return b"".join(b"\x16\x03\x01" + len(part).to_bytes(2, "big") + part for part in parts)


def renamed(name: bytes) -> bytes:
    """A hello with another name of the same length."""
    whole = hello("x" * len(name))
    assert whole.count(b"x" * len(name)) == 1
    return whole.replace(b"x" * len(name), name)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize(("name", "read"), [("a.test", "a.test"), ("A.Test", "a.test"), (None, None)])
def test_the_name_is_read(name: str | None, read: str | None, version: ssl.TLSVersion) -> None:
    data = hello(name, version)
    assert read_hello(data) == ClientHello(read)
    for size in range(len(data)):
        assert read_hello(data[:size]) is None
    assert read_hello(data + b"more") == ClientHello(read)


@pytest.mark.parametrize("size", [1, 2, 7, 100])
def test_a_hello_may_come_in_many_records(size: int) -> None:
    data = records(hello()[5:], size)
    assert read_hello(data) == ClientHello("a.test")
    assert read_hello(data[:-1]) is None


def test_a_dot_at_the_end_is_no_part_of_the_name() -> None:
    assert read_hello(renamed(b"a.test.")) == ClientHello("a.test")


@pytest.mark.parametrize(
    "data", [b"GET / HTTP/1.1\r\n", b"\x80\x2e\x01", b"\0", b"\x15\x03\x01", b"\x16\x02", b"PROXY "]
)
def test_what_is_no_tls_is_known_by_its_first_bytes(data: bytes) -> None:
    with pytest.raises(NotTlsError):
        read_hello(data)


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x00\x00",
        b"\x16\x03\x01\x40\x01",
        b"\x16\x03\x01\x00\x04\x02\x00\x00\x00",
        b"\x16\x03\x01\x00\x04\x01\x00\x00\x00",
        b"\x16\x03\x01\x00\x04\x01\xff\xff\xff",
        b"\x16\x03\x01\x00\x01\x01\x17\x03\x01\x00\x01\x00",
        records(b"\x01\x00\x50\x00" + bytes(0x5000 - 4), 1 << 14)[:LONGEST] + bytes(600),
        renamed(b"a\0test"),
        renamed(b"\xff\xfetest"),
    ],
)
def test_what_cannot_be_read_is_refused(data: bytes) -> None:
    with pytest.raises(HelloError):
        read_hello(data)


def test_a_hello_without_end_is_not_waited_for() -> None:
    endless = records(b"\x01\x00\x4f\x00" + bytes(0x4F00), 1)
    with pytest.raises(HelloError):
        read_hello(endless[: LONGEST + 1])


def test_every_byte_changed_raises_nothing_else() -> None:
    data = hello()
    for place in range(len(data)):
        for change in (0x01, 0x80, 0xFF):
            changed = data[:place] + bytes((data[place] ^ change,)) + data[place + 1 :]
            with contextlib.suppress(HelloError, NotTlsError):
                read_hello(changed)


@given(st.binary(max_size=200))
def test_nothing_else_is_ever_raised(body: bytes) -> None:
    with contextlib.suppress(HelloError):
        read_hello(records(b"\x01" + len(body).to_bytes(3, "big") + body, 1 << 14))


def test_an_alert_is_one_record() -> None:
    assert Alert.UNRECOGNIZED_NAME.record == bytes.fromhex("15030300020270")
