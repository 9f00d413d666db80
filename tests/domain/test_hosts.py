"""One host has one spelling, and nothing that could be read in two ways has any."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gogeta.domain.hosts import (
    DEFAULT_HOST,
    MAX_HOST_LENGTH,
    normalise_host,
    normalise_pattern,
    normalise_tenant_name,
    split_authority,
)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("example.com", "example.com"),
        ("EXAMPLE.Com:8080", "example.com"),
        ("example.com.", "example.com"),
        ("example.com.:80", "example.com"),
        ("example.com:", "example.com"),
        ("_svc.example.com", "_svc.example.com"),
        ("127.0.0.1:80", "127.0.0.1"),
        ("[::1]:80", "[::1]"),
        ("[0:0:0:0:0:0:0:1]", "[::1]"),
        ("[2001:DB8::A]", "[2001:db8::a]"),
        ("xn--strae-oqa.de", "xn--strae-oqa.de"),
    ],
)
def test_a_requests_host_has_one_spelling(written: str, meant: str) -> None:
    assert normalise_host(written) == meant


@pytest.mark.parametrize(
    "written",
    [
        "",
        ".",
        "..",
        "example..com",
        "example.com..",
        ".example.com",
        "exa mple.com",
        "example.com:x",
        "example.com:65536",
        "example.com:-1",
        "example.com:80:80",
        "user@example.com",
        "example.com/path",
        "a,b",
        "-a.example",
        "a-.example",
        "a" * 64 + ".example",
        "stra\u00dfe.de",
        "\u212aelvin.example",
        "[::1",
        "::1",
        "[::1]x",
        "[fe80::1%eth0]",
        "[fe80::1%<script>]",
        "[1.2.3.4]",
        "a\x00b",
        "a\n",
        ".".join(["a" * 63] * 5),
    ],
)
def test_a_malformed_host_is_refused(written: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        normalise_host(written)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("*", DEFAULT_HOST),
        (" App.Example.COM ", "app.example.com"),
        ("*.Example.com", "*.example.com"),
        ("stra\u00dfe.de", "xn--strae-oqa.de"),
        ("*.b\u00fccher.example", "*.xn--bcher-kva.example"),
    ],
)
def test_a_declared_host_may_be_a_wildcard_or_unicode(written: str, meant: str) -> None:
    assert normalise_pattern(written) == meant


@pytest.mark.parametrize(
    "written", ["", "*.", "*.*.example.com", "a.*.example.com", "*example.com", "*.[::1]", "\u00fc..b"]
)
def test_a_malformed_pattern_is_refused(written: str) -> None:
    with pytest.raises(ValueError, match=r"expected|wildcard"):
        normalise_pattern(written)


@pytest.mark.parametrize("written", ["", "-a", "a-", "a.b", "a_b", "a" * 64, "\u212a", "a/b", ".."])
def test_a_malformed_tenant_name_is_refused(written: str) -> None:
    with pytest.raises(ValueError, match="expected a name"):
        normalise_tenant_name(written)


@given(st.text(max_size=300))
def test_normalising_again_changes_nothing(written: str) -> None:
    for normalise in (normalise_host, normalise_pattern, normalise_tenant_name):
        try:
            once = normalise(written)
        except ValueError:
            continue
        assert normalise(once) == once
        assert once.isascii()
        assert len(once) <= MAX_HOST_LENGTH + 2
        assert not set(once) & set("/@,\0\r\n %")


@given(st.text(alphabet=string.printable, max_size=40))
def test_an_authority_splits_into_what_it_was_made_of(written: str) -> None:
    try:
        host, port = split_authority(written)
    except ValueError:
        return
    assert written == host or written.startswith(host + ":")
    assert port is None or 0 <= port <= 65535
