"""Who the visitor is: nobody but a trusted proxy speaks for somebody else."""

from __future__ import annotations

import ipaddress

import pytest

from gogeta.core.forwarding import Forwarding
from tests.core.heads import head

TRUSTED = (ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("fd00::/8"))
SPOOFED = (
    "X-Forwarded-For: 6.6.6.6\nX-Forwarded-For: 7.7.7.7\nX-Forwarded-Proto: https\nX-Forwarded-Host: evil.test\n"
    "X-Forwarded-Port: 443\nForwarded: for=6.6.6.6;proto=https\nX-Real-IP: 6.6.6.6\nX-Forwarded-Server: evil"
)


def written(peer: str, more: str = "", *, host: str = "a.test:8080") -> dict[str, str]:
    text = Forwarding(8080, TRUSTED).fields(peer, head(more=more, host=host)).decode()
    assert text.endswith("\r\n")
    pairs = [line.split(": ", 1) for line in text.removesuffix("\r\n").split("\r\n")]
    assert len({name for name, _ in pairs}) == len(pairs)
    return {name: value for name, value in pairs}  # noqa: C416 - two-element lists, told to the type checker


def test_spoofed_fields_are_dropped() -> None:
    assert written("192.0.2.1", SPOOFED) == {
        "X-Forwarded-For": "192.0.2.1",
        "X-Forwarded-Proto": "http",
        "X-Forwarded-Host": "a.test:8080",
        "X-Forwarded-Port": "8080",
        "Forwarded": 'for=192.0.2.1;host="a.test:8080";proto=http',
    }


def test_a_trusted_proxy_is_believed_and_appended_to() -> None:
    assert written("10.1.2.3", SPOOFED) == {
        "X-Forwarded-For": "6.6.6.6, 7.7.7.7, 10.1.2.3",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": "evil.test",
        "X-Forwarded-Port": "443",
        "Forwarded": 'for=6.6.6.6;proto=https, for=10.1.2.3;host="a.test:8080";proto=http',
    }


def test_a_trusted_proxy_that_says_nothing_is_the_visitor() -> None:
    assert written("10.1.2.3")["X-Forwarded-For"] == "10.1.2.3"


def test_ipv6_is_quoted_where_rfc_7239_wants_it() -> None:
    fields = written("2001:db8::1", host="[::1]:80")
    assert fields["X-Forwarded-For"] == "2001:db8::1"
    assert fields["Forwarded"] == 'for="[2001:db8::1]";host="[::1]:80";proto=http'


@pytest.mark.parametrize(("peer", "shown"), [("::ffff:192.0.2.1", "192.0.2.1"), ("fe80::1%eth0", "fe80::1")])
def test_an_address_has_one_spelling(peer: str, shown: str) -> None:
    assert written(peer)["X-Forwarded-For"] == shown


def test_an_ipv4_address_in_ipv6_clothes_is_trusted_as_itself() -> None:
    assert written("::ffff:10.0.0.1", SPOOFED)["X-Forwarded-For"].startswith("6.6.6.6, ")


def test_a_unix_peer_is_unknown_and_not_trusted() -> None:
    fields = written("unix", SPOOFED)
    assert fields["X-Forwarded-For"] == "unknown"
    assert fields["Forwarded"].startswith("for=unknown;")


def test_a_chain_without_end_is_not_carried_on() -> None:
    assert written("10.1.2.3", f"X-Forwarded-For: {'1.1.1.1, ' * 1000}")["X-Forwarded-For"] == "10.1.2.3"


def test_many_peers_are_forgotten_again() -> None:
    forwarding = Forwarding(80, ())
    for number in range(5000):
        forwarding.fields(f"10.0.{number // 250}.{number % 250}", head())
    assert len(forwarding._peers) <= 4096  # noqa: SLF001 - the bound is the promise
