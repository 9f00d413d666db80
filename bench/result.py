"""All that a run of ``bench forward`` found out, for a reader, for bench/README.md and for programs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bench import report, targets
from bench.cores import Cores
from bench.loads import wrk
from bench.machine import machine, machine_line
from bench.peers.peer import Found
from bench.samples import Rows
from bench.targets import Target


@dataclass(frozen=True)
class Result:
    """See the module's docstring."""

    found: Found
    cores: Cores
    surroundings: str
    """What else the machine did."""
    rounds: int
    seconds: int
    rows: Rows
    targets: list[Target]

    def text(self) -> str:
        """The table, with what it was measured on above and the targets below."""
        return "\n".join([*self._about(), "", report.table(self.rows), "", *targets.lines(self.targets)])

    def markdown(self) -> str:
        """The same for bench/README.md."""
        about = "\n".join(f"{line}  " for line in self._about())
        return "\n".join([about, "", report.markdown(self.rows), "", targets.markdown(self.targets)])

    def plain(self) -> dict[str, Any]:
        """The same for programs, with every sample."""
        return {
            "bench": "forward",
            "machine": machine(),
            "cores": str(self.cores),
            "surroundings": self.surroundings,
            "versions": self.found.versions | {"wrk": _wrk()},
            "missing": self.found.missing,
            "rounds": self.rounds,
            "seconds": self.seconds,
            "rows": [row.plain() for row in self.rows],
            "targets": [target.plain() for target in self.targets],
        }

    def _about(self) -> list[str]:
        return [
            f"forward: medians of {self.rounds} interleaved rounds of {self.seconds} s",
            machine_line(),
            f"{self.cores}; one worker each; {self.surroundings}",
            "; ".join([*self.found.versions.values(), _wrk()]),
            *(f"MISSING: {name}; to measure it too: {how}" for name, how in self.found.missing.items()),
        ]


def _wrk() -> str:
    try:
        return wrk.version()
    except FileNotFoundError:
        return "no wrk"
