"""What a run of ``bench forward`` was asked for, and how a scenario gets its proxies from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bench.cores import Cores
from bench.peers.peer import Peer, check
from bench.samples import Row, Sample
from bench.stage import Server, Stage
from tests.rig.run_folder import RunFolder


@dataclass(frozen=True)
class Plan:
    """The same for every scenario."""

    folder: RunFolder
    cores: Cores
    peers: tuple[Peer, ...]
    rounds: int
    seconds: int
    """Of each run of one proxy."""
    rate: float
    """Requests a second of the latency scenario."""
    slow_clients: int
    idle_connections: int

    def stage(self) -> Stage:
        """An empty stage."""
        return Stage(self.folder, self.cores)

    def proxies(self, stage: Stage, backend: Server, checked: Callable[[Server], None] = check) -> dict[str, Server]:
        """Every peer, started in front of ``backend`` and seen to answer."""
        proxies = {peer.name: peer.start(stage, backend.port) for peer in self.peers}
        for proxy in proxies.values():
            checked(proxy)
        return proxies


def rows(scenario: str, variant: str, unit: str, samples: dict[str, tuple[Sample, ...]]) -> list[Row]:
    """A row for each proxy by name."""
    return [Row(scenario, variant, name, unit, found) for name, found in samples.items()]
