"""``python -m tests.conformance.fuzz --minutes 10``: inputs until the time is over, or something is found.

A finding is made as small as it stays one, printed with the seed that makes it again, and ends the run with status 1.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from dataclasses import replace
from typing import Self

from tests.conformance import mutation, trial
from tests.conformance.mutation import Trial
from tests.conformance.trial import Finding
from tests.conformance.world import World

_REPORT_SECONDS = 30.0


class Fuzz:
    """A proxy that has seen much, and one that is new each time. Use it as a context manager."""

    def __init__(self) -> None:
        self.warm = World()
        self.cold = World()
        self.trials = 0
        self.reads = 0
        self.forwarded = 0

    def __str__(self) -> str:
        """How much it was."""
        return f"{self.trials} inputs, {self.reads} reads, {self.forwarded} requests forwarded"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        for world in (self.warm, self.cold):
            world.__exit__(*error)  # type: ignore[arg-type] # as they come

    def check(self, given: Trial, *, one_by_one: bool) -> None:
        """Play and judge one input; ``one_by_one``: how the new proxy is fed. Raises Finding."""
        self.trials += 1
        self.reads += len(given.steps)
        self.cold.renew()
        warm = self.warm.run(trial.play(self.warm, given))
        trial.judge(given, warm)
        self.forwarded += sum(map(len, warm.read))
        cold = self.cold.run(trial.play(self.cold, given, one_by_one=one_by_one))
        trial.judge(given, cold)
        trial.same(warm, cold, exactly=not one_by_one)


def once(given: Trial, *, one_by_one: bool) -> str | None:
    """What a new pair of proxies finds in one input that is played to them twice; None when nothing."""
    fuzz = Fuzz()
    try:
        for _ in range(2):
            fuzz.check(given, one_by_one=one_by_one)
    except Finding as finding:
        return str(finding)
    else:
        return None
    finally:
        fuzz.warm.abandon()
        fuzz.cold.abandon()


def smaller(given: Trial, *, one_by_one: bool) -> Trial:
    """The input with everything left out that the finding does not need."""
    going = True
    while going:
        going = False
        for candidate in _candidates(given):
            if candidate.steps and once(candidate, one_by_one=one_by_one) is not None:
                given, going = candidate, True
                break
    return given


def _candidates(given: Trial) -> list[Trial]:
    found = [replace(given, steps=given.steps[:at] + given.steps[at + 1 :]) for at in range(len(given.steps))]
    for at, step in enumerate(given.steps):
        for data in _shorter(step.data):
            steps = [*given.steps[:at], replace(step, data=data), *given.steps[at + 1 :]]
            found.append(replace(given, steps=steps))
    for at, reply in enumerate(given.replies):
        for data in _shorter(reply.data):
            replies = [*given.replies[:at], replace(reply, data=data), *given.replies[at + 1 :]]
            found.append(replace(given, replies=replies))
    return found


def _shorter(data: bytes) -> list[bytes]:
    """Without one of its lines."""
    lines = data.split(b"\r\n")
    joined = [b"\r\n".join(lines[:line] + lines[line + 1 :]) for line in range(len(lines))]
    return [less for less in joined if less]


def show(given: Trial) -> str:
    """The input, to be read and to be pasted into a test."""
    steps = [
        f"  {given.peers[step.connection]} {'' if step.settles else '(at once) '}{step.data!r}" for step in given.steps
    ]
    replies = [f"  reply {reply.data!r} {reply.ends}" for reply in given.replies]
    return "\n".join([*steps, *replies, f"  visitors end: {given.ends}"])


def say(text: str) -> None:
    """To whoever waits for it."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main() -> int:
    """Fuzz for some minutes."""
    parser = argparse.ArgumentParser(prog="python -m tests.conformance.fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=None, help="the first seed; a random one if it is not given")
    parser.add_argument("--once", action="store_true", help="only this seed")
    options = parser.parse_args()
    seed = random.randrange(1 << 40) if options.seed is None else options.seed
    begun = told = time.monotonic()
    say(f"first seed {seed}")
    fuzz = Fuzz()
    while time.monotonic() < begun + 60 * options.minutes:
        given = mutation.trial(random.Random(seed))
        one_by_one = seed % 4 == 0
        try:
            fuzz.check(given, one_by_one=one_by_one)
        except Finding as finding:
            say(f"seed {seed}: {finding}\n{show(given)}")
            alone = once(given, one_by_one=one_by_one)
            if alone is None:
                say("not found again by a proxy that has not seen the inputs before it")
            else:
                given = smaller(given, one_by_one=one_by_one)
                say(f"smaller: {once(given, one_by_one=one_by_one)}\n{show(given)}")
            return 1
        except BaseException:
            say(f"seed {seed}\n{show(given)}")
            raise
        seed += 1
        if options.once:
            break
        if time.monotonic() > told + _REPORT_SECONDS:
            told = time.monotonic()
            say(f"{told - begun:.0f} s: {fuzz}")
    with fuzz:
        say(f"nothing found in {fuzz}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
