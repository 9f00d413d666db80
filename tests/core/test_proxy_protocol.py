"""The PROXY header, fed whole and at every byte; what could be read in two ways is refused at the first wrong byte."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gogeta.core.proxy_protocol import V1_LONGEST, V2_LONGEST, ProxyHeader, ProxyHeaderError, read_header

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"


def version_2(command: int, family: int, addresses: bytes, *, length: int | None = None) -> bytes:
    """A header of version 2."""
    size = len(addresses) if length is None else length
    return SIGNATURE + bytes((command, family)) + size.to_bytes(2, "big") + addresses


V4 = bytes((192, 0, 2, 7, 10, 0, 0, 1)) + (40000).to_bytes(2, "big") + (443).to_bytes(2, "big")
V6 = bytes.fromhex("20010db8000000000000000000000007fd000000000000000000000000000001") + V4[8:]
LONGEST_V1 = b"PROXY TCP6 " + b" ".join([b"ffff:f1ff:ffff:ffff:ffff:ffff:ffff:ffff"] * 2) + b" 65535 65535\r\n"

GOOD = [
    (b"PROXY TCP4 192.0.2.7 10.0.0.1 40000 443\r\n", "192.0.2.7"),
    (b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", "255.255.255.255"),
    (b"PROXY TCP6 2001:DB8:0::7 fd00::1 0 443\r\n", "2001:db8::7"),
    (LONGEST_V1, "ffff:f1ff:ffff:ffff:ffff:ffff:ffff:ffff"),
    (b"PROXY UNKNOWN\r\n", None),
    (b"PROXY UNKNOWN whatever 1 2 3\r\n", None),
    (b"PROXY UNKNOWN " + b"x" * (V1_LONGEST - 16) + b"\r\n", None),
    (version_2(0x21, 0x11, V4), "192.0.2.7"),
    (version_2(0x21, 0x21, V6), "2001:db8::7"),
    (version_2(0x21, 0x31, bytes(216)), "unix"),
    (version_2(0x21, 0x00, b""), None),
    (version_2(0x20, 0x00, b""), None),
    # A LOCAL header's family means nothing.
    (version_2(0x20, 0x11, V4), None),
    (version_2(0x20, 0xFF, b"xyz"), None),
    # TLVs are skipped.
    (version_2(0x21, 0x11, V4 + b"\x02\x00\x05a.com" + b"\x04\x00\x03\0\0\0"), "192.0.2.7"),
    (version_2(0x21, 0x11, V4 + bytes(V2_LONGEST - 16 - 12)), "192.0.2.7"),
]

BAD = [
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01",
    b"proxy TCP4 192.0.2.7 10.0.0.1 40000 443\r\n",
    b"PROXY  TCP4 192.0.2.7 10.0.0.1 40000 443\r\n",
    b"PROXY TCP4 192.0.2.7 10.0.0.1 40000 443 \r\n",
    b"PROXY TCP4 192.0.2.7  10.0.0.1 40000 443\r\n",
    b"PROXY TCP4 192.0.2.7 10.0.0.1 40000\r\n",
    b"PROXY TCP4 192.0.2.7 10.0.0.1 40000 443\n",
    b"PROXY TCP4 192.0.2.7 10.0.0.1 40000\r443\r\n",
    b"PROXY TCP4 192.0.2.07 10.0.0.1 40000 443\r\n",
    b"PROXY TCP4 192.0.2.256 10.0.0.1 40000 443\r\n",
    b"PROXY TCP4 3221225991 10.0.0.1 40000 443\r\n",
    b"PROXY TCP4 2001:db8::7 fd00::1 1 443\r\n",
    b"PROXY TCP6 192.0.2.7 10.0.0.1 40000 443\r\n",
    b"PROXY TCP6 fe80::1%eth0 fd00::1 1 443\r\n",
    b"PROXY TCP6 \xc2\xb2::1 fd00::1 1 443\r\n",
    b"PROXY TCP4 192.0.2.7 10.0.0.x 40000 443\r\n",
    b"PROXY TCP4 192.0.2.7 10.0.0.1 040000 443\r\n",
    b"PROXY TCP4 192.0.2.7 10.0.0.1 65536 443\r\n",
    b"PROXY TCP4 192.0.2.7 10.0.0.1 +1 443\r\n",
    b"PROXY TCP4 192.0.2.7 10.0.0.1 -1 443\r\n",
    b"PROXY UDP4 192.0.2.7 10.0.0.1 40000 443\r\n",
    b"PROXY unknown\r\n",
    b"PROXY \r\n",
    b"PROXY UNKNOWN " + b"x" * (V1_LONGEST - 15) + b"\r\n",
    b"PROXY UNKNOWN " + b"x" * V1_LONGEST,
    SIGNATURE + b"\x11",
    SIGNATURE + b"\x22",
    version_2(0x21, 0x12, V4),
    version_2(0x21, 0x22, V6),
    version_2(0x21, 0x41, V6),
    version_2(0x21, 0x11, V4[:-1]),
    version_2(0x21, 0x21, V6[:-1]),
    version_2(0x21, 0x31, bytes(215)),
    version_2(0x21, 0x11, V4, length=V2_LONGEST - 15),
    version_2(0x20, 0x00, b"", length=65535),
]


@pytest.mark.parametrize(("header", "visitor"), GOOD)
def test_a_header_is_read_whole_and_what_follows_is_left(header: bytes, visitor: str | None) -> None:
    assert read_header(header) == ProxyHeader(len(header), visitor)
    assert read_header(header + b"GET / HTTP/1.1\r\n\r\n") == ProxyHeader(len(header), visitor)
    assert read_header(header + header) == ProxyHeader(len(header), visitor)


@pytest.mark.parametrize(("header", "visitor"), GOOD)
def test_until_its_last_byte_it_is_not_complete(header: bytes, visitor: str | None) -> None:
    for size in range(len(header)):
        assert read_header(header[:size]) is None, size


@pytest.mark.parametrize("data", BAD)
def test_what_is_none_is_refused_whole_and_at_every_byte(data: bytes) -> None:
    with pytest.raises(ProxyHeaderError):
        read_header(data)
    for size in range(len(data)):
        try:
            assert read_header(data[:size]) is None
        except ProxyHeaderError:
            # Refused by then; more bytes do not change that.
            for longer in range(size, len(data) + 1):
                with pytest.raises(ProxyHeaderError):
                    read_header(data[:longer])
            break


def test_a_wrong_first_byte_is_not_waited_on() -> None:
    for first in (b"G", b"\x16", b"\n", b"\r\n\r\nX", b"PROXYX"):
        with pytest.raises(ProxyHeaderError):
            read_header(first)


@given(st.one_of(st.binary(max_size=80), st.binary(max_size=80).map(lambda rest: SIGNATURE + b"\x21" + rest)))
def test_nothing_else_is_ever_raised(data: bytes) -> None:
    try:
        header = read_header(data)
    except ProxyHeaderError:
        return
    assert header is None or 0 < header.length <= len(data)
