"""Caddy, on one core, without its administration, its certificates and its log."""

from __future__ import annotations

from typing import Final

from bench.peers.peer import Peer
from bench.stage import Command, Server, Stage, first_line
from tests.rig.ports import free_port
from tests.rig.programs import resolve


def start(stage: Stage, upstream: int) -> Server:
    """Start it in front of ``upstream``."""
    folder, port = stage.subfolder("caddy-conf"), free_port()
    (folder / "Caddyfile").write_text(f"""
{{
  admin off
  auto_https off
  log {{
    level ERROR
  }}
}}
http://:{port} {{
  bind 127.0.0.1
  reverse_proxy 127.0.0.1:{upstream} {{
    transport http {{
      keepalive 1h
      keepalive_idle_conns 1024
      keepalive_idle_conns_per_host 1024
      compression off
    }}
  }}
}}
""")
    argv: Command = ["caddy", "run", "--adapter", "caddyfile", "--config", folder / "Caddyfile"]
    # As many threads as it may use cores, as newer versions find out by themselves.
    surroundings = {"GOMAXPROCS": str(len(stage.cores.proxy))}
    homes = {"HOME": str(folder), "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    return stage.serve("caddy", port, argv, cores=stage.cores.proxy, environment=surroundings | homes)


def version() -> str:
    """As it tells it."""
    return "caddy " + first_line([resolve("caddy"), "version"]).split()[0]


PEER: Final = Peer("caddy", start, version, "apt-get install caddy")
