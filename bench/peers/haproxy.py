"""HAProxy, one thread."""

from __future__ import annotations

import resource
from typing import Final

from bench.peers.peer import Peer
from bench.stage import Command, Server, Stage, first_line
from tests.rig.ports import free_port
from tests.rig.programs import resolve

_RESERVED: Final = 64
"""Descriptors that HAProxy wants beside two for each connection. Where files are few it cannot hold 10,000 of them."""


def start(stage: Stage, upstream: int) -> Server:
    """Start it in front of ``upstream``."""
    folder, port = stage.subfolder("haproxy-conf"), free_port()
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    (folder / "haproxy.cfg").write_text(f"""
global
  nbthread 1
  maxconn {(files - _RESERVED) // 2}
  stats timeout 1h
defaults
  mode http
  timeout connect 5s
  timeout client 1h
  timeout server 1h
  timeout http-keep-alive 1h
  timeout tunnel 1h
  http-reuse always
  option forwardfor
listen front
  bind 127.0.0.1:{port} backlog 4096
  http-request set-header X-Forwarded-Proto http
  http-request set-header X-Forwarded-Host %[req.hdr(host)]
  server backend 127.0.0.1:{upstream} pool-max-conn -1
""")
    argv: Command = ["haproxy", "-db", "-f", folder / "haproxy.cfg"]
    return stage.serve("haproxy", port, argv, cores=stage.cores.proxy)


def version() -> str:
    """As it tells it."""
    return first_line([resolve("haproxy"), "-v"]).partition(" - ")[0]


PEER: Final = Peer("haproxy", start, version, "apt-get install haproxy")
