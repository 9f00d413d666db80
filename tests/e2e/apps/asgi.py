"""A tenant on ASGI, without a framework; uvicorn serves it. Its paths are those of node.mjs where both have them.

Environment: CONTENT (a file).
"""

import asyncio
import hashlib
import json
import os
import time
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

PIECE = 1 << 16
listeners: set[asyncio.Queue[str]] = set()
ends: list[float] = []
"""When an answer that hung was closed by the other side, in ms since the epoch."""


async def application(scope: Message, receive: Receive, send: Send) -> None:
    """The ASGI entry."""
    match scope["type"], scope.get("path"):
        case "lifespan", _:
            await _lifespan(receive, send)
        case "websocket", _:
            await _socket(scope, receive, send)
        case "http", "/content":
            await _content(scope, send)
        case "http", "/events":
            await _events(receive, send)
        case "http", "/say":
            text = parse_qs(scope["query_string"].decode())["text"][0]
            for listener in listeners:
                listener.put_nowait(text)
            await _answer(send, str(len(listeners)).encode())
        case "http", "/hang":
            await _hang(receive, send)
        case "http", "/ends":
            await _answer(send, json.dumps(ends).encode())
        case _:
            await _seen(scope, receive, send)


async def _lifespan(receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.complete"})


async def _answer(send: Send, body: bytes) -> None:
    length = str(len(body)).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", length)]})
    await send({"type": "http.response.body", "body": body})


async def _seen(scope: Message, receive: Receive, send: Send) -> None:
    digest, length, more = hashlib.sha256(), 0, True
    while more:
        message = await receive()
        piece = message.get("body", b"")
        digest.update(piece)
        length += len(piece)
        more = message.get("more_body", False)
    query = b"?" + scope["query_string"] if scope["query_string"] else b""
    told = {
        "method": scope["method"],
        "target": (scope["raw_path"] + query).decode("latin-1"),
        "headers": [[name.decode(), value.decode()] for name, value in scope["headers"]],
        "length": length,
        "sha256": digest.hexdigest(),
        "peer": scope["client"][1],
    }
    await _answer(send, json.dumps(told).encode())


async def _content(scope: Message, send: Send) -> None:
    content = Path(os.environ["CONTENT"]).read_bytes()
    chunked = scope["query_string"] == b"chunked"
    fields = [] if chunked else [(b"content-length", str(len(content)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": fields})
    for start in range(0, len(content), PIECE):
        more = start + PIECE < len(content)
        await send({"type": "http.response.body", "body": content[start : start + PIECE], "more_body": more})


async def _events(receive: Receive, send: Send) -> None:
    queue: asyncio.Queue[str] = asyncio.Queue()
    listeners.add(queue)
    gone = asyncio.create_task(_disconnected(receive))
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
    text = "first"
    try:
        while not gone.done():
            await send({"type": "http.response.body", "body": f"data: {text}\n\n".encode(), "more_body": True})
            saying = asyncio.create_task(queue.get())
            await asyncio.wait((saying, gone), return_when=asyncio.FIRST_COMPLETED)
            if not saying.done():
                saying.cancel()
                return
            text = saying.result()
    finally:
        gone.cancel()
        listeners.discard(queue)


async def _hang(receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"begun", "more_body": True})
    await _disconnected(receive)
    ends.append(time.time() * 1000)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _socket(scope: Message, receive: Receive, send: Send) -> None:
    await receive()
    offered = scope["subprotocols"]
    await send({"type": "websocket.accept", "subprotocol": offered[-1] if offered else None})
    while (message := await receive())["type"] == "websocket.receive":
        if (text := message.get("text")) is None:
            await send({"type": "websocket.send", "bytes": message["bytes"]})
        elif text.startswith("close "):
            _, code, reason = text.split(" ", 2)
            await send({"type": "websocket.close", "code": int(code), "reason": reason})
            return
        else:
            await send({"type": "websocket.send", "text": text})
