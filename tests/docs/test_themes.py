"""docs/themes.md is true: its theme is read, filled, shown by a browser, and what it calls a mistake is refused."""

from __future__ import annotations

import html
import re
import shlex
from pathlib import Path
from typing import Final

import pytest

from gogeta.core.page_source import ERROR_PLACEHOLDERS, STARTING_PLACEHOLDERS
from gogeta.core.pages import BUILT_IN, Theme, error_page, starting_page
from gogeta.core.progress import Stage, progress
from gogeta.core.refusal import Reason
from gogeta.core.theme import ThemeError, read_template
from gogeta.domain.lifecycle import Desired, Observed
from gogeta.domain.state import DesiredState, ObservedState, Phase, TenantRecord
from gogeta.domain.tenant import read_tenant
from gogeta.net.theming import Theming
from gogeta.settings import ServeSettings
from tests.rig.chromium import Chromium
from tests.rig.ports import free_port
from tests.rig.programs import ProcessRack

PAGE: Final = (Path(__file__).parents[2] / "docs" / "themes.md").read_text()
STARTING_HTML, ERROR_HTML, OWN_WORDS = re.findall(r"```html\n(.*?)```", PAGE, re.DOTALL)
TENANTS: Final = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)[0]
COMMAND: Final = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)[0]
MISTAKES: Final = re.findall(r"^\| `([{<].*?)` \| (.*?) \|$", PAGE.partition("| is refused with |")[2], re.MULTILINE)
HOSTILE: Final = '"><script>alert(1)</script>'

STARTING: Final = progress(
    TenantRecord(
        tenant=read_tenant({"name": "a", "hosts": ["a.test"], "docker": {"image": "x"}}, what="test"),
        desired=DesiredState(state=Desired.STARTED),
        observed=ObservedState(
            state=Observed.STARTING, phases=(Phase("queued", 100), Phase("started", 500)), past_starts=(8000,)
        ),
    ),
    3.5,
)


def write(folder: Path, starting: str = STARTING_HTML, error: str = ERROR_HTML) -> Path:
    """The theme of the page."""
    theme = folder / "theme"
    theme.mkdir()
    (theme / "starting.html").write_text(starting)
    (theme / "error.html").write_text(error)
    return theme


def read(folder: Path) -> Theme:
    """As gogeta reads it."""
    return Theming.of(ServeSettings(pages=str(folder))).theme


def test_the_example_is_a_theme_and_is_filled_for_every_reason(tmp_path: Path) -> None:
    theme = read(write(tmp_path))
    assert theme.starting is not BUILT_IN.starting
    page = starting_page(HOSTILE, "id-1", STARTING, theme=theme).body.decode()
    assert HOSTILE not in page
    assert html.escape(HOSTILE) in page
    assert '<html lang="en" data-stage="getting-ready">' in page
    assert '<li data-gogeta="started" data-state="done">Lights on <span>' in page
    for reason in Reason:
        body = error_page(reason, "id-1", theme=theme).body.decode()
        assert "{{" not in body
        assert f" {reason.value}, request id-1" in body


def test_words_of_ones_own_are_a_theme_too(tmp_path: Path) -> None:
    theme = read(write(tmp_path, starting=OWN_WORDS))
    assert 'data-stage="getting-ready"' in starting_page("a.test", "id-1", STARTING, theme=theme).body.decode()
    coded = ERROR_HTML.replace('<html lang="en">', '<html data-code="{{code}}">')
    assert "code" in read_template(coded, ERROR_PLACEHOLDERS, what="error.html").pieces


def test_the_placeholders_are_those_that_there_are() -> None:
    listed = {
        name: set(re.findall(r"`(\w+)`", names))
        for name, names in re.findall(r"^\| `(\w+)\.html` \| (.*) \|$", PAGE, re.MULTILINE)
    }
    assert listed == {"starting": STARTING_PLACEHOLDERS, "error": ERROR_PLACEHOLDERS}


def test_the_stages_are_those_that_there_are() -> None:
    assert re.findall(r"`([a-z-]+)`", PAGE.partition("- `stage` is ")[2].partition(".")[0]) == list(Stage)


def test_there_are_mistakes_in_the_list() -> None:
    assert len(MISTAKES) == PAGE.partition("| is refused with |")[2].count("\n| `")


@pytest.mark.parametrize(("mistake", "complaint"), MISTAKES)
def test_a_mistake_is_refused_as_the_page_says(mistake: str, complaint: str) -> None:
    with pytest.raises(ThemeError) as refused:
        read_template(f"<head></head>\n{mistake}", STARTING_PLACEHOLDERS, what="starting.html")
    assert complaint.replace("`", "") in str(refused.value)
    assert "starting.html, line 2: " in str(refused.value)


@pytest.mark.e2e
@pytest.mark.timeout(120)
async def test_it_is_tried_as_the_page_says(processes: ProcessRack, chromium: Chromium, tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "try.yaml").write_text(TENANTS)
    port = free_port()
    ports = {"GOGETA_LISTEN": f"127.0.0.1:{port}", "GOGETA_ADMIN": f"127.0.0.1:{free_port()}"}
    processes.start(*shlex.split(COMMAND), cwd=tmp_path, env=ports).wait_for_port(port)
    async with chromium.page() as page:
        await page.look(width=700, height=522)
        await page.navigate(f"http://slow.localhost:{port}/")
        await page.wait_for_text("Starting slow.localhost")
        await page.evaluate("window.same = true")
        await page.wait_for_text("It runs and is getting ready")
        done = "document.querySelector('[data-gogeta=started]').dataset.state"
        assert await page.evaluate(done) == "done"
        assert await page.evaluate("document.documentElement.dataset.stage") == "getting-ready"
        assert await page.evaluate("window.same"), "it was live"
        await page.screenshot(tmp_path / "starting.png")
        await page.wait_for_text("Directory listing")
        assert not [line for line in page.console if "503" not in line and "404" not in line], page.console
        await page.navigate(f"http://broken.localhost:{port}/")
        assert "failed, request" in await page.wait_for_text("It is tried again by itself")
        await page.screenshot(tmp_path / "error.png")
        await page.navigate(f"http://nobody.localhost:{port}/")
        await page.wait_for_text("404 unknown-host, request")
