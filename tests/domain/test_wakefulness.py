"""Why a tenant is awake, and when it would sleep: every reason, and an honest time."""

from typing import Any

import pytest

from gogeta.domain.lifecycle import Desired, Observed
from gogeta.domain.state import DesiredState, LastAccess, ObservedState, TenantRecord
from gogeta.domain.tenant import read_tenant
from gogeta.domain.wakefulness import ASLEEP, AwakeReason, Keeps, why_awake

NOW = 1_800_000_000_000


def record(state: Desired = Desired.STARTED, observed: Observed = Observed.STARTED, **declared: Any) -> TenantRecord:  # noqa: ANN401 - parts of a declaration
    ways: dict[str, Any] = {} if "upstreams" in declared else {"docker": {"image": "x"}}
    return TenantRecord(
        tenant=read_tenant({"name": "acme", "hosts": ["a.test"], **ways, **declared}, what="test"),
        desired=DesiredState(state=state, since=NOW - 9_000_000),
        observed=ObservedState(state=observed, since=NOW - 8_000_000),
    )


def keeps(*found: AwakeReason) -> list[Keeps]:
    return [reason.keeps for reason in found]


def test_used_lately_it_sleeps_when_its_idle_timeout_is_over() -> None:
    why = why_awake(record(idle_timeout="10m"), LastAccess(at=NOW - 60_000), (), NOW)
    assert keeps(*why.reasons) == [Keeps.RECENT_USE]
    assert why.sleeps_at == NOW + 540_000


def test_a_pause_comes_first() -> None:
    why = why_awake(record(idle_timeout="10m", sleep={"pause_after": "2m"}), LastAccess(at=NOW - 60_000), (), NOW)
    assert why.sleeps_at == NOW + 60_000


def test_in_flight_nobody_can_say_when() -> None:
    why = why_awake(record(), LastAccess(at=NOW - 60_000, by="gogeta/1", in_flight=2), (), NOW)
    assert keeps(*why.reasons) == [Keeps.IN_FLIGHT, Keeps.RECENT_USE]
    assert "2 requests and tunnels open in gogeta/1" in why.reasons[0].detail
    assert why.sleeps_at is None


def test_vetoes_count_until_their_ends() -> None:
    hours = AwakeReason(Keeps.HOURS, "its hours are on", NOW + 5_000_000)
    over = AwakeReason(Keeps.BUSY, "it was busy", NOW - 1)
    why = why_awake(record(idle_timeout="1m"), LastAccess(at=NOW - 900_000), (hours, over), NOW)
    assert why.reasons == (hours,)
    assert why.sleeps_at == NOW + 5_000_000
    open_ended = AwakeReason(Keeps.HOURS, "no such time zone here")
    assert why_awake(record(idle_timeout="1m"), None, (open_ended,), NOW).sleeps_at is None


def test_nothing_against_it_is_any_moment_now() -> None:
    why = why_awake(record(idle_timeout="1m"), LastAccess(at=NOW - 900_000), (), NOW)
    assert (why.awake, why.reasons, why.sleeps_at) == (True, (), NOW)


@pytest.mark.parametrize("declared", [{"idle_timeout": "never"}, {"upstreams": ["http://192.0.2.1"]}])
def test_never_is_never(declared: dict[str, Any]) -> None:
    why = why_awake(record(**declared), LastAccess(at=0), (), NOW)
    assert Keeps.NO_TIMEOUT in keeps(*why.reasons)
    assert why.sleeps_at is None


def test_timers_do_not_run_during_a_start() -> None:
    why = why_awake(record(observed=Observed.STARTING, idle_timeout="1m"), None, (), NOW)
    assert keeps(*why.reasons) == [Keeps.STARTING]
    assert why.sleeps_at is None


@pytest.mark.parametrize("state", [Desired.PASSIVATED, Desired.STOPPED])
def test_what_should_not_be_awake_is_not(state: Desired) -> None:
    assert why_awake(record(state), None, (), NOW) == ASLEEP
