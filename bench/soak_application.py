"""The applications behind the soak: a good one, and one that does everything an application must not.

Both run in one process: GOOD and BAD say on which ports. The good one is a real server (aiohttp), whose every answer
follows from the request alone, so that a wrong one is known as such. The bad one writes bytes.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import socket
import struct
from typing import Final

import uvloop
from aiohttp import WSMsgType, web

PIECE: Final = 40_000
HALF: Final = 50_000
"""Bytes of a broken answer that arrive, of twice as many promised."""


def text(name: str, size: int) -> bytes:
    """What the good application answers to the request with this name."""
    line = f"{name}\n".encode()
    return (line * (size // len(line) + 1))[:size]


def digest(name: str, body: bytes) -> bytes:
    """What it answers to an upload."""
    return f"{name} {len(body)} {hashlib.sha256(body).hexdigest()}".encode()


# ------------------------------------------------------------------------------------------------------------- good


async def _text(request: web.Request) -> web.StreamResponse:
    name, query = request.match_info["name"], request.query
    tag = f'"{name}"'
    if request.headers.get("If-None-Match") == tag:
        return web.Response(status=304, headers={"ETag": tag})
    await asyncio.sleep(float(query.get("pause", "0")))
    body = text(name, int(query.get("size", "100")))
    if "chunked" not in query:
        return web.Response(body=body, headers={"ETag": tag})
    response = web.StreamResponse()
    response.enable_chunked_encoding()
    await response.prepare(request)
    start, size = 0, 1
    while start < len(body):
        await response.write(body[start : start + size])
        start, size = start + size, min(size * 3 + 1, PIECE)
    await response.write_eof()
    return response


async def _nothing(request: web.Request) -> web.Response:
    return web.Response(status=204, headers={"X-Name": request.match_info["name"]})


async def _digest(request: web.Request) -> web.Response:
    seen, length = hashlib.sha256(), 0
    async for piece in request.content.iter_any():
        seen.update(piece)
        length += len(piece)
    return web.Response(text=f"{request.match_info['name']} {length} {seen.hexdigest()}")


async def _early(request: web.Request) -> web.Response:
    answer = web.Response(status=413, text=request.match_info["name"])
    answer.force_close()
    return answer


async def _events(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    number = 0
    # Until the visitor has gone: writing fails then.
    while True:
        await response.write(f"data: {request.match_info['name']} {number}\n\n".encode())
        number += 1
        await asyncio.sleep(0.02)


async def _echo(request: web.Request) -> web.WebSocketResponse:
    ws = web.WebSocketResponse(max_msg_size=0)
    await ws.prepare(request)
    async for message in ws:
        if message.type is WSMsgType.TEXT:
            await ws.send_str(message.data)
        elif message.type is WSMsgType.BINARY:
            await ws.send_bytes(message.data)
    return ws


async def _serve_good(port: int) -> None:
    app = web.Application()
    app.add_routes(
        [
            web.get("/text/{name}", _text),
            web.get("/nothing/{name}", _nothing),
            web.post("/digest/{name}", _digest),
            web.post("/early/{name}", _early),
            web.get("/events/{name}", _events),
            web.get("/echo", _echo),
        ]
    )
    # It never closes a kept connection first: what is lost is then never its doing.
    runner = web.AppRunner(app, access_log=None, keepalive_timeout=3600)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, backlog=1024).start()


# -------------------------------------------------------------------------------------------------------------- bad

_OK: Final = b"HTTP/1.1 200 OK\r\n"
_BEGUN: Final = {
    "length": _OK + b"Content-Length: 100000\r\n\r\n" + b"x" * HALF,
    "chunked": _OK + b"Transfer-Encoding: chunked\r\n\r\n" + b"%x\r\n" % HALF + b"x" * HALF + b"\r\n",
    "head": b"",
}
_INVALID: Final = {
    "garbage": b"\x00\x01garbage\r\n\r\n",
    "two-lengths": _OK + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "folded": _OK + b"X-A: 1\r\n 2\r\nContent-Length: 0\r\n\r\n",
    "nul": _OK + b"X-A: \x00\r\nContent-Length: 0\r\n\r\n",
}


async def _bad(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    # The visitor may be gone at any time, and the connection with him.
    with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
        what = ""
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            if what == "poison":
                # It was kept, it seemed; the next request on it gets nothing.
                break
            _, what, name, *_ = head.split(b" ")[1].decode().split("/")
            if what == "silence":
                await reader.read()
                break
            if not await _misbehave(what, name, writer):
                break
    writer.close()


async def _misbehave(what: str, name: str, writer: asyncio.StreamWriter) -> bool:
    """Answer as the path says; whether the connection lives on."""
    whole = _OK + b"Content-Length: %d\r\n\r\n%b" % (len(name), name.encode())
    manner, _, part = what.partition("-")
    match manner:
        case "close" | "reset":
            writer.write(_BEGUN[part])
            await writer.drain()
            if part != "head":
                # Else the reset overtakes what was written.
                await asyncio.sleep(0.02)
            if manner == "reset":
                connection: socket.socket = writer.get_extra_info("socket")
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                writer.transport.abort()
            return False
        case "invalid":
            writer.write(_INVALID[part])
        case "badchunk":
            writer.write(_BEGUN["chunked"] + b"zz\r\n")
        case "surplus":
            writer.write(whole + b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison")
        case "dribble":
            for byte in whole:
                writer.write(bytes([byte]))
                await asyncio.sleep(0.001)
        case "last":
            # Kept, it seems, and gone about when the next request comes.
            writer.write(whole)
            await writer.drain()
            await asyncio.sleep(0.001)
            return False
        case _:
            writer.write(whole)
    await writer.drain()
    return manner in ("fine", "poison", "dribble", "surplus")


async def _main() -> None:
    await asyncio.start_server(_bad, "127.0.0.1", int(os.environ["BAD"]), backlog=1024)
    await _serve_good(int(os.environ["GOOD"]))
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(_main())
