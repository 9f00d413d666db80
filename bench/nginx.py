"""What every nginx of a bench has in its configuration, be it backend or peer."""

from __future__ import annotations

import os
import resource
from pathlib import Path


def preamble(folder: Path) -> str:
    """The top of a configuration, up to and into its ``http`` block: one worker, no log, connections that last."""
    # The worker has to read the run folder, which is ours alone.
    user = "user root;" if os.geteuid() == 0 else ""
    paths = "\n".join(
        f"  {part}_temp_path {folder}/{part};" for part in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    return f"""{user}
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr error;
events {{ worker_connections {resource.getrlimit(resource.RLIMIT_NOFILE)[0]}; }}
http {{
{paths}
  access_log off;
  sendfile on;
  tcp_nodelay on;
  keepalive_timeout 1h;
  keepalive_requests 1000000000;
  client_max_body_size 0;"""
