"""Listings and changes folded into records: whatever anybody wrote, in any order, nothing raises, nothing is lost."""

import json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gogeta.domain.lifecycle import Desired, Observed
from gogeta.domain.state import ASLEEP, NEVER_SEEN, DesiredState, LastAccess, Member, ObservedState
from gogeta.domain.tenant import Tenant, TenantName, read_tenant
from gogeta.domain.upstreams import Endpoint
from gogeta.registry import keys
from gogeta.registry.codec import MAX_VALUE_BYTES, decode, encode
from gogeta.registry.records import Records
from gogeta.registry.store import Change, Entry, Listing

NAMES = ["acme", "b", "c-1"]


def tenant(name: str, host: str | None = None) -> Tenant:
    return read_tenant(
        {"name": name, "hosts": [host or f"{name}.example"], "process": {"command": ["run"]}}, what="test"
    )


def change(key: str, revision: int, value: bytes | None) -> Change:
    return Change(key, revision, None if value is None else Entry(key, value, revision, revision))


GOOD: dict[str, list[bytes]] = {
    **{keys.tenant_key(n): [encode(tenant(n)), encode(tenant(n, f"other-{n}.example"))] for n in NAMES},
    **{keys.desired_key(n): [encode(DesiredState(state=state)) for state in Desired] for n in NAMES},
    **{
        keys.observed_key(n): [
            encode(ObservedState(state=state, endpoints=(Endpoint("127.0.0.1", 80),), instance="1"))
            for state in Observed
        ]
        for n in NAMES
    },
}
SOME_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)
FIELD_NAMES = st.sampled_from(
    [
        "version",
        "name",
        "hosts",
        "state",
        "endpoints",
        "process",
        "docker",
        "since",
        "wakes",
        "reason",
        "upstreams",
        "env",
    ]
)
GARBAGE = st.one_of(
    st.binary(max_size=50),
    SOME_JSON.map(lambda value: json.dumps(value).encode()),
    st.dictionaries(FIELD_NAMES, SOME_JSON, max_size=5).map(lambda value: json.dumps({"version": 1, **value}).encode()),
    st.sampled_from(
        [
            b"[" * 100_000,
            b'{"version":1,"since":' + b"9" * 5000 + b"}",
            b'{"version":2,"state":"started"}',
            b'{"version":true,"state":"started"}',
            b'{"version":1,"state":"\\ud800"}',
            b'{"version":1,"name":"acme","hosts":["\\ud800.example"],"process":{"command":["\\udfff"]}}',
            b'{"version":1,"state":"started","since":1e999}',
            bytes(MAX_VALUE_BYTES + 1),
        ]
    ),
)
KEYS = st.one_of(
    st.sampled_from(sorted(GOOD)),
    st.sampled_from(
        [keys.TENANTS, keys.OBSERVED, keys.DESIRED + "a/b", keys.OBSERVED + "UPPER", "/elsewhere", keys.STATE + "x"]
    ),
    st.text(max_size=20).map(lambda text: keys.TENANTS + text),
)


@st.composite
def steps(draw: st.DrawFn) -> tuple[str, bytes | None]:
    key = draw(KEYS)
    value = draw(st.none() | GARBAGE | st.sampled_from(GOOD.get(key, [b"{}"])))
    return key, value


@settings(max_examples=70, deadline=None)
@given(st.lists(steps(), max_size=25))
@example([(keys.observed_key("acme"), b"\xff")])
def test_any_order_of_anything_keeps_the_last_good_value(sequence: list[tuple[str, bytes | None]]) -> None:
    records = Records()
    good: dict[str, bytes] = {}
    now: dict[str, Entry] = {}
    for revision, (key, value) in enumerate(sequence, start=1):
        touched = records.apply_all([change(key, revision, value)])
        assert len(touched) <= 1
        if value is None:
            now.pop(key, None)
            good.pop(key, None)
            assert key not in records.quarantine
        else:
            now[key] = Entry(key, value, revision, revision)
            if value in GOOD.get(key, []):
                good[key] = value
                assert key not in records.quarantine
            elif key in records.quarantine:
                assert records.quarantine[key], "it says what is wrong"
            elif key in GOOD:
                good[key] = value  # what was drawn happened to be readable
    for name in NAMES:
        record = records.by_name.get(TenantName(name))
        declared = good.get(keys.tenant_key(name))
        assert (record is None) == (declared is None)
        if record is None or declared is None:
            continue
        assert record.tenant == decode(Tenant, declared, what="")
        desired, observed = good.get(keys.desired_key(name)), good.get(keys.observed_key(name))
        assert record.desired == (decode(DesiredState, desired, what="") if desired else ASLEEP)
        assert record.observed == (decode(ObservedState, observed, what="") if observed else NEVER_SEEN)
    # A listing of the present state afterwards changes nothing, and a fresh copy sees what is readable now.
    before = dict(records.by_name)
    records.reset(Listing(len(sequence) + 1, tuple(now.values())))
    assert records.by_name == before
    assert set(records.quarantine) <= set(now)
    fresh = Records()
    fresh.reset(Listing(len(sequence) + 1, tuple(now.values())))
    assert {name for name in fresh.by_name} <= {name for name in before}  # noqa: C416  # sets of names


def test_states_may_come_before_their_declaration_and_outlive_it() -> None:
    records = Records()
    assert (
        records.apply_all([change(keys.observed_key("acme"), 5, encode(ObservedState(state=Observed.FAILED)))]) == set()
    )
    assert list(records.leftovers) == ["acme"]
    assert records.apply_all([change(keys.tenant_key("acme"), 6, encode(tenant("acme")))]) == {"acme"}
    record = records.by_name[TenantName("acme")]
    assert (record.revision, record.observed_revision, record.desired_revision, record.created) == (6, 5, 0, 6)
    assert record.observed.state is Observed.FAILED
    assert not records.leftovers
    assert records.apply_all([change(keys.tenant_key("acme"), 7, None)]) == {"acme"}
    assert records.by_name == {}
    assert list(records.leftovers) == ["acme"]
    assert records.apply_all([change(keys.observed_key("acme"), 8, None)]) == set()
    assert not records.leftovers


def test_a_listing_forgets_what_it_does_not_have() -> None:
    records = Records()
    entries = [Entry(keys.tenant_key(name), encode(tenant(name)), 3, 2) for name in NAMES]
    assert records.reset(Listing(9, tuple(entries))) == set(NAMES)
    assert records.reset(Listing(9, tuple(entries))) == set()
    bad = Entry(entries[1].key, b"broken", 10, 2)
    assert records.reset(Listing(12, (bad,))) == {"acme", "c-1"}
    assert set(records.by_name) == {"b"}, "what was known good stays"
    assert list(records.quarantine) == [bad.key]
    assert records.reset(Listing(13, ())) == {"b"}
    assert records.quarantine == {}


@pytest.mark.parametrize("name", ["", "a/b", "UPPER", "-x"])
def test_keys_that_name_no_tenant_are_quarantined(name: str) -> None:
    records = Records()
    records.apply_all([change(keys.OBSERVED + name, 1, encode(ObservedState(state=Observed.STARTED)))])
    assert list(records.quarantine) == [keys.OBSERVED + name]
    assert not records.leftovers, "nothing is ever stopped or removed under such a name"


def test_a_declaration_under_another_name_is_quarantined() -> None:
    records = Records()
    records.apply_all([change(keys.tenant_key("b"), 1, encode(tenant("acme")))])
    assert "as the key says" in records.quarantine[keys.tenant_key("b")]


def test_a_newer_version_is_named_and_unknown_fields_are_passed_over() -> None:
    records = Records()
    records.apply_all([change(keys.desired_key("acme"), 1, b'{"version":2,"state":"started"}')])
    assert records.quarantine == {keys.desired_key("acme"): "version: expected 1, not 2"}
    records.apply_all([change(keys.desired_key("acme"), 2, b'{"version":1,"state":"started","later":{"a":1}}')])
    assert records.quarantine == {}


@given(st.integers(0, 2**53), st.text(max_size=20), st.integers(0, 10**6))
def test_values_come_back_as_they_were(at: int, by: str, count: int) -> None:
    for value in [
        LastAccess(at=at, by=by, in_flight=count),
        DesiredState(state=Desired.STARTED, by=by, since=at, wakes=count),
        ObservedState(state=Observed.STARTED, since=at, endpoints=(Endpoint("::1", 80),), instance=by),
        Member(kind="gogeta", id=by, since=at, listeners=(Endpoint("a", 1),)),
    ]:
        assert decode(type(value), encode(value), what="test") == value
