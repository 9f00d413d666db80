"""Waiting for a tenant to become what it was asked to be, and telling about it meanwhile.

``judge`` (registry/outcomes.py) is the decision, pure. ``wait_until`` feeds it with the registry's changes. When
nobody is there who could carry the wish out, that is said at once, not after the timeout.
"""

from __future__ import annotations

import asyncio
from typing import Final, NoReturn, Protocol, assert_never

from gogeta.domain.lifecycle import Desired
from gogeta.domain.quantities import format_duration
from gogeta.domain.state import Member, Phase, TenantRecord
from gogeta.domain.tenant import TenantName
from gogeta.kit.clock import rfc3339
from gogeta.kit.exits import CommandError, ExitStatus
from gogeta.kit.tasks import Tasks
from gogeta.registry.mirror import TenantMirror
from gogeta.registry.outcomes import Failed, Gone, Outcome, Overtaken, Pending, Reached, judge
from gogeta.registry.registry import DesiredChange, Registry
from gogeta.registry.store import RegistryError

CONTROLLER: Final = "passivator"
"""The kind of member that carries wishes out."""
_LOOK_FOR_CONTROLLERS_EVERY: Final = 2.0


def phases_of(record: TenantRecord, asked: DesiredChange) -> tuple[Phase, ...]:
    """The steps of the start that was asked for; none of an earlier one, and none of a stop."""
    ours = asked.changed and record.observed.wakes >= asked.desired.wakes
    return record.observed.phases if ours and asked.desired.state is Desired.STARTED else ()


class Progress(Protocol):
    """Who is told while we wait."""

    def pending(self, pending: Pending) -> None:
        """The tenant as it is now; called again with every change."""
        ...

    def reached(self, phases: tuple[Phase, ...]) -> None:
        """It is what was asked; ``phases`` are the steps that it took, all finished."""
        ...

    def warn(self, text: str) -> None:
        """Something that a person should know."""
        ...


async def wait_until(
    registry: Registry, record: TenantRecord, asked: DesiredChange, progress: Progress, timeout: float
) -> TenantRecord:
    """Wait until the tenant is what was asked; its record then. Raises CommandError when that does not happen."""
    name = TenantName(record.name)
    mirror, changed = TenantMirror(registry.store), asyncio.Event()
    mirror.subscribe(lambda changed_name, _, __: changed.set() if changed_name == name else None)
    last: Outcome = Pending(record)
    looking = False
    async with Tasks("waiting") as tasks:
        tasks.start(mirror.source.run(), "mirror")
        try:
            async with asyncio.timeout(timeout):
                await mirror.source.wait_synced()
                while True:
                    changed.clear()
                    last = judge(mirror.records.get(name), asked)
                    match last:
                        case Reached(reached):
                            progress.reached(phases_of(reached, asked))
                            return reached
                        case Pending():
                            progress.pending(last)
                            if not looking:
                                looking = True
                                tasks.start(_look_for_controllers(registry, record, asked, progress), "controllers")
                        case Failed() | Overtaken() | Gone():
                            raise _refusal(name, last)
                        case _:
                            assert_never(last)
                    await changed.wait()
        except TimeoutError:
            raise _too_late(name, last, asked, mirror.source.last_error, timeout) from None


def _refusal(name: str, outcome: Failed | Overtaken | Gone) -> CommandError:
    match outcome:
        case Gone():
            return CommandError(f"tenant {name!r} was removed meanwhile")
        case Overtaken(record):
            desired = record.desired
            who = (desired.by or "somebody") + (f" ({desired.cause.value})" if desired.cause else "")
            return CommandError(
                f"tenant {name!r} is to be {desired.state.value} now: {who} changed it meanwhile",
                status=ExitStatus.REFUSED,
                hint=f"`gogeta tenants {name}` shows it",
            )
        case Failed(None):
            return CommandError(f"tenant {name!r} failed, and no reason was recorded")
        case Failed(reason):
            assert reason is not None  # noqa: S101 - the case above
            retry = f"; it is tried again at {rfc3339(reason.retry_at)}" if reason.retry_at else ""
            return CommandError(
                f"tenant {name!r} failed: {reason.message} ({reason.code.value})",
                hint=f"`gogeta tenants {name}` shows more{retry}",
            )
        case _:
            assert_never(outcome)


def _too_late(
    name: str, last: Outcome, asked: DesiredChange, trouble: RegistryError | None, timeout: float
) -> CommandError:
    waited = format_duration(timeout)
    if trouble is not None:
        return CommandError(
            f"after {waited} nothing is known of tenant {name!r}: the registry does not answer: {trouble.message}",
            status=ExitStatus.TIMED_OUT,
            hint="what was asked for stays asked for",
        )
    at = last.record.observed.state.value if isinstance(last, Pending) else "unknown"
    step = f" ({last.phase})" if isinstance(last, Pending) and last.phase else ""
    goal = "started" if asked.desired.state is Desired.STARTED else "stopped"
    return CommandError(
        f"tenant {name!r} is not {goal} after {waited}: it is {at}{step}",
        status=ExitStatus.TIMED_OUT,
        hint=f"it stays asked for; `gogeta tenants {name}` shows how it goes on",
    )


async def _look_for_controllers(
    registry: Registry, record: TenantRecord, asked: DesiredChange, progress: Progress
) -> NoReturn:
    verb = "start" if asked.desired.state is Desired.STARTED else "stop"
    told = ""
    while True:
        try:
            missing = missing_controller(await registry.members(), record, verb)
        except RegistryError:
            # The mirror beside us waits this out and logs it.
            missing = told
        if missing and missing != told:
            progress.warn(missing)
        told = missing
        await asyncio.sleep(_LOOK_FOR_CONTROLLERS_EVERY)


def missing_controller(members: tuple[Member, ...], record: TenantRecord, verb: str) -> str:
    """Why nobody will ``verb`` (start, stop) the tenant; empty when somebody will."""
    controllers = [member for member in members if member.kind == CONTROLLER]
    if not controllers:
        return f"no passivator is running, so nothing will {verb} it; `passivator` or `gogeta up` runs one"
    driver = record.tenant.driver
    if not any(member.driver in ("", driver) for member in controllers):
        return f"no running passivator has the {driver} driver, so nothing will {verb} it"
    return ""
