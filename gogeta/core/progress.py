"""How far a tenant's start is, and when it is likely to be done: what a waiting visitor is told. Pure.

Everything follows from the tenant's record and from how long its start has been seen to run. An estimate is made of
this tenant's own past starts alone; where there are none, or this one takes longer than they did, that is what is said.
No text here says anything of what is inside: no image, no address, no reason of a failure.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import median
from typing import Final

from gogeta.domain.lifecycle import Meeting, Observed
from gogeta.domain.state import Reason, TenantRecord

LONGEST_RETRY: Final = 300
"""Most seconds that a visitor is told to stay away."""
_UNPLANNED_RETRY: Final = 60
_AT_ONCE: Final = 2
_NEARLY: Final = 96
"""Most percent of a start that is not over."""


class Stage(StrEnum):
    """What is going on, in the order in which it comes."""

    ASKED = "asked"
    """A wake is asked for, and nothing has happened yet."""
    STOPPING = "stopping"
    """It was on its way down and has to get there before it can start."""
    QUEUED = "queued"
    """Others start before it."""
    STARTING = "starting"
    READYING = "getting-ready"
    """It runs and does not answer yet."""
    READY = "ready"
    FAILED = "failed"
    STOPPED = "stopped"
    """Its operator has switched it off."""


class StepState(StrEnum):
    """How far one step is."""

    TODO = "todo"
    NOW = "now"
    DONE = "done"


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a start; ``seconds`` is how long it took, or has taken so far; None when it is not known."""

    name: str
    label: str
    state: StepState
    seconds: float | None = None

    @property
    def time(self) -> str:
        """The time as it is shown; empty when it is not known."""
        return shown(self.seconds)


@dataclass(frozen=True, slots=True)
class Estimate:
    """When it should be done. ``usual`` is None when it was never started here before.

    ``left`` is None when there is no telling: without a history, or when it takes longer than it ever did.
    """

    usual: float | None
    left: float | None
    longer: bool
    """Whether it takes longer than usual already."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a start is. Times in seconds."""

    stage: Stage
    ahead: int | None
    elapsed: float
    """Since it was its turn."""
    steps: tuple[Step, ...]
    estimate: Estimate
    cannot: bool = False
    """Whether the wake cannot be asked for right now."""

    @property
    def text(self) -> str:
        """What is going on, in a sentence."""
        if self.cannot:
            return "It is asleep and cannot be woken at the moment. This page keeps trying."
        if self.stage is Stage.QUEUED and self.ahead:
            return f"It waits for its turn; {counted(self.ahead, 'other start')} before this one."
        return _TEXTS[self.stage]

    @property
    def outlook(self) -> str:
        """When it should be done, in a sentence; empty where nothing can be said."""
        estimate = self.estimate
        if self.cannot or self.stage in _OVER:
            return ""
        if estimate.usual is None:
            return "It was never started here before, so nobody knows yet how long this takes."
        usual = about(estimate.usual)
        if estimate.longer:
            return f"This takes longer than usual ({usual})."
        if self.stage not in _RUNNING:
            return f"Usually ready within {usual}{' once it is its turn' if self.stage is Stage.QUEUED else ''}."
        if estimate.left is None or estimate.left < 1:
            return f"Usually {usual}: ready any moment."
        return f"Usually {usual}: {about(estimate.left)} left."

    @property
    def percent(self) -> int | None:
        """How much of it is done; None when that cannot be said."""
        if self.stage is Stage.READY:
            return 100
        if self.stage not in _RUNNING or self.estimate.usual is None:
            return None
        left = self.estimate.left or 0.0
        return min(int(100 * self.elapsed / max(self.elapsed + left, 0.001)), _NEARLY)

    @property
    def retry_after(self) -> int:
        """Whole seconds after which asking again makes sense."""
        estimate = self.estimate
        if self.stage in _OVER:
            return _AT_ONCE
        if estimate.left is not None:
            return _bounded(estimate.left + (self.ahead or 0))
        # Nobody knows. Whoever has waited long already may as well wait some more.
        return _bounded(max(self.elapsed / 4, 5.0 if estimate.longer else _AT_ONCE) + (self.ahead or 0))

    def data(self) -> str:
        """The same as JSON on one line, for the page's script."""
        return json.dumps(
            {
                "stage": self.stage.value,
                "text": self.text,
                "outlook": self.outlook,
                "percent": self.percent,
                "ahead": self.ahead,
                "steps": [
                    {"name": step.name, "label": step.label, "state": step.state.value, "time": step.time}
                    for step in self.steps
                ],
            },
            separators=(",", ":"),
        )


_OVER: Final = frozenset({Stage.READY, Stage.FAILED, Stage.STOPPED})
_RUNNING: Final = frozenset({Stage.STARTING, Stage.READYING})
_TEXTS: Final[dict[Stage, str]] = {
    Stage.ASKED: "It was asleep and has been asked to start.",
    Stage.STOPPING: "It was just falling asleep. It starts again right after that.",
    Stage.QUEUED: "It is the next to start.",
    Stage.STARTING: "It was asleep and is being started.",
    Stage.READYING: "It runs and is getting ready to answer.",
    Stage.READY: "It is ready.",
    Stage.FAILED: "It could not be started.",
    Stage.STOPPED: "It has been switched off by its operator.",
}
_STEPS: Final = (
    ("queued", "Waiting for its turn", Stage.QUEUED),
    ("started", "Starting", Stage.STARTING),
    ("ready", "Getting ready", Stage.READYING),
)
"""Name of the finished phase that passivator writes, label, and the stage in which it is under way."""


def progress(record: TenantRecord, running_for: float, *, cannot: bool = False) -> Progress:
    """How far the tenant's start is.

    ``running_for``: seconds for which its observed state has been seen as it is. ``cannot``: a wake did not reach the
    registry.
    """
    observed = record.observed
    stage = stage_of(record)
    phases = {phase.name: phase.ms / 1000 for phase in observed.phases}
    elapsed = max(running_for - phases.get("queued", 0.0), 0.0) if stage in _RUNNING else 0.0
    return Progress(
        stage,
        observed.ahead if stage is Stage.QUEUED else None,
        elapsed,
        _steps(stage, phases, running_for),
        estimate(observed.past_starts, elapsed),
        cannot and stage is Stage.ASKED,
    )


def stage_of(record: TenantRecord) -> Stage:
    """What is going on with a tenant, by its record alone."""
    observed = record.observed
    meeting = record.meeting
    if meeting is Meeting.FORWARD:
        return Stage.READY
    if meeting is Meeting.STOPPED:
        return Stage.STOPPED
    if meeting is Meeting.FAILED:
        return Stage.FAILED
    if observed.state is Observed.STOPPING:
        return Stage.STOPPING
    if meeting is Meeting.WAKE or observed.state is not Observed.STARTING:
        return Stage.ASKED
    if observed.ahead is not None:
        return Stage.QUEUED
    return Stage.READYING if any(phase.name == "started" for phase in observed.phases) else Stage.STARTING


def _steps(stage: Stage, phases: dict[str, float], running_for: float) -> tuple[Step, ...]:
    steps = []
    past = 0.0
    passed = stage in _RUNNING or stage is Stage.QUEUED
    for name, label, under_way in _STEPS:
        if stage is under_way:
            steps.append(Step(name, label, StepState.NOW, max(running_for - past, 0.0)))
            passed = False
        elif passed:
            seconds = phases.get(name)
            steps.append(Step(name, label, StepState.DONE, seconds))
            past += seconds or 0.0
        else:
            steps.append(Step(name, label, StepState.TODO))
    return tuple(steps)


def estimate(past: Sequence[float], elapsed: float) -> Estimate:
    """When a start should be done that has run for ``elapsed`` seconds; ``past`` are earlier ones, in milliseconds.

    What is usual is their median. What is left is judged by those that took longer than this one has so far: a start
    that has outlived the quick ones is like the slow ones.
    """
    if not past:
        return Estimate(None, None, longer=False)
    usual = median(past) / 1000
    slower = [ms / 1000 for ms in past if ms / 1000 > elapsed]
    left = median(slower) - elapsed if slower else None
    return Estimate(usual, left, longer=elapsed > usual * 1.1 + 0.5)


@dataclass(frozen=True, slots=True)
class Again:
    """Whether and when a failed start is tried again: ``seconds`` from now; ``planned``: by itself."""

    seconds: int
    planned: bool

    @property
    def text(self) -> str:
        """That, in a sentence."""
        if not self.planned:
            return "It is not tried again by itself: its operator has to look after it."
        return f"It is tried again by itself in {about(self.seconds)}; this page then shows what came of it."


def again(reason: Reason | None, now_ms: int) -> Again:
    """When a tenant that failed for ``reason`` is tried again; ``now_ms``: epoch milliseconds."""
    if reason is None or reason.retry_at is None:
        return Again(_UNPLANNED_RETRY, planned=False)
    left = (reason.retry_at - now_ms) / 1000
    # Overdue: whoever should have tried may be away, and asking again and again does not help.
    return Again(_bounded(left if left > 0 else max(-left / 4, 1.0)), planned=True)


def _bounded(seconds: float) -> int:
    return max(1, min(math.ceil(seconds), LONGEST_RETRY))


def about(seconds: float) -> str:
    """A time as people say it."""
    if seconds < 1:
        return "less than a second"
    if seconds < 90:
        return f"about {counted(round(seconds), 'second')}"
    return f"about {counted(round(seconds / 60), 'minute')}"


def shown(seconds: float | None) -> str:
    """A step's time, exact to a tenth; empty when it is not known."""
    if seconds is None:
        return ""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes} min {rest:02d} s"


def counted(number: int, what: str) -> str:
    """``1 second``, ``2 seconds``."""
    return f"{number} {what}{'' if number == 1 else 's'}"
