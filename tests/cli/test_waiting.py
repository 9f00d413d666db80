import asyncio
from dataclasses import replace

import pytest

from gogeta.cli.waiting import (
    missing_controller,
    phases_of,
    wait_until,
)
from gogeta.domain.lifecycle import Cause, Desired, Observed
from gogeta.domain.state import DesiredState, Member, ObservedState, Phase, Reason, ReasonCode, TenantRecord
from gogeta.domain.tenant import read_tenant
from gogeta.domain.upstreams import Endpoint
from gogeta.kit.exits import CommandError, ExitStatus
from gogeta.kit.tasks import Tasks
from gogeta.registry.outcomes import Failed, Gone, Outcome, Overtaken, Pending, Reached, judge
from gogeta.registry.registry import DesiredChange, Registry
from tests.cli.conftest import Cli

TENANT = read_tenant({"name": "acme", "hosts": ["a.x"], "process": {"command": ["a"]}}, what="test")
SOMEWHERE = (Endpoint("10.0.0.9", 80),)
QUEUED, STARTED = Phase("queued", 1.0), Phase("started", 20.0)
EXITED = Reason(ReasonCode.EXITED, "ended with status 3")
STUCK = Reason(ReasonCode.STOP_FAILED, "will not die")


def asked(state: Desired, *, wakes: int = 2, revision: int = 10) -> DesiredChange:
    return DesiredChange(DesiredState(state=state, wakes=wakes), revision, changed=True)


def record(desired: Desired, observed: ObservedState, *, revision: int = 10) -> TenantRecord:
    return TenantRecord(
        tenant=TENANT, desired=DesiredState(state=desired, wakes=2), observed=observed, desired_revision=revision
    )


UP, DOWN = asked(Desired.STARTED), asked(Desired.PASSIVATED)


@pytest.mark.parametrize(
    ("change", "observed", "outcome"),
    [
        (UP, ObservedState(state=Observed.STOPPED), Pending),
        (UP, ObservedState(state=Observed.STARTING, wakes=2, phase="starting"), Pending),
        (UP, ObservedState(state=Observed.STARTED, wakes=2, endpoints=SOMEWHERE), Reached),
        # Started, and nobody knows where: visitors wait for the address as well.
        (UP, ObservedState(state=Observed.STARTED, wakes=2), Pending),
        (UP, ObservedState(state=Observed.FAILED, wakes=2, reason=EXITED), Failed),
        # The failure of an earlier start, or of the stop before this one.
        (UP, ObservedState(state=Observed.FAILED, wakes=1, reason=EXITED), Pending),
        (UP, ObservedState(state=Observed.STOPPING, wakes=1), Pending),
        (DOWN, ObservedState(state=Observed.STARTED, wakes=2, endpoints=SOMEWHERE), Pending),
        (DOWN, ObservedState(state=Observed.STOPPING, wakes=2), Pending),
        (DOWN, ObservedState(state=Observed.STOPPED, wakes=2), Reached),
        (DOWN, ObservedState(state=Observed.FAILED, wakes=2, reason=STUCK), Failed),
        (DOWN, ObservedState(state=Observed.FAILED, wakes=2, reason=EXITED), Pending),
    ],
)
def test_what_a_record_means_for_who_waits(
    change: DesiredChange, observed: ObservedState, outcome: type[Outcome]
) -> None:
    assert isinstance(judge(record(change.desired.state, observed), change), outcome)


def test_a_removed_tenant_and_a_changed_mind_end_the_waiting() -> None:
    assert judge(None, UP) == Gone()
    later = record(Desired.PASSIVATED, ObservedState(state=Observed.STARTING), revision=11)
    assert judge(later, UP) == Overtaken(later)
    # Our own copy may be older than what we wrote.
    assert isinstance(judge(replace(later, desired_revision=9), UP), Pending)


def test_phases_of_an_earlier_start_are_not_shown() -> None:
    old = ObservedState(state=Observed.STARTING, wakes=1, phases=(QUEUED,), phase="starting")
    pending = judge(record(Desired.STARTED, old), UP)
    assert isinstance(pending, Pending)
    assert (pending.phases, pending.phase) == ((), "")
    new = record(Desired.STARTED, replace(old, wakes=2))
    assert judge(new, UP) == Pending(new, (QUEUED,), "starting")
    assert phases_of(new, UP) == (QUEUED,)
    assert phases_of(new, replace(UP, changed=False)) == ()
    assert phases_of(new, DOWN) == ()


def test_who_could_carry_a_wish_out() -> None:
    it = record(Desired.STARTED, ObservedState(state=Observed.STOPPED))
    proxy = Member(kind="gogeta", id="1")
    assert "no passivator is running, so nothing will start it" in missing_controller((proxy,), it, "start")
    docker = Member(kind="passivator", id="2", driver="docker")
    assert "no running passivator has the process driver" in missing_controller((docker,), it, "start")
    assert missing_controller((docker, replace(docker, driver="process")), it, "start") == ""


class Recorded:
    """A progress that remembers."""

    def __init__(self) -> None:
        self.told: list[object] = []

    def pending(self, pending: Pending) -> None:
        if not self.told or self.told[-1] != (pending.phases, pending.phase):
            self.told.append((pending.phases, pending.phase))

    def reached(self, phases: tuple[Phase, ...]) -> None:
        self.told.append(phases)

    def warn(self, text: str) -> None:
        self.told.append(text)


def wait_while(cli: Cli, cause: Cause, *observations: ObservedState, timeout: float = 10.0) -> list[object]:
    """Ask for `cause` and wait, while somebody observes these states one after the other; what was told."""
    cli.have("acme")
    progress = Recorded()

    async def main(registry: Registry) -> list[object]:
        change = await registry.change_desired("acme", cause)

        async def passivator() -> None:
            revision: int | None = 0
            for observed in observations:
                await asyncio.sleep(0.1)
                revision = await registry.observe("acme", observed, revision or 0)

        async with Tasks("test") as tasks:
            tasks.start(registry.announce(Member(kind="passivator", id="test", driver="process")), "announce")
            tasks.start(passivator(), "passivator")
            await wait_until(registry, await registry.record("acme"), change, progress, timeout)
        return progress.told

    return cli.on_registry(main)


def test_phases_are_told_as_they_come(cli: Cli) -> None:
    told = wait_while(
        cli,
        Cause.WAKE,
        ObservedState(state=Observed.STARTING, wakes=1, phase="starting", phases=(QUEUED,)),
        ObservedState(state=Observed.STARTING, wakes=1, phase="waiting until it is ready", phases=(QUEUED, STARTED)),
        ObservedState(state=Observed.STARTED, wakes=1, endpoints=SOMEWHERE, phases=(QUEUED, STARTED)),
    )
    told = [item for item in told if not isinstance(item, str)]
    assert told == [
        ((), ""),
        ((QUEUED,), "starting"),
        ((QUEUED, STARTED), "waiting until it is ready"),
        (QUEUED, STARTED),
    ]


def test_a_failed_start_ends_with_its_reason(cli: Cli) -> None:
    with pytest.raises(CommandError, match=r"'acme' failed: ended with status 3 \(exited\)") as error:
        wait_while(
            cli, Cause.WAKE, ObservedState(state=Observed.FAILED, wakes=1, reason=replace(EXITED, retry_at=1000))
        )
    assert error.value.status is ExitStatus.FAILED
    assert "tried again at 1970-01-01T00:00:01.000Z" in error.value.hint


def test_waiting_ends_in_time_and_says_how_far_it_got(cli: Cli) -> None:
    starting = ObservedState(state=Observed.STARTING, wakes=1, phase="waiting until it is ready")
    with pytest.raises(CommandError, match=r"not started after 600ms: it is starting \(waiting until it") as error:
        wait_while(cli, Cause.WAKE, starting, timeout=0.6)
    assert error.value.status is ExitStatus.TIMED_OUT
