"""``python -m tests.simulation --runs 10000 --steps 50``: many lives, several processes, figures at the end.

``--seed N --trace`` shows one life, line by line: the time, who, what. ``--break NAME`` takes one guard out of the code
first (``mutants.py``), to see how many lives it takes until somebody notices.
"""

# ruff: noqa: T201 - it prints its figures

from __future__ import annotations

import argparse
import gc
import multiprocessing
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator

from tests.simulation.life import Outcome, live
from tests.simulation.mutants import MUTANTS

_CHUNK = 5


def _one(asked: tuple[int, int, str | None, float | None]) -> Outcome | None:
    seed, steps, broken, until = asked
    if until is not None and time.monotonic() > until:
        return None
    with MUTANTS[broken]() if broken else MUTANTS["nothing"]():
        return live(seed, steps)


def _prepare() -> None:
    # What is there before the first life is there after the last: the collector need not look at it again and again.
    gc.collect()
    gc.freeze()


def _lives(asked: argparse.Namespace) -> Iterator[Outcome]:
    until = None if asked.seconds is None else time.monotonic() + asked.seconds
    seeds = range(asked.first, asked.first + asked.runs)
    each = [(seed, asked.steps, asked.broken, until) for seed in seeds]
    if asked.jobs == 1:
        _prepare()
        yield from (outcome for outcome in map(_one, each) if outcome is not None)
        return
    with multiprocessing.get_context("fork").Pool(asked.jobs, _prepare) as pool:
        yield from (outcome for outcome in pool.imap_unordered(_one, each, _CHUNK) if outcome is not None)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--runs", type=int, default=1000, metavar="N", help="how many lives (default: 1000)")
    parser.add_argument("--steps", type=int, default=50, metavar="N", help="steps of each (default: 50)")
    parser.add_argument("--first", type=int, default=0, metavar="SEED", help="the first seed (default: 0)")
    parser.add_argument("--seed", type=int, metavar="SEED", help="one life alone")
    parser.add_argument("--trace", action="store_true", help="with --seed: line by line")
    parser.add_argument(
        "--jobs", type=int, default=os.cpu_count() or 1, metavar="N", help="processes (default: all CPUs)"
    )
    parser.add_argument(
        "--break", dest="broken", choices=sorted(MUTANTS), metavar="NAME", help=", ".join(sorted(MUTANTS))
    )
    parser.add_argument("--seconds", type=float, metavar="S", help="begin no life after so many seconds")
    parser.add_argument("--until-found", action="store_true", help="end with the first violation")
    return parser.parse_args()


def _show_one(seed: int, steps: int, broken: str | None, *, tracing: bool) -> int:
    with MUTANTS[broken or "nothing"]():
        outcome = live(seed, steps, tracing=tracing)
    print("\n".join([*outcome.trace, *(f"seed {seed}: {violation}" for violation in outcome.violations)]))
    print(f"seed {seed}: {outcome.steps} steps, {outcome.seconds:.1f} s, {len(outcome.violations)} violations")
    return 1 if outcome.violations else 0


def _figures(counts: Counter[str], group: str) -> str:
    found = {key.removeprefix(group): count for key, count in counts.items() if key.startswith(group)}
    return ", ".join(f"{count} {key}" for key, count in sorted(found.items(), key=lambda item: -item[1]))


def main() -> int:
    """Run what was asked for; 1 when an invariant was violated."""
    asked = _arguments()
    if asked.seed is not None:
        return _show_one(asked.seed, asked.steps, asked.broken, tracing=asked.trace)
    began = time.monotonic()
    counts: Counter[str] = Counter()
    runs = steps = calls = violated = 0
    seconds = 0.0
    for outcome in _lives(asked):
        runs += 1
        steps += outcome.steps
        calls += outcome.calls
        seconds += outcome.seconds
        counts.update(outcome.counts)
        if outcome.violations:
            violated += 1
            print(f"seed {outcome.seed}: {outcome.violations[0]}", flush=True)
            if asked.until_found:
                print(f"found after {runs} lives")
                return 1
    print(f"{runs} runs, {steps} steps, {seconds / 3600:.1f} hours of virtual time, {calls} calls")
    print(
        f"{counts['requests']} requests, {counts['wakes']} wakes, {counts['starts']} starts, "
        f"{counts['sleeps decided']} sleeps decided, {counts['stops']} stops, "
        f"{counts['excused stops in use']} of them excused in use"
    )
    print(f"answers: {_figures(counts, 'answer ')}")
    print(f"faults: {_figures(counts, 'fault ')}")
    print(f"{violated} runs with violations; {time.monotonic() - began:.0f} s")
    return 1 if violated else 0


if __name__ == "__main__":
    if os.environ.get("PYTHONHASHSEED") != "0":
        # The order of sets of names is part of a seed's life.
        os.execve(  # noqa: S606 - itself
            sys.executable,
            [sys.executable, "-m", "tests.simulation", *sys.argv[1:]],
            {**os.environ, "PYTHONHASHSEED": "0"},
        )
    sys.exit(main())
