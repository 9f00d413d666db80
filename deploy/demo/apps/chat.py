"""The demo's application with a WebSocket: whatever one visitor says, all see. PORT and HOST say where it listens."""

from __future__ import annotations

import asyncio
import contextlib
import os

from aiohttp import WSMsgType, web
from look import page

_PAGE = page(
    "A chat",
    """<p id="state">connecting</p>
<ul id="said"></ul>
<form><input name="words" autocomplete="off" placeholder="Say something" autofocus><button>Say</button></form>
<p>While this page is open, its WebSocket keeps the application awake. Close it, and it falls asleep.</p>
<script>
const [state, said, form] = ["#state", "#said", "form"].map((selector) => document.querySelector(selector));
let socket;
function add(text) {
  const line = said.appendChild(document.createElement("li"));
  line.textContent = text;
  line.scrollIntoView({block: "nearest"});
}
function connect() {
  socket = new WebSocket(location.origin.replace(/^http/, "ws") + "/ws");
  socket.onopen = () => { state.textContent = "connected"; };
  socket.onmessage = (event) => add(event.data);
  socket.onclose = () => { state.textContent = "connecting again"; setTimeout(connect, 1000); };
}
form.onsubmit = (event) => {
  event.preventDefault();
  if (form.words.value && socket.readyState === WebSocket.OPEN) socket.send(form.words.value);
  form.reset();
};
connect();
</script>""",
)


class Chat:
    """Everybody who is connected, and what they say."""

    def __init__(self) -> None:
        """Nobody is there yet."""
        self._visitors: dict[web.WebSocketResponse, str] = {}
        self._count = 0

    async def index(self, _request: web.Request) -> web.Response:
        """The page."""
        return web.Response(text=_PAGE, content_type="text/html", headers={"Cache-Control": "no-store"})

    async def socket(self, request: web.Request) -> web.WebSocketResponse:
        """One visitor, from coming to leaving."""
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self._count += 1
        name = self._visitors[socket] = f"visitor {self._count}"
        await self._tell(f"{name} is here")
        try:
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    await self._tell(f"{name}: {message.data}")
        finally:
            del self._visitors[socket]
            await self._tell(f"{name} has left")
        return socket

    async def close(self, _app: web.Application) -> None:
        """Say goodbye to all."""
        await asyncio.gather(*(visitor.close() for visitor in tuple(self._visitors)))

    async def _tell(self, text: str) -> None:
        for visitor in tuple(self._visitors):
            # One that has just gone must not keep the words from the others.
            with contextlib.suppress(ConnectionError):
                await visitor.send_str(text)


def main() -> None:
    """Serve until the process is ended."""
    app, chat = web.Application(), Chat()
    app.on_shutdown.append(chat.close)
    app.add_routes([web.get("/", chat.index), web.get("/ws", chat.socket)])
    web.run_app(app, host=os.environ.get("HOST", "127.0.0.1"), port=int(os.environ["PORT"]), print=None)


if __name__ == "__main__":
    main()
