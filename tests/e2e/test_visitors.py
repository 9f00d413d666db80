"""What a person meets at a sleeping tenant, in a real browser: live progress, the page asked for, failures, themes."""

import asyncio
import contextlib
import os
from pathlib import Path

import aiohttp
import pytest

from tests.e2e.system import System
from tests.rig.chromium import Chromium, Page

pytestmark = pytest.mark.e2e

ASKED = "/orders/7?sort=a%20b&next=%2Fhome&x=%3Cb%3E"
TIME = "document.querySelector('[data-gogeta=ready] span').textContent"
DRAWN = "(bar => bar.firstElementChild.clientWidth / bar.clientWidth)(document.querySelector('.bar'))"
PROGRESS = "/.well-known/gogeta/progress"
IMAGES = Path(__file__).parents[2] / "docs" / "images"


def running(system: System, *serve: str, control: tuple[str, ...] = ()) -> None:
    """Start everything and declare what was declared."""
    system.serve(*serve)
    system.control(*control)
    system.apply()


async def until_ready(page: Page) -> str:
    """The application's page."""
    return await page.wait_for_text("The application answers", timeout=30)


async def test_live_progress_and_then_the_very_page_that_was_asked_for(
    local_system: System, chromium: Chromium, tmp_path: Path
) -> None:
    system = local_system
    gate = tmp_path / "go"
    system.declare("acme", idle="3s", after=gate)
    running(system)
    url = system.url("acme.localhost", ASKED) + "#part-2"
    for known in (False, True):
        await asyncio.to_thread(system.until, "acme", "passivated")
        gate.unlink(missing_ok=True)
        async with chromium.page() as page:
            await page.look(width=390, height=780)
            await page.navigate(url)
            seen = await page.wait_for_text("Getting ready")
            assert "Starting acme.localhost" in seen
            # Live: what it says changes although nothing is loaded again.
            await page.evaluate("window.notLoadedAgain = true")
            await page.wait_for_text("It runs and is getting ready to answer.")
            if known:
                await page.wait_for_text("Usually about")
                await page.screenshot(tmp_path / "known.png")
            else:
                await page.wait_for_text("It was never started here before")
                await page.screenshot(tmp_path / "first.png")
            # Time goes on in it.
            shown = await page.evaluate(TIME)
            async with asyncio.timeout(15):
                while await page.evaluate(TIME) == shown:  # noqa: ASYNC110  # another program
                    await asyncio.sleep(0.1)
            assert await page.evaluate("window.notLoadedAgain")
            gate.touch()
            text = await until_ready(page)
            assert f"Asked for {ASKED}" in text
            assert await page.url() == url
            assert await page.history() == ["about:blank", url]
            # The page asked for, the stream, and the page again: nothing is asked for again and again.
            assert [asked for asked in page.requests if asked.startswith("http")] == [
                url.partition("#")[0],
                system.url("acme.localhost", PROGRESS),
                url.partition("#")[0],
            ]
            assert not [line for line in page.console if "503" not in line], page.console
    assert len(system.tenant("acme")["observed"]["past_starts"]) == 2


async def test_the_image_of_the_docs(local_system: System, chromium: Chromium, tmp_path: Path) -> None:
    """A start whose usual time is known, half over. Kept in docs/images when GOGETA_IMAGES is set."""
    image = (IMAGES if "GOGETA_IMAGES" in os.environ else tmp_path) / "starting.png"
    system = local_system
    system.declare("acme", idle="1m", delay=6.0)
    running(system)
    for command in ("wake", "sleep"):
        done = await asyncio.to_thread(system.cli, command, "acme")
        assert done.returncode == 0, done.stderr
    async with chromium.page() as page:
        await page.look(width=700, height=522)
        await page.navigate(system.url("acme.localhost"))
        assert "Usually about" in await page.wait_for_text(" seconds left")
        async with asyncio.timeout(10):
            while await page.evaluate(DRAWN) < 0.45:  # noqa: ASYNC110  # the bar moves by itself
                await asyncio.sleep(0.05)
        await page.screenshot(image)
        await until_ready(page)
    assert image.read_bytes().startswith(b"\x89PNG")


async def test_without_javascript_it_gets_there_as_well(
    local_system: System, chromium: Chromium, tmp_path: Path
) -> None:
    gate = tmp_path / "go"
    local_system.declare("acme", after=gate)
    running(local_system)
    url = local_system.url("acme.localhost", ASKED)
    async with chromium.page() as page:
        await page.without_scripts()
        await page.look(dark=True, width=390, height=780)
        await page.navigate(url)
        await page.wait_for_text("It runs and is getting ready to answer.")
        await page.screenshot(tmp_path / "without-javascript.png")
        gate.touch()
        assert f"Asked for {ASKED}" in await until_ready(page)
        assert await page.url() == url
        assert await page.history() == ["about:blank", url]
        assert local_system.url("acme.localhost", PROGRESS) not in page.requests


async def test_many_tabs_share_one_stream_and_all_get_there(
    local_system: System, chromium: Chromium, tmp_path: Path
) -> None:
    """A browser opens six connections to a host: eight tabs with a stream each would block one another."""
    gate = tmp_path / "go"
    local_system.declare("acme", idle="20s", after=gate)
    running(local_system)
    async with chromium.tabs(8) as pages:
        urls = [local_system.url("acme.localhost", f"/orders/{number}?tab={number}") for number in range(len(pages))]
        await asyncio.gather(*(page.navigate(url) for page, url in zip(pages, urls, strict=True)))
        await asyncio.gather(*(page.wait_for_text("It runs and is getting ready") for page in pages))
        async with asyncio.timeout(20):
            while await _metric(local_system, "gogeta_progress_streams ") != 1:  # noqa: ASYNC110  # another process
                await asyncio.sleep(0.1)
        gate.touch()
        for page, url in zip(pages, urls, strict=True):
            await until_ready(page)
            assert await page.url() == url
            assert await page.history() == ["about:blank", url]


async def test_a_place_in_the_queue_is_told_and_moves(local_system: System, chromium: Chromium, tmp_path: Path) -> None:
    system = local_system
    gates = [tmp_path / name for name in ("one", "two", "three")]
    for gate in gates:
        system.declare(gate.name, idle="20s", after=gate)
    system.declare("acme", idle="20s")
    running(system, control=("--max-starts", "1"))
    async with aiohttp.ClientSession() as session, chromium.page() as page:
        for gate in gates:
            # A program that leaves: the wakes go on.
            with contextlib.suppress(TimeoutError):
                await session.get(
                    f"http://127.0.0.1:{system.port}/",
                    headers={"Host": f"{gate.name}.localhost"},
                    timeout=aiohttp.ClientTimeout(0.3),
                )
        await page.look(dark=True)
        await page.navigate(system.url("acme.localhost"))
        await page.wait_for_text("2 other starts before")
        await page.screenshot(tmp_path / "queued.png")
        gates[0].touch()
        await page.wait_for_text("1 other start before")
        gates[1].touch()
        await page.wait_for_text("It is the next to start.")
        gates[2].touch()
        await until_ready(page)


async def test_a_failure_is_told_without_what_is_inside_and_tried_again(
    local_system: System, chromium: Chromium, tmp_path: Path
) -> None:
    system = local_system
    gate, mended = tmp_path / "go", tmp_path / "mended"
    script = (
        "import os,sys,time\\nexists=os.path.exists\\n"
        f"while not exists({str(gate)!r}): time.sleep(.02)\\n"
        f"if not exists({str(mended)!r}): sys.exit('secret-inside')\\n"
        "os.execv(sys.executable, [sys.executable, '-m', 'http.server', os.environ['PORT']])"
    )
    system.declare("acme", command=f'[python3, "-c", "{script}"]')
    running(system, control=("--retry-first", "8s"))
    url = system.url("acme.localhost", "/?q=1")
    async with chromium.page() as page:
        await page.look(width=390, height=700)
        await page.navigate(url)
        await page.wait_for_text("It runs and is getting ready to answer.")
        await page.evaluate("window.notLoadedAgain = true")
        gate.touch()
        seen = await page.wait_for_text("Not available")
        assert await page.evaluate("window.notLoadedAgain")
        await page.screenshot(tmp_path / "failed-live.png")
        assert "could not be started" in seen
        assert "It is tried again by itself in about" in seen
        assert "Getting ready" not in seen
        assert "secret" not in await page.evaluate("document.documentElement.outerHTML")
        assert "exit" not in seen
        mended.touch()
        await page.wait_for_text("Directory listing", timeout=40)
        assert await page.url() == url
        assert await page.history() == ["about:blank", url]


async def test_a_proxy_that_is_killed_under_the_page_is_waited_for(
    local_system: System, chromium: Chromium, tmp_path: Path
) -> None:
    gate = tmp_path / "go"
    local_system.declare("acme", after=gate)
    running(local_system)
    url = local_system.url("acme.localhost", ASKED)
    async with chromium.page() as page:
        await page.navigate(url)
        await page.wait_for_text("It runs and is getting ready to answer.")
        await page.evaluate("window.notLoadedAgain = true")
        local_system.gogeta.kill()
        await asyncio.sleep(3)
        local_system.serve()
        shown = await page.evaluate(TIME)
        async with asyncio.timeout(30):
            while await page.evaluate(TIME) == shown:  # noqa: ASYNC110  # another program
                await asyncio.sleep(0.1)
        assert await page.evaluate("window.notLoadedAgain")
        gate.touch()
        assert f"Asked for {ASKED}" in await until_ready(page)
        assert await page.history() == ["about:blank", url]


async def test_the_failure_page_tells_when_it_is_tried_again(
    local_system: System, chromium: Chromium, tmp_path: Path
) -> None:
    local_system.declare("acme", command='[python3, "-c", "raise SystemExit(3)"]')
    running(local_system, control=("--retry-first", "20s"))
    await asyncio.to_thread(local_system.curl, "acme.localhost")
    answer = await asyncio.to_thread(local_system.curl, "acme.localhost", "/", "--header", "Accept: text/html")
    assert answer.status == 503
    assert 1 <= int(answer.headers["retry-after"]) <= 25
    for dark in (False, True):
        async with chromium.page() as page:
            await page.without_scripts()
            await page.look(dark=dark, width=390, height=700)
            await page.navigate(local_system.url("acme.localhost"))
            await page.wait_for_text("It is tried again by itself in about")
            await page.screenshot(tmp_path / f"failed-{'dark' if dark else 'light'}.png")


THEME = """<!doctype html>
<html lang="de"><head><meta charset="utf-8"><title>{{heading}}</title>
<style>body{background:#204020;color:#fff;font:20px serif;padding:3em}b{color:#ffd700}</style>
</head><body><h1>Moment, {{host}} wacht auf</h1><p data-gogeta="text">{{text}}</p>
<b data-gogeta="outlook" title="{{outlook}}">{{outlook}}</b>
<p id="own">-</p><script>document.getElementById("own").textContent = "own script runs";</script>
</body></html>
"""


async def test_a_theme_is_shown_live_and_changes_while_it_runs(
    local_system: System, chromium: Chromium, tmp_path: Path
) -> None:
    theme = tmp_path / "theme"
    theme.mkdir()
    (theme / "starting.html").write_text(THEME)
    gate = tmp_path / "go"
    local_system.declare("acme", after=gate)
    running(local_system, "--pages", str(theme))
    async with chromium.page() as page:
        await page.navigate(local_system.url("acme.localhost", ASKED))
        await page.wait_for_text("Moment, acme.localhost wacht auf")
        await page.wait_for_text("It runs and is getting ready to answer.")
        await page.wait_for_text("own script runs")
        await page.screenshot(tmp_path / "theme.png")
        gate.touch()
        assert f"Asked for {ASKED}" in await until_ready(page)
        assert not [line for line in page.console if "503" not in line], page.console
    # Not ours to show any more, but what nobody owns is; a changed file is taken in while it runs.
    (theme / "error.html").write_text("<html><head></head><body>Eigene Seite: {{code}}</body></html>")

    def answer() -> str:
        return local_system.curl("nobody.localhost", "/", "--header", "Accept: text/html").text

    async with asyncio.timeout(20):
        while "Eigene Seite: unknown-host" not in await asyncio.to_thread(answer):  # noqa: ASYNC110  # a file
            await asyncio.sleep(0.2)


def test_a_broken_theme_ends_the_start_with_its_line(local_system: System, tmp_path: Path) -> None:
    theme = tmp_path / "theme"
    theme.mkdir()
    (theme / "error.html").write_text("<html><head></head>\n<body style='color:red'>{{nonsense}}</body></html>")
    gogeta = local_system.serve("--pages", str(theme), wait=False)
    assert gogeta.wait(timeout=20) == 2
    assert "error.html, line 2: a style=" in gogeta.output()
    assert "{{nonsense}}" in gogeta.output()


async def _metric(system: System, name: str) -> float:
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{system.admin}/metrics") as answer:
        lines = (await answer.text()).splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))
