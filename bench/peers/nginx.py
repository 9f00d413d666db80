"""nginx, one worker, as a streaming proxy: nothing is spooled to disk, and it keeps connections to the backend."""

from __future__ import annotations

from typing import Final

from bench.nginx import preamble
from bench.peers.peer import Peer
from bench.stage import Command, Server, Stage, first_line
from tests.rig.ports import free_port
from tests.rig.programs import resolve


def start(stage: Stage, upstream: int) -> Server:
    """Start it in front of ``upstream``."""
    folder, port = stage.subfolder("nginx-conf"), free_port()
    (folder / "nginx.conf").write_text(f"""{preamble(folder)}
  map $http_upgrade $upgrading {{ default upgrade; '' ''; }}
  upstream backend {{
    server 127.0.0.1:{upstream};
    keepalive 256;
    keepalive_requests 1000000000;
    keepalive_timeout 1h;
  }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{
      proxy_pass http://backend;
      proxy_http_version 1.1;
      proxy_set_header Host $http_host;
      proxy_set_header Connection $upgrading;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_set_header X-Forwarded-Proto $scheme;
      proxy_set_header X-Forwarded-Host $http_host;
      proxy_buffering off;
      proxy_request_buffering off;
      proxy_buffer_size 64k;
      proxy_buffers 4 64k;
      client_body_buffer_size 64k;
      proxy_read_timeout 1h;
    }}
  }}
}}
""")
    argv: Command = ["nginx", "-e", "stderr", "-p", folder, "-c", folder / "nginx.conf"]
    return stage.serve("nginx", port, argv, cores=stage.cores.proxy)


def version() -> str:
    """As it tells it."""
    return first_line([resolve("nginx"), "-v"]).removeprefix("nginx version: ")


PEER: Final = Peer("nginx", start, version, "apt-get install nginx-light")
