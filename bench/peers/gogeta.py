"""gogeta as its users start it: limits, timeouts, metrics and access times are on, the access log is off.

One default is changed: the load's 10,000 idle connections come from a few addresses, of which each may have 1,000.
"""

from __future__ import annotations

import json
from importlib.metadata import version as package_version
from typing import Final

from bench.peers.peer import Peer
from bench.stage import HOST, Server, Stage
from tests.rig.ports import free_port

_APPLYING: Final = 30.0
_FROM_ONE_ADDRESS: Final = 20_000


def start(stage: Stage, upstream: int) -> Server:
    """Start it in front of ``upstream``, which is a tenant that is only routed to."""
    return start_workers(stage, upstream, 1, stage.cores.proxy)


def start_workers(stage: Stage, upstream: int, workers: int, cores: frozenset[int]) -> Server:
    """The same with any number of workers, on any cores."""
    folder, port, admin = stage.subfolder("gogeta-registry"), free_port(), free_port()
    registry = ("--registry", f"embedded:{folder}/gogeta.db", "--log-level", "warning")
    tenant = {"name": "bench", "hosts": [HOST], "upstreams": [f"http://127.0.0.1:{upstream}"]}
    # JSON is YAML.
    (folder / "tenants.yaml").write_text(json.dumps({"tenants": [tenant]}))
    stage.run(["gogeta", "apply", "-f", folder / "tenants.yaml", *registry], timeout=_APPLYING)
    listening = ("--listen", f"127.0.0.1:{port}", "--admin", f"127.0.0.1:{admin}")
    limits = ("--max-connections-per-address", str(_FROM_ONE_ADDRESS))
    argv = ["gogeta", "serve", *listening, *limits, "--workers", str(workers), *registry]
    return stage.serve("gogeta", port, argv, cores=cores)


def version() -> str:
    """Of gogeta and what its data plane stands on."""
    return ", ".join(f"{name} {package_version(name)}" for name in ("gogeta", "uvloop", "httptools"))


PEER: Final = Peer("gogeta", start, version)
