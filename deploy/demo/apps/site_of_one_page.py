"""A plain site of one page, on the standard library alone. PORT and HOST in the environment say where it listens.

The page names the process and when it started, so that a visitor sees that a woken application is a new one.
"""

from __future__ import annotations

import http.server
import os
import time

from look import page

_STARTED = time.strftime("%H:%M:%S")


class _Site(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    title = "A plain site"

    def do_GET(self) -> None:
        """Answer every path with the page."""
        text = (
            f"<p>It runs as process <b>{os.getpid()}</b> and was started at <b>{_STARTED}</b>.</p>"
            "<p>Leave it alone and it falls asleep; come back and it is started for you.</p>"
        )
        body = page(self.title, text).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(body)


def serve(title: str) -> None:
    """Serve the page under a title of its own, until the process is ended."""
    _Site.title = title
    address = os.environ.get("HOST", "127.0.0.1"), int(os.environ["PORT"])
    http.server.ThreadingHTTPServer(address, _Site).serve_forever()
