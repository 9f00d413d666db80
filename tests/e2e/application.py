"""The tenant of the end-to-end tests: a small application whose answers show what reached it, and which start it is.

Runs as a local process and in a container. Environment: PORT, HOST, DELAY (seconds before it listens), AFTER
(a file whose existence it waits for, so that a test decides when it is ready).
"""

import asyncio
import hashlib
import html
import os
import sys
import time
import uuid
from pathlib import Path

from aiohttp import WSMsgType, web

INSTANCE = uuid.uuid4().hex
BUSY = {"status": 204, "asked": 0}


async def _page(request: web.Request) -> web.Response:
    head = "<!doctype html><title>Application</title><link rel=icon href=data:,>"
    asked = html.escape(request.raw_path)
    text = f"{head}<h1>The application answers</h1><p>Asked for {asked}</p><p>{INSTANCE}</p>"
    return web.Response(text=text, content_type="text/html", headers={"X-Instance": INSTANCE})


async def _digest(request: web.Request) -> web.Response:
    body = await request.read()
    answer = {"length": len(body), "sha256": hashlib.sha256(body).hexdigest(), "instance": INSTANCE}
    return web.json_response(answer)


async def _slow(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    await response.write(b"begin ")
    await asyncio.sleep(float(request.query["seconds"]))
    await response.write(b"end")
    return response


async def _echo(request: web.Request) -> web.WebSocketResponse:
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    async for message in socket:
        if message.type is WSMsgType.TEXT:
            await socket.send_str(f"{INSTANCE} {message.data}")
    return socket


async def _busy(request: web.Request) -> web.Response:
    if "set" in request.query:
        BUSY.update(status=int(request.query["set"]))
        return web.Response()
    BUSY["asked"] += 1
    return web.Response(status=BUSY["status"], text="" if BUSY["status"] == 204 else "an import is under way")


async def _work(request: web.Request) -> web.Response:
    """Use the processor for a while, in a process of its own."""
    spin = f"import time\nend = time.time() + {float(request.query['seconds'])}\nwhile time.time() < end: pass"
    await asyncio.create_subprocess_exec(sys.executable, "-c", spin)
    return web.Response()


def main() -> None:
    """Serve until the process is ended."""
    time.sleep(float(os.environ.get("DELAY", "0")))
    while (gate := os.environ.get("AFTER")) and not Path(gate).exists():
        time.sleep(0.02)
    app = web.Application(client_max_size=64 << 20)
    app.add_routes(
        [
            web.get("/", _page),
            web.get("/orders/{number}", _page),
            web.post("/digest", _digest),
            web.get("/slow", _slow),
            web.get("/echo", _echo),
            web.get("/busy", _busy),
            web.get("/work", _work),
        ]
    )
    host, port = os.environ.get("HOST", "127.0.0.1"), int(os.environ["PORT"])
    web.run_app(app, host=host, port=port, print=None, shutdown_timeout=1.0)


if __name__ == "__main__":
    main()
