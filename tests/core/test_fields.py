"""The tables of fields, and their cache of spellings."""

from __future__ import annotations

import pytest

from gogeta.core.fields import FORWARDING, REQUEST, REQUEST_KINDS, RESPONSE, RESPONSE_KINDS, Kind, KindCache, tokens


@pytest.mark.parametrize("name", sorted(REQUEST))
def test_a_request_field_is_known_in_every_spelling(name: bytes) -> None:
    for spelling in (name, name.upper(), name.title()):
        assert REQUEST_KINDS[spelling] == REQUEST[name]


@pytest.mark.parametrize("name", sorted(RESPONSE))
def test_a_response_field_is_known_in_every_spelling(name: bytes) -> None:
    for spelling in (name, name.upper(), name.title()):
        assert RESPONSE_KINDS[spelling] == RESPONSE[name]


def test_what_is_not_listed_passes() -> None:
    for name in (b"X-Anything", b"Content-Type", b"x_y", b"Sec-WebSocket-Key", b""):
        assert REQUEST_KINDS[name] == RESPONSE_KINDS[name] == Kind.PASS


@pytest.mark.parametrize("name", [name for name in (*FORWARDING, b"x-request-id") if b"-" in name])
def test_every_mixture_with_underscores_is_dropped(name: bytes) -> None:
    for twin in (name.replace(b"-", b"_"), name.replace(b"-", b"_", 1), name.replace(b"-", b"_").upper()):
        assert REQUEST_KINDS[twin] == Kind.DROP


def test_hostile_spellings_do_not_fill_the_cache() -> None:
    kinds = KindCache(REQUEST)
    for number in range(KindCache.LIMIT + 100):
        assert kinds[b"x-%d" % number] == Kind.PASS
    assert len(kinds) == KindCache.LIMIT
    assert kinds[b"HOST"] == Kind.HOST
    fresh = KindCache(REQUEST)
    assert fresh[b"x" * 1000] == Kind.PASS
    assert not fresh


def test_members_of_a_list() -> None:
    assert tokens(b" Close ,, X-a\t,") == (b"close", b"x-a")
    assert tokens(b" , ") == ()
