"""Names and end of a certificate, judged by another reader: `cryptography`, which trustme brings."""

from __future__ import annotations

import contextlib
import ssl
from datetime import UTC, datetime

import pytest
import trustme
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from gogeta.core.certificate import certificate_facts

AUTHORITY = trustme.CA(key_type=trustme.KeyType.ECDSA)


def der(leaf: trustme.LeafCert) -> bytes:
    """A certificate's encoding."""
    return ssl.PEM_cert_to_DER_cert(leaf.cert_chain_pems[0].bytes().decode())


@pytest.mark.parametrize("key", list(trustme.KeyType))
@pytest.mark.parametrize("ends", [datetime(2031, 5, 6, 7, 8, 9, tzinfo=UTC), datetime(2150, 1, 2, tzinfo=UTC)])
def test_the_facts_are_those_another_reader_finds(key: trustme.KeyType, ends: datetime) -> None:
    names = ["a.test", "*.B.test", "xn--bcher-kva.example", "192.0.2.7", "::1", *(f"host-{n}.test" for n in range(200))]
    leaf = AUTHORITY.issue_cert(*names, key_type=key, not_after=ends, common_name="c.test")
    facts = certificate_facts(der(leaf))
    other = x509.load_der_x509_certificate(der(leaf))
    alternatives = other.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert facts.names == tuple(name.lower() for name in alternatives.get_values_for_type(x509.DNSName))
    assert facts.ends == other.not_valid_after_utc.timestamp() == ends.timestamp()


def test_an_authoritys_certificate_has_no_names() -> None:
    facts = certificate_facts(ssl.PEM_cert_to_DER_cert(AUTHORITY.cert_pem.bytes().decode()))
    assert facts.names == ()


LEAF = der(AUTHORITY.issue_cert("a.test"))


@pytest.mark.parametrize("data", [b"", b"x", b"0\x80", LEAF[:-1], LEAF[: len(LEAF) // 2], b"0\x03\x02\x01\x01"])
def test_what_is_none_is_a_value_error(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        certificate_facts(data)


@given(st.integers(0, len(LEAF) - 1), st.integers(1, 255))
def test_a_changed_byte_raises_nothing_else(place: int, change: int) -> None:
    with contextlib.suppress(ValueError):
        certificate_facts(LEAF[:place] + bytes((LEAF[place] ^ change,)) + LEAF[place + 1 :])
