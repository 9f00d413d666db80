"""Go's httputil.ReverseProxy, the engine behind Traefik and Caddy, with a tuned pool: bench/peers/reverse_proxy.go."""

from __future__ import annotations

import functools
import subprocess
import tempfile
from pathlib import Path
from typing import Final

from bench.peers.peer import Peer
from bench.stage import Command, Server, Stage, first_line
from tests.rig.ports import free_port
from tests.rig.programs import resolve

_SOURCE: Final = Path(__file__).with_name("reverse_proxy.go")
_BUILDING: Final = 300.0


def start(stage: Stage, upstream: int) -> Server:
    """Start it in front of ``upstream``."""
    port = free_port()
    argv: Command = [Path(_built().name) / "proxy", f"127.0.0.1:{port}", f"127.0.0.1:{upstream}"]
    surroundings = {"GOMAXPROCS": str(len(stage.cores.proxy))}
    return stage.serve("go", port, argv, cores=stage.cores.proxy, environment=surroundings)


@functools.cache
def _built() -> tempfile.TemporaryDirectory[str]:
    """The folder with the program; it goes with this process."""
    folder = tempfile.TemporaryDirectory(prefix="gogeta-bench-")
    subprocess.run(
        [resolve("go"), "build", "-o", Path(folder.name) / "proxy", _SOURCE],
        check=True,
        timeout=_BUILDING,
        cwd=folder.name,
    )
    return folder


def version() -> str:
    """The compiler's."""
    return first_line([resolve("go"), "version"]).removeprefix("go version ").partition(" ")[0]


PEER: Final = Peer("go", start, version, "apt-get install golang-go")
