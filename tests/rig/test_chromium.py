"""The browser sees pages as a person would, over reloads."""

from pathlib import Path

from aiohttp import web

from tests.rig.chromium import Chromium
from tests.rig.ports import free_port


async def test_a_page_that_reloads_itself_is_waited_for(chromium: Chromium, tmp_path: Path) -> None:
    visits: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        visits.append(request.headers["Host"])
        ready = len(visits) > 2
        text = "<title>here</title>Welcome" if ready else "<meta http-equiv=refresh content=0>Starting"
        return web.Response(text=text, content_type="text/html")

    application = web.Application()
    application.router.add_get("/", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        async with chromium.page() as page:
            await page.navigate(f"http://acme.localhost:{port}/")
            assert await page.wait_for_text("Welcome") == "Welcome"
            assert await page.title() == "here"
            await page.screenshot(tmp_path / "page.png")
            assert page.requests.count(f"http://acme.localhost:{port}/") == len(visits)
    finally:
        await runner.cleanup()
    assert visits == [f"acme.localhost:{port}"] * 3
    assert (tmp_path / "page.png").read_bytes().startswith(b"\x89PNG")


def test_the_document_after_its_scripts_is_had_in_one_step(chromium: Chromium, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text("<body><script>document.body.append('made by ' + 'a script')</script>")
    assert "made by a script" in chromium.dump_dom(page.as_uri())
