"""What forwarding costs: gogeta and the proxies found on this machine, in turns under the same load.

The main figure is CPU time per request of a proxy's whole process tree: a machine that is busy otherwise disturbs it
far less than a rate. bench/README.md says what each row means.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from pathlib import Path
from typing import Final, NoReturn, Protocol

from bench import plot
from bench.cores import choose_cores
from bench.loads import wrk
from bench.peers import PEERS, nginx
from bench.peers.peer import Found, find
from bench.plan import Plan
from bench.result import Result
from bench.samples import Row, Rows
from bench.scenarios import bodies, idle, latency, small, websocket, workers
from bench.stage import raise_descriptor_limit
from bench.surroundings import Surroundings
from bench.targets import Target
from tests.rig.run_folder import RunFolder, clear_dead_runs


class Scenario(Protocol):
    """What a module in bench/scenarios offers."""

    @property
    def NAME(self) -> str:  # noqa: N802 - the module's constant
        """How ``--only`` names it."""
        ...

    def measure(self, plan: Plan) -> list[Row]:
        """Run it, for every peer of the plan."""
        ...

    def targets(self, rows: Rows) -> list[Target]:
        """What its rows have to show."""
        ...


HELP: Final = "what forwarding costs, beside nginx, HAProxy, Go, Caddy and aiohttp: CPU, latency, memory, throughput"
_ALL: Final[tuple[Scenario, ...]] = (small, latency, bodies, websocket, idle, workers)
SCENARIOS: Final = {scenario.NAME: scenario for scenario in _ALL}
_WITH_WRK: Final = frozenset({small.NAME, workers.NAME})
_SPARE_FILES: Final = 1000
"""Descriptors that idle connections leave for everything else."""
_UNUSABLE: Final = 2
_INTERRUPTED: Final = 130


def add_options(parser: argparse.ArgumentParser) -> None:
    """The subcommand's options."""
    peers = [peer.name for peer in PEERS]

    def choice(option: str, names: list[str], metavar: str, what: str) -> None:
        told = f"{what} to measure (default: {', '.join(names)})"
        parser.add_argument(option, nargs="+", choices=names, default=names, metavar=metavar, help=told)

    def number(option: str, default: int, what: str) -> None:
        parser.add_argument(option, type=_positive, default=default, metavar="N", help=f"{what} (default: {default})")

    choice("--only", list(SCENARIOS), "SCENARIO", "scenarios")
    choice("--peers", peers, "PEER", "proxies, as far as they are here,")
    number("--rounds", 3, "rounds, of which medians are shown")
    number("--seconds", 5, "seconds that each proxy is driven in a round; slow readers and idleness take twice that")
    number("--rate", 2000, "requests a second of the latency scenario")
    number("--slow-clients", 200, "clients that read slowly")
    number("--idle-connections", 10_000, "idle connections")
    parser.add_argument(
        "--json",
        nargs="?",
        const="-",
        metavar="FILE",
        help="every sample as JSON: into FILE beside the table, or without FILE instead of it",
    )
    parser.add_argument("--plot", type=Path, metavar="FILE.png", help="draw the figures; make bench-forward can")
    parser.add_argument("--markdown", action="store_true", help="print the table as bench/README.md has it")


def run(options: argparse.Namespace) -> int:
    """Measure and print. Whatever is started is ended, also when this is interrupted."""
    found = find(tuple(peer for peer in PEERS if peer.name in options.peers))
    try:
        result = _measured(options, found)
    except UnusableError as error:
        print(f"bench forward: {error}", file=sys.stderr)
        return _UNUSABLE
    except KeyboardInterrupt:
        print("\nbench forward: interrupted; nothing is left running", file=sys.stderr)
        return _INTERRUPTED
    if options.json:
        text = json.dumps(result.plain())
        if options.json == "-":
            print(text)
        else:
            Path(options.json).write_text(text + "\n", encoding="utf-8")
    if options.json != "-":
        print(result.markdown() if options.markdown else result.text())
    if options.plot:
        plot.draw(result.plain(), options.plot)
    return 0


class UnusableError(Exception):
    """What was asked for cannot be measured here; the message says what to do."""


def _measured(options: argparse.Namespace, found: Found) -> Result:
    _need_parts(options)
    signal.signal(signal.SIGTERM, _terminated)
    files = raise_descriptor_limit()
    cores = choose_cores()
    clear_dead_runs()
    folder = RunFolder()
    rows, surroundings = Rows(), Surroundings()
    try:
        plan = Plan(
            folder=folder,
            cores=cores,
            peers=found.peers,
            rounds=options.rounds,
            seconds=options.seconds,
            rate=options.rate,
            slow_clients=options.slow_clients,
            idle_connections=min(options.idle_connections, files - _SPARE_FILES),
        )
        # This process too: it must not be where the proxy is.
        os.sched_setaffinity(0, cores.others)
        for name in options.only:
            rows += SCENARIOS[name].measure(plan)
    finally:
        os.sched_setaffinity(0, cores.proxy | cores.others)
        folder.clear()
    targets = [target for name in options.only for target in SCENARIOS[name].targets(rows)]
    return Result(found, cores, str(surroundings), options.rounds, options.seconds, rows, targets)


def _need_parts(options: argparse.Namespace) -> None:
    if options.plot and not plot.available():
        raise UnusableError("--plot needs matplotlib: make bench-forward installs it (requirements/bench.txt)")
    for name in _WITH_WRK.intersection(options.only):
        try:
            wrk.version()
        except FileNotFoundError:
            raise UnusableError(f"{name}: there is no wrk here to make the load: {wrk.INSTALL}") from None
    try:
        nginx.PEER.version()
    except FileNotFoundError:
        raise UnusableError(f"there is no nginx here, which is the backend too: {nginx.PEER.install}") from None


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected a number from 1 on, not {text!r}")
    return number


def _terminated(*_: object) -> NoReturn:
    raise KeyboardInterrupt
