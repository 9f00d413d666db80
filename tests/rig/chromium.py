"""Headless Chromium: for what only a browser shows, such as a page that reloads itself until its application answers.

A page is driven by the DevTools protocol, which needs no further program. Each page has a browser and a fresh profile
of its own. `*.localhost` names lead to loopback in Chromium without any name server.
"""

import asyncio
import base64
import contextlib
import itertools
import json
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp

from tests.rig.missing import missing
from tests.rig.programs import Program, resolve
from tests.rig.run_folder import RunFolder

_OPTIONS = (
    "--headless",
    "--no-sandbox",  # the tests run as root in machines of their own, and visit only pages of their own
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-default-apps",
    "--disable-extensions",
    "--no-proxy-server",
    "--window-size=1200,900",
)


class BrowserError(RuntimeError):
    """The browser refused a command."""


class Page:
    """One tab. Its questions are answered for the document of the moment, also while it reloads."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.requests: list[str] = []
        """The URLs that the page asked for, in their order, reloads and resources included."""
        self.console: list[str] = []
        """What the page wrote to its console, and what the browser complained about."""
        self._socket = socket
        self._session: str | None = None
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._loaded = asyncio.Event()

    async def _command(self, method: str, **parameters: object) -> dict[str, Any]:
        number = next(self._numbers)
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._answers[number] = answer
        message: dict[str, object] = {"id": number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        await self._socket.send_json(message)
        async with asyncio.timeout(15):
            return await answer

    async def _listen(self) -> None:
        async for message in self._socket:
            self._receive(json.loads(message.data))

    def _receive(self, message: dict[str, Any]) -> None:
        if answer := self._answers.pop(message.get("id", 0), None):
            if answer.done():
                return
            if "error" in message:
                answer.set_exception(BrowserError(message["error"]["message"]))
            else:
                answer.set_result(message["result"])
            return
        parameters = message.get("params", {})
        match message.get("method"):
            case "Page.loadEventFired":
                self._loaded.set()
            case "Network.requestWillBeSent":
                self.requests.append(parameters["request"]["url"])
            case "Runtime.consoleAPICalled":
                self.console.append(" ".join(str(part.get("value", "")) for part in parameters["args"]))
            case "Log.entryAdded":
                self.console.append(f"{parameters['entry']['level']}: {parameters['entry']['text']}")

    async def _open(self) -> None:
        target = await self._command("Target.createTarget", url="about:blank")
        attached = await self._command("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log"):
            await self._command(f"{domain}.enable")

    async def without_scripts(self) -> None:
        """From now on no page's script runs; questions of ours still do."""
        await self._command("Emulation.setScriptExecutionDisabled", value=True)

    async def look(self, *, dark: bool = False, width: int = 1200, height: int = 900) -> None:
        """What the reader's screen is like from now on."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await self._command("Emulation.setEmulatedMedia", features=[scheme])
        await self._command(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=2, mobile=width < 600
        )

    async def history(self) -> list[str]:
        """The addresses that the Back button leads through, the present one included."""
        answer = await self._command("Page.getNavigationHistory")
        return [entry["url"] for entry in answer["entries"]]

    async def navigate(self, url: str, *, timeout: float = 15.0) -> None:
        """Go there as if the address were typed, and wait until the first document is loaded."""
        self._loaded.clear()
        answer = await self._command("Page.navigate", url=url)
        if answer.get("errorText"):
            raise BrowserError(f"{url}: {answer['errorText']}")
        async with asyncio.timeout(timeout):
            await self._loaded.wait()

    async def evaluate(self, script: str) -> Any:  # noqa: ANN401  # whatever the script's value is
        """The value of a JavaScript expression; a promise is awaited."""
        answer = await self._command("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise BrowserError(str(answer["exceptionDetails"].get("exception", {}).get("description")))
        return answer["result"].get("value")

    async def title(self) -> str:
        """The document's title."""
        return str(await self.evaluate("document.title"))

    async def text(self) -> str:
        """The text that a reader sees."""
        return str(await self.evaluate("document.body ? document.body.innerText : ''"))

    async def url(self) -> str:
        """Where the page is now."""
        return str(await self.evaluate("location.href"))

    async def click(self, selector: str) -> None:
        """Click the first element that matches the CSS selector."""
        await self.evaluate(f"document.querySelector({json.dumps(selector)}).click()")

    async def wait_for_text(self, wanted: str, *, timeout: float = 20.0) -> str:
        """The page's text as soon as it contains what is wanted, whatever reloads that takes."""
        seen = ""
        try:
            async with asyncio.timeout(timeout):
                while wanted not in seen:
                    # Between two documents there is nothing to ask.
                    with contextlib.suppress(BrowserError):
                        seen = await self.text()
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise AssertionError(f"no {wanted!r} on the page within {timeout:g} s; it says:\n{seen}") from None
        return seen

    async def screenshot(self, path: Path) -> None:
        """Write what is seen to a PNG file."""
        answer = await self._command("Page.captureScreenshot", format="png")
        path.write_bytes(base64.b64decode(answer["data"]))


class Chromium:
    """Starts browsers with fresh profiles."""

    def __init__(self, run_folder: RunFolder, program: Path) -> None:
        self._run_folder = run_folder
        self._program = program

    def _environment(self, folder: Path) -> dict[str, str]:
        # Caches and certificate stores go to the home folder.
        return {**self._run_folder.environment(), "HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}

    @contextlib.asynccontextmanager
    async def page(self) -> AsyncIterator[Page]:
        """An empty page of a browser of its own, ended with the block."""
        async with self.tabs(1) as (page,):
            yield page

    @contextlib.asynccontextmanager
    async def tabs(self, count: int) -> AsyncIterator[list[Page]]:
        """Several empty pages of one browser of their own, ended with the block."""
        folder = self._run_folder.subfolder("chromium")
        arguments = [*_OPTIONS, f"--user-data-dir={folder / 'profile'}", "--remote-debugging-port=0", "about:blank"]
        browser = Program([self._program, *arguments], folder=folder, environment=self._environment(folder))
        try:
            async with aiohttp.ClientSession() as session:
                address = await self._devtools_address(folder, browser)
                async with contextlib.AsyncExitStack() as stack:
                    yield [await stack.enter_async_context(self._tab(session, address)) for _ in range(count)]
        finally:
            browser.end()
            shutil.rmtree(folder, ignore_errors=True)

    @contextlib.asynccontextmanager
    async def _tab(self, session: aiohttp.ClientSession, address: str) -> AsyncIterator[Page]:
        async with session.ws_connect(address, max_msg_size=0) as socket:
            page = Page(socket)
            listening = asyncio.create_task(page._listen())  # noqa: SLF001  # its own other half
            try:
                await page._open()  # noqa: SLF001
                yield page
            finally:
                listening.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await listening

    async def _devtools_address(self, folder: Path, browser: Program) -> str:
        announced = folder / "profile" / "DevToolsActivePort"
        try:
            async with asyncio.timeout(20):
                while True:
                    with contextlib.suppress(OSError, ValueError):
                        port, path = announced.read_text().split()
                        return f"ws://127.0.0.1:{int(port)}{path}"
                    if not browser.running:
                        raise RuntimeError(f"Chromium ended:\n{browser.output()}")
                    await asyncio.sleep(0.03)
        except TimeoutError:
            raise TimeoutError(f"Chromium does not answer:\n{browser.output()}") from None

    def dump_dom(self, url: str, *, timeout: float = 20.0) -> str:
        """The document at this address, after its scripts have run, as HTML. For pages that need no waiting."""
        folder = self._run_folder.subfolder("chromium")
        arguments = [*_OPTIONS, f"--user-data-dir={folder / 'profile'}", "--dump-dom", url]
        browser = Program([self._program, *arguments], folder=folder, environment=self._environment(folder))
        try:
            browser.wait(timeout=timeout)
            return browser.stdout()
        finally:
            browser.end()
            shutil.rmtree(folder, ignore_errors=True)


def need_chromium(run_folder: RunFolder) -> Chromium:  # noqa: RET503  # missing() never returns
    """A browser; skips the test where there is none."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        with contextlib.suppress(FileNotFoundError):
            return Chromium(run_folder, resolve(name))
    missing("chromium", "no program chromium; Debian has it in chromium")
