"""Whose wake it is where proxies stand in between."""

from __future__ import annotations

import ipaddress

import pytest

from gogeta.core.visitor_address import visitors_address

TRUSTED = (ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("::1/128"))
XFF = b"X-Forwarded-For"


@pytest.mark.parametrize(
    ("peer", "fields", "expected"),
    [
        ("192.0.2.1", [], "192.0.2.1"),
        ("192.0.2.1", [(XFF, b"198.51.100.7")], "192.0.2.1"),
        ("10.1.1.1", [(XFF, b"198.51.100.7")], "198.51.100.7"),
        ("::ffff:10.1.1.1", [(b"x-forwarded-for", b"198.51.100.7")], "198.51.100.7"),
        ("10.1.1.1", [(XFF, b"203.0.113.9, 198.51.100.7, 10.2.2.2")], "198.51.100.7"),
        ("10.1.1.1", [(XFF, b"203.0.113.9"), (XFF, b"198.51.100.7")], "198.51.100.7"),
        ("10.1.1.1", [(XFF, b"198.51.100.7:4711")], "198.51.100.7"),
        ("10.1.1.1", [(XFF, b"2001:db8::7")], "2001:db8::7"),
        ("10.1.1.1", [(XFF, b"[2001:db8::7]:443")], "2001:db8::7"),
        ("10.1.1.1", [(XFF, b"10.3.3.3")], "10.1.1.1"),
        ("10.1.1.1", [(XFF, b"unknown")], ""),
        ("10.1.1.1", [], "10.1.1.1"),
        ("::1", [(b"Forwarded", b'for=192.0.2.60;proto=http, for="[2001:db8::9]:1"')], "2001:db8::9"),
        ("::1", [(b"Forwarded", b"proto=http;For=192.0.2.60")], "192.0.2.60"),
        ("::1", [(b"Forwarded", b"for=192.0.2.60"), (XFF, b"198.51.100.7")], "198.51.100.7"),
        ("::1", [(b"X-Real-Ip", b"198.51.100.7")], "::1"),
        ("", [(XFF, b"198.51.100.7")], ""),
    ],
)
def test_the_last_that_a_trusted_proxy_has_seen(peer: str, fields: list[tuple[bytes, bytes]], expected: str) -> None:
    assert visitors_address(peer, fields, TRUSTED) == expected
