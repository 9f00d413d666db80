"""The applications behind the proxies: cheap, so that the proxy is what is measured."""

from __future__ import annotations

import os
from typing import Final

from bench.nginx import preamble
from bench.stage import Command, Server, Stage
from tests.rig.ports import free_port

SMALL_BODY: Final = "<!doctype html><title>small</title>" + "<p>a paragraph of an ordinary page</p>" * 6
LARGE: Final = 10_000_000
"""Bytes in a large body."""
LARGE_TARGET: Final = "/large"
SEEN_TARGET: Final = "/seen"
"""Answers with the forwarding fields that arrived, one a line: what a proxy is checked by."""


def nginx_backend(stage: Stage) -> Server:
    """A small page at ``/``, one that differs each time below ``/varied``, and 10 MB at ``/large``."""
    folder, port = stage.subfolder("backend"), free_port()
    (folder / "large").write_bytes(os.urandom(LARGE))
    seen = "$http_x_forwarded_for|$http_x_forwarded_proto|$http_x_forwarded_host|$host"
    (folder / "nginx.conf").write_text(f"""{preamble(folder)}
  default_type text/html;
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    root {folder};
    add_header Cache-Control "no-cache";
    add_header Vary "Accept-Encoding";
    location / {{ return 200 "{SMALL_BODY}"; }}
    location /varied {{ add_header X-Id $request_id; return 200 "{SMALL_BODY}"; }}
    location = {SEEN_TARGET} {{ return 200 "{seen}"; }}
    location = {LARGE_TARGET} {{ }}
  }}
}}
""")
    argv: Command = ["nginx", "-e", "stderr", "-p", folder, "-c", folder / "nginx.conf"]
    return stage.serve("backend", port, argv, cores=stage.cores.others)


def sink_backend(stage: Stage) -> Server:
    """Reads bodies of any size and answers each with its length."""
    return stage.python_server("sink", "bench.backends.sink", cores=stage.cores.others)


def echo_backend(stage: Stage) -> Server:
    """Echoes WebSocket messages."""
    return stage.python_server("echo", "bench.backends.echo", cores=stage.cores.others)
