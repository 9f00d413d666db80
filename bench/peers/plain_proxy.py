"""A proxy of aiohttp's server and client: ``python -m bench.peers.plain_proxy PORT UPSTREAM``.

It forwards, sets the forwarding fields and streams; it has no routes, limits, timeouts or counters.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Final

import aiohttp
import uvloop
from aiohttp import web
from multidict import CIMultiDict

_HOP_BY_HOP: Final = ("Connection", "Keep-Alive", "Proxy-Connection", "TE", "Trailer", "Transfer-Encoding", "Upgrade")
_WEBSOCKET_OWN: Final = (
    "Host",
    "Sec-WebSocket-Key",
    "Sec-WebSocket-Version",
    "Sec-WebSocket-Extensions",
    "Sec-WebSocket-Protocol",
)
_BLOCK: Final = 64 * 1024


class PlainProxy:
    """Forwards every request to one upstream."""

    def __init__(self, upstream: str, client: aiohttp.ClientSession) -> None:
        self._upstream = upstream
        self._client = client

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        """Forward one request."""
        headers = self._headers(request)
        if request.headers.get("Upgrade", "").lower() == "websocket":
            return await self._websocket(request, headers)
        async with self._client.request(
            request.method,
            f"http://{self._upstream}{request.raw_path}",
            headers=headers,
            data=request.content if request.can_read_body else None,
            allow_redirects=False,
        ) as answer:
            response = web.StreamResponse(status=answer.status, reason=answer.reason)
            for name, value in answer.headers.items():
                if name not in _HOP_BY_HOP:
                    response.headers.add(name, value)
            await response.prepare(request)
            async for block in answer.content.iter_any():
                await response.write(block)
            await response.write_eof()
            return response

    def _headers(self, request: web.BaseRequest) -> CIMultiDict[str]:
        headers = CIMultiDict(request.headers)
        for name in _HOP_BY_HOP:
            headers.popall(name, None)
        headers["X-Forwarded-For"] = request.remote or ""
        headers["X-Forwarded-Proto"] = request.scheme
        headers["X-Forwarded-Host"] = request.host
        return headers

    async def _websocket(self, request: web.BaseRequest, headers: CIMultiDict[str]) -> web.WebSocketResponse:
        for name in _WEBSOCKET_OWN:
            headers.popall(name, None)
        visitor = web.WebSocketResponse(compress=False)
        url = f"ws://{self._upstream}{request.raw_path}"
        async with self._client.ws_connect(url, headers=headers) as backend:
            await visitor.prepare(request)
            await asyncio.gather(_pump(visitor, backend), _pump(backend, visitor))
        return visitor


async def _pump(
    source: web.WebSocketResponse | aiohttp.ClientWebSocketResponse,
    sink: web.WebSocketResponse | aiohttp.ClientWebSocketResponse,
) -> None:
    async for message in source:
        if message.type is aiohttp.WSMsgType.BINARY:
            await sink.send_bytes(message.data)
        elif message.type is aiohttp.WSMsgType.TEXT:
            await sink.send_str(message.data)
    await sink.close()


async def _serve(port: int, upstream: str) -> None:
    timeout = aiohttp.ClientTimeout(total=None)
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=3600)
    async with aiohttp.ClientSession(
        connector=connector,
        timeout=timeout,
        auto_decompress=False,
        skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
        cookie_jar=aiohttp.DummyCookieJar(),
        read_bufsize=_BLOCK,
    ) as client:
        runner = web.ServerRunner(web.Server(PlainProxy(upstream, client), access_log=None, keepalive_timeout=3600))
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port, backlog=4096).start()
        await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.install()
    asyncio.run(_serve(int(sys.argv[1]), f"127.0.0.1:{sys.argv[2]}"))
