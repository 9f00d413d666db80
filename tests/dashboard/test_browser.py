"""The dashboard as an operator meets it: what is shown, what changes by itself, what buttons do, and who is let in."""

import asyncio
import json
import os
import re
from collections.abc import AsyncGenerator, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from gogeta.api.events import Events
from gogeta.domain.lifecycle import Cause, Observed
from gogeta.domain.state import Reason, ReasonCode
from gogeta.domain.tenant import Tenant
from gogeta.domain.tokens import Token, make_secret
from gogeta.registry.tokens import add_token
from tests.dashboard.conftest import Opener, Shown
from tests.rig.chromium import Chromium, Page

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

AXE = (files("axe_core_python") / "axe.min.js").read_text()
IMAGES = Path(__file__).parents[2] / "docs" / "images"


async def until(page: Page, script: str, *, within: float = 20.0) -> Any:  # noqa: ANN401 - a script's value
    """Wait until a script's value is true."""
    give_up = asyncio.get_running_loop().time() + within
    while not (found := await page.evaluate(script)):
        assert asyncio.get_running_loop().time() < give_up, (script, await page.text())
        await asyncio.sleep(0.05)
    return found


async def flaws(page: Page) -> list[str]:
    """What axe-core finds wrong with the page."""
    await page.evaluate(AXE)
    await page.evaluate("axe.run().then(found => { window.found = JSON.stringify(found.violations); })")
    found = json.loads(await until(page, "window.found"))
    await page.evaluate("delete window.found")
    return [f"{each['id']}: {node['html']} {node['failureSummary']}" for each in found for node in each["nodes"]]


def names(page: Page) -> str:
    return "[...document.querySelectorAll('tbody th a')].map(a => a.textContent).join()"


async def test_the_list_has_what_fails_first_and_changes_by_itself(shown: Shown, chromium: Chromium) -> None:
    async with chromium.page() as page:
        await page.navigate(shown.url + "/")
        assert await page.evaluate(names(page)) == "cinema,bakery,acme,dentist,editor,florist"
        assert "no database" in await page.text()
        await page.evaluate("window.same = true")
        await shown.observe("bakery", Observed.STARTED)
        await until(page, "document.querySelector('.tiles .started b').textContent === '2'")
        await shown.declare("grocer")
        await until(page, "document.querySelector('caption').textContent.includes('7 tenants')")
        await shown.registry.remove("florist")
        await until(page, "!document.querySelector('a[href=\"/tenants/florist\"]')")
        assert await page.evaluate("window.same"), "the page was not loaded again"
        assert not page.console


async def test_what_changes_before_the_stream_of_events_begins_is_shown_too(
    open_dashboard: Opener, chromium: Chromium, monkeypatch: pytest.MonkeyPatch
) -> None:
    begins, handle = asyncio.Event(), Events.handle

    async def late(self: Events, request: web.Request) -> web.StreamResponse:
        await begins.wait()
        return await handle(self, request)

    monkeypatch.setattr(Events, "handle", late)
    shown = await open_dashboard()
    await shown.declare("acme")
    await shown.caught_up()
    async with chromium.page() as page:
        await page.navigate(shown.url + "/")
        assert "1 tenant" in await page.text()
        await shown.declare("bakery")
        await shown.caught_up()
        begins.set()
        await until(page, "document.querySelector('caption').textContent.includes('2 tenants')", within=10)


async def test_search_and_states_narrow_it_down(shown: Shown, chromium: Chromium) -> None:
    async with chromium.page() as page:
        await page.navigate(shown.url + "/")
        await page.evaluate(
            "document.getElementById('q').value = 'E.example'; "
            "document.getElementById('q').dispatchEvent(new Event('input', {bubbles: true}))"
        )
        await until(page, "document.querySelector('caption').textContent.includes('with “e.example”')")
        assert await page.evaluate(names(page)) == "acme"
        assert (await page.url()).endswith("/?q=E.example")
        await page.navigate(shown.url + "/")
        await page.click(".tiles .passivated")
        await until(page, names(page) + " === 'editor,florist'")
        await page.navigate(shown.url + "/?limit=2")
        await page.click("a[rel=next]")
        await until(page, names(page) + ".startsWith('acme')")
        await page.navigate(shown.url + "/?state=awake")
        assert "state" in await page.text()


async def test_the_keyboard_is_enough(shown: Shown, chromium: Chromium) -> None:
    async with chromium.page() as page:
        await page.navigate(shown.url + "/")

        async def press(key: str) -> str:
            target = "(document.activeElement || document.body)"
            await page.evaluate(
                f"{target}.dispatchEvent(new KeyboardEvent('keydown', {{key: '{key}', bubbles: true}}))"
            )
            return str(await page.evaluate("document.activeElement.id || document.activeElement.textContent"))

        assert [await press(key) for key in ("/", "ArrowDown", "ArrowDown", "ArrowUp", "ArrowUp")] == [
            "q",
            "cinema",
            "bakery",
            "cinema",
            "q",
        ]
        await press("ArrowDown")
        await shown.declare("grocer")
        await until(page, "document.querySelector('caption').textContent.includes('7 tenants')")
        assert await page.evaluate("document.activeElement.textContent") == "cinema", "what has the focus keeps it"


async def test_a_tenants_page_explains_and_acts_after_a_question(shown: Shown, chromium: Chromium) -> None:
    async with chromium.page() as page:
        await page.navigate(shown.url + "/tenants/acme")
        text = await page.text()
        assert "awake because" in text
        assert "put to sleep when nobody used it for 30m" in text
        await page.evaluate("window.asked = []; window.confirm = question => { asked.push(question); return false; }")
        await page.click("button.stop")
        assert await until(page, "window.asked.join()") == (
            "What is in flight is waited for, and then cut; requests will not wake it. Stop it?"
        )
        assert (await shown.registry.record("acme")).desired.state == "started"
        await page.click("button.sleep")
        while (await shown.registry.record("acme")).desired.state != "passivated":  # noqa: ASYNC110 - the server's
            await asyncio.sleep(0.05)
        await until(page, "!!document.querySelector('.sentence')")
        await shown.observe("acme", Observed.STOPPED)
        await until(page, "!!document.querySelector('button.wake')")
        await shown.registry.change_desired("acme", Cause.WAKE)
        await shown.observe("acme", Observed.STARTING, phase="waiting for its turn, 3 before it")
        await until(page, "document.body.textContent.includes('3 before it')")
        assert not page.console


async def test_what_others_wrote_is_text(shown: Shown, chromium: Chromium) -> None:
    await shown.observe(
        "editor", Observed.FAILED, reason=Reason(ReasonCode.EXITED, "<script>window.bad = 1</script><b>x</b>")
    )
    await shown.caught_up()
    async with chromium.page() as page:
        for path in ("/", "/tenants/editor", "/?q=<b>x</b>", "/tenants/<b>x</b>", "/login?next=//evil.example"):
            await page.navigate(shown.url + path)
            marked = "document.querySelectorAll('td b, .sentence b, .error b, caption b').length"
            assert await page.evaluate(f"window.bad || {marked}") == 0
        assert await page.evaluate("document.querySelector('[name=next]').value") == "/"


async def test_it_is_readable_without_scripts(shown: Shown, chromium: Chromium) -> None:
    async with chromium.page() as page:
        await page.without_scripts()
        await page.navigate(shown.url + "/?q=acme")
        assert "acme.example" in await page.text()
        await page.click("tbody th a")
        await page.wait_for_text("Timeline")


@pytest.mark.parametrize("dark", [False, True])
async def test_nothing_is_in_the_way_of_anybody(shown: Shown, chromium: Chromium, *, dark: bool) -> None:
    async with chromium.page() as page:
        for width in (1100, 390):
            await page.look(dark=dark, width=width, height=900)
            for path in ("/", "/?q=nothing", "/tenants/acme", "/tenants/cinema", "/login", "/tenants/nobody"):
                await page.navigate(shown.url + path)
                assert await flaws(page) == []
                if width == 390:
                    assert await page.evaluate("document.documentElement.scrollWidth") <= 390, path


async def token(shown: Shown, name: str, role: str) -> str:
    secret, kept = make_secret()
    await add_token(shown.registry.store, name, Token(role=role, hash=kept))
    await asyncio.sleep(0.3)
    return f"{name}.{secret}"


async def sign_in(page: Page, secret: str) -> None:
    await page.evaluate(f"document.getElementById('token').value = {json.dumps(secret)}")
    await page.click(".login button")


async def test_who_is_let_in_sees_what_their_role_allows(open_dashboard: Opener, chromium: Chromium) -> None:
    shown = await open_dashboard(auth="always")
    await shown.declare("acme")
    await shown.caught_up()
    reader = await token(shown, "reader", "read")
    async with chromium.page() as page:
        await page.navigate(shown.url + "/tenants/acme")
        assert "Sign in" in await page.text()
        await sign_in(page, "reader.wrong")
        await page.wait_for_text("its secret is wrong")
        await sign_in(page, reader)
        text = await page.wait_for_text("Timeline")
        assert "***" in text
        assert "hunter2" not in text
        assert await page.evaluate("document.querySelectorAll('.actions button').length") == 0
        assert await page.evaluate("document.cookie") == "", "no script reads it"
        await page.evaluate("window.same = true")
        await shown.registry.change_desired("acme", Cause.WAKE)
        await until(page, "document.querySelector('.state').textContent === 'starting'")
        assert await page.evaluate("window.same"), "the stream of events is let in by the cookie, too"
        await page.click("header form button")
        await page.wait_for_text("Sign in")
        await page.navigate(shown.url + "/")
        assert "Sign in" in await page.text()


async def test_what_a_tenant_writes_is_on_its_page_as_it_comes_and_is_text(
    open_dashboard: Opener, chromium: Chromium
) -> None:
    news: asyncio.Queue[str | None] = asyncio.Queue()

    async def read(_: Tenant, lines: int, *, follow: bool) -> AsyncGenerator[Sequence[str], None]:
        yield ["begins", "<b>bold</b>"][-lines:]
        while follow and (line := await news.get()) is not None:
            yield [line]

    shown = await open_dashboard(logs=read)
    await shown.declare("acme")
    await shown.caught_up()
    logs = "document.getElementById('logs')"
    async with chromium.page() as page:
        await page.navigate(shown.url + "/tenants/acme")
        await until(page, f"{logs}.textContent === 'begins\\n<b>bold</b>\\n'")
        await news.put("listening on 8080")
        await until(page, f"{logs}.textContent.endsWith('listening on 8080\\n')")
        await news.put(None)
        await page.wait_for_text("It does not run.")
        # The next start is read by itself.
        await shown.registry.change_desired("acme", Cause.WAKE)
        await until(page, f"document.getElementById('logs-state').textContent === '' && !{logs}.hidden")
        await news.put("again")
        await until(page, f"{logs}.textContent.endsWith('again\\n')")
        assert await flaws(page) == []
        assert not page.console


async def test_where_no_logs_are_read_the_page_says_who_reads_them(shown: Shown, chromium: Chromium) -> None:
    async with chromium.page() as page:
        await page.navigate(shown.url + "/tenants/acme")
        assert "admin listener: it is the one that drives it" in await page.text()


async def test_the_image_of_the_docs(shown: Shown, chromium: Chromium, tmp_path: Path) -> None:
    """Kept in docs/images when GOGETA_IMAGES is set."""
    image = (IMAGES if "GOGETA_IMAGES" in os.environ else tmp_path) / "dashboard.png"
    async with chromium.page() as page:
        await page.look(width=1100, height=820)
        await page.navigate(shown.url + "/")
        await page.screenshot(image)
    assert image.read_bytes().startswith(b"\x89PNG")


async def test_ten_thousand_tenants(open_dashboard: Opener, chromium: Chromium) -> None:
    """What the browser measures is printed; `-s` shows it."""
    shown = await open_dashboard()
    for first in range(0, 10_000, 2_000):
        await shown.declare(*(f"t{number:05}" for number in range(first, first + 2_000)))
    await shown.caught_up()
    async with chromium.page() as page:
        await page.navigate(shown.url + "/")
        assert "10000 tenants" in re.sub(r"\s+", " ", await page.text())
        paint = await until(page, "performance.getEntriesByName('first-contentful-paint').map(e => e.startTime)[0]")
        took = []
        for number in range(5):
            await page.evaluate(
                "window.seen = 0; new MutationObserver(() => { if (document.querySelector('.tiles .starting b')"
                f".textContent === '{number + 1}' && !window.seen) window.seen = Date.now(); }})"
                ".observe(document.getElementById('live'), {childList: true, subtree: true})"
            )
            changed = await shown.registry.change_desired(f"t{number:05}", Cause.WAKE)
            took.append(await until(page, "window.seen") - changed.desired.since)
    median = sorted(took)[2]
    print(f"\n10,000 tenants: first paint {paint:.0f} ms; a change is seen after {median} ms (median of {took})")  # noqa: T201
