"""Hosts to tenants, against a naive reference."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gogeta.core.routing import RoutingTable
from gogeta.domain.hosts import normalise_host

LABELS = st.sampled_from(["a", "b", "c-d", "xn--bcher-kva", "1"])
NAMES = st.lists(LABELS, min_size=1, max_size=4).map(".".join)
PATTERNS = st.one_of(NAMES, NAMES.map("*.{}".format), st.just("*"))
CLAIMS = st.lists(
    st.tuples(st.integers(0, 3), st.sampled_from("pqrs"), st.lists(PATTERNS, max_size=4, unique=True)), max_size=6
)


def table(*claims: tuple[str, int, str]) -> RoutingTable:
    routes = RoutingTable()
    for name, age, hosts in claims:
        routes.claim(name, age, hosts.split())
    return routes


def test_exact_beats_the_longest_wildcard_beats_the_default() -> None:
    routes = table(("all", 1, "*"), ("short", 2, "*.test"), ("long", 3, "*.b.test"), ("exact", 4, "a.b.test"))
    assert routes.find(b"a.b.test") == "exact"
    assert routes.find(b"c.b.test") == "long"
    assert routes.find(b"d.c.b.test") == "long"
    assert routes.find(b"b.test") == "short"
    assert routes.find(b"test") == "all"
    assert routes.find(b"[::1]") == "all"


@pytest.mark.parametrize(
    "raw", [b"A.Test", b"a.test.", b"a.test:80", b"a.test:", b"A.TEST.:65535"], ids=lambda raw: raw.decode()
)
def test_one_host_has_many_spellings(raw: bytes) -> None:
    assert table(("acme", 1, "a.test")).find(raw) == "acme"


def test_addresses_in_brackets() -> None:
    routes = table(("six", 1, "[::1]"))
    assert routes.find(b"[0:0::1]:8080") == "six"
    assert routes.find(b"[::2]") is None


@pytest.mark.parametrize(
    "raw",
    [b"", b"a b", b"a,b", b"u@a.test", b"a.test/x", b"a..test", b"a.test:x", b"a.test:99999", b"[::1", b"\xff", b"*.a"],
    ids=repr,
)
def test_what_is_no_host_is_refused_each_time(raw: bytes) -> None:
    routes = table(("all", 1, "*"))
    for _ in range(2):
        with pytest.raises(ValueError, match="expected"):
            routes.find(raw)


def test_the_older_claim_wins_whatever_the_order_and_the_conflict_names_both() -> None:
    for order in ([("old", 1), ("new", 2)], [("new", 2), ("old", 1)]):
        routes = RoutingTable()
        conflicts = [conflict for name, age in order for conflict in routes.claim(name, age, ["a.test"])]
        assert routes.find(b"a.test") == "old"
        assert [(conflict.host, conflict.holder, conflict.claimant) for conflict in conflicts] == [
            ("a.test", "old", "new")
        ]


def test_when_the_holder_goes_the_next_claim_is_served() -> None:
    routes = table(("old", 1, "a.test"), ("new", 2, "a.test"))
    assert routes.find(b"a.test") == "old"
    routes.release("old", ["a.test"])
    assert routes.find(b"a.test") == "new"
    routes.release("new", ["a.test"])
    assert routes.find(b"a.test") is None


def test_hostile_hosts_do_not_fill_the_cache() -> None:
    routes = table(("all", 1, "*"))
    for number in range(RoutingTable.CACHE + 10):
        assert routes.find(b"h%d.test" % number) == "all"
    assert len(routes._cache) <= RoutingTable.CACHE  # noqa: SLF001 - the bound is the promise


def reference(claims: list[tuple[int, str, list[str]]], host: str) -> str | None:
    labels = host.split(".")
    for pattern in (host, *("*." + ".".join(labels[start:]) for start in range(1, len(labels))), "*"):
        holders = sorted((age, name) for age, name, hosts in claims if pattern in hosts)
        if holders:
            return holders[0][1]
    return None


@given(CLAIMS, st.lists(NAMES, min_size=1, max_size=5), st.randoms(use_true_random=False))
def test_look_ups_equal_a_naive_reference(
    claims: list[tuple[int, str, list[str]]], hosts: list[str], order: random.Random
) -> None:
    # One claim per tenant, as the registry has it.
    unique = list({name: (age, name, patterns) for age, name, patterns in claims}.values())
    shuffled = unique[:]
    order.shuffle(shuffled)
    routes = RoutingTable()
    for age, name, patterns in shuffled:
        routes.claim(name, age, patterns)
    for host in hosts:
        assert routes.find(host.encode()) == routes.find(host.upper().encode()) == reference(unique, host)


@given(NAMES, st.sampled_from(["", ".", ":80", ".:80"]))
def test_normalising_is_idempotent(name: str, tail: str) -> None:
    once = normalise_host(name.upper() + tail)
    assert once == normalise_host(once) == name
