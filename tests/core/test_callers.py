"""Who may wake a sleeping tenant: a table of callers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gogeta.core.callers import CallerRules, Unwoken, Why, without_waking
from gogeta.domain.asleep import AsleepPath, parse_asleep_paths
from gogeta.domain.tenant import Wake
from tests.core.heads import request

GOOGLE = "User-Agent: Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)\nAccept: text/html"
PERSON = "Sec-Fetch-Mode: navigate\nSec-Fetch-Dest: document\nSec-Fetch-User: ?1\nAccept: text/html"
UPGRADE = "Connection: Upgrade\nUpgrade: websocket"
DEFAULTS = CallerRules()


def met(line: str, more: str = "", wake: Wake | None = None, rules: CallerRules = DEFAULTS) -> Unwoken | None:
    judged = request(line, more)
    return without_waking(judged.method, judged.target, judged.head, Wake() if wake is None else wake, rules)


def why(line: str, more: str = "", wake: Wake | None = None, rules: CallerRules = DEFAULTS) -> Why | None:
    unwoken = met(line, more, wake, rules)
    return None if unwoken is None else unwoken.why


@pytest.mark.parametrize(
    ("line", "more", "expected"),
    [
        ("GET / 1.1", "", None),
        ("GET / 1.1", PERSON, None),
        ("GET / 1.0", "User-Agent: curl/8", None),
        ("GET / 1.1", "Sec-Purpose: prefetch", Why.PREFETCH),
        ("GET / 1.1", "Sec-Purpose: prefetch;prerender\n" + PERSON, Why.PREFETCH),
        ("GET / 1.1", "Sec-Purpose: prefetch;anonymous-client-ip", Why.PREFETCH),
        ("GET / 1.1", "Purpose: prefetch", Why.PREFETCH),
        ("GET / 1.1", "X-Purpose: preview", Why.PREFETCH),
        ("GET / 1.1", "X-Moz: Prefetch", Why.PREFETCH),
        ("HEAD / 1.1", "X-Moz: prefetch", Why.PREFETCH),
        ("GET / 1.1", "Sec-Purpose: no-prefetching", None),
        ("GET / 1.1", GOOGLE, Why.BOT),
        ("HEAD /shop?q=1 1.1", GOOGLE, Why.BOT),
        ("GET / 1.1", GOOGLE + "\nSec-Fetch-Mode: navigate", Why.BOT),
        ("GET / 1.1", GOOGLE + "\n" + PERSON.replace("\nAccept: text/html", ""), None),
        ("POST / 1.1", GOOGLE, None),
        ("OPTIONS * 1.1", GOOGLE, None),
        ("DELETE /robots.txt 1.1", "", None),
        ("GET /chat 1.1", f"{GOOGLE}\n{UPGRADE}", None),
        ("GET /favicon.ico 1.1", "", Why.FAVICON),
        ("GET /favicon.ico?v=2 1.1", "", Why.FAVICON),
        ("GET http://a.test/favicon.ico 1.1", "", Why.FAVICON),
        ("HEAD /favicon.ico 1.1", "", Why.FAVICON),
        ("POST /favicon.ico 1.1", "", None),
        ("GET /robots.txt 1.1", "", Why.ROBOTS),
        ("GET /robots.txt 1.1", GOOGLE, Why.ROBOTS),
        ("GET http://a.test/robots.txt?x 1.1", "", Why.ROBOTS),
        ("GET /favicon.icon 1.1", "", None),
        ("GET /favicon.ico/ 1.1", "", None),
        ("GET /robots.txt.html 1.1", "", None),
        ("GET /sub/robots.txt 1.1", "", None),
        ("GET //robots.txt 1.1", "", None),
        ("GET /Robots.txt 1.1", "", None),
        ("GET /robots%2Etxt 1.1", "", None),
        ("GET /?/robots.txt 1.1", "", None),
    ],
)
def test_who_wakes_and_who_does_not(line: str, more: str, expected: Why | None) -> None:
    assert why(line, more) == expected


def test_declared_paths_are_answered_whoever_asks_and_compared_whole() -> None:
    rules = CallerRules(asleep_paths=parse_asleep_paths("/healthz,/ping=204"))
    wake = Wake(asleep_paths=(AsleepPath("/ping", 503), AsleepPath("/favicon.ico", 404)))
    assert met("GET /healthz?full=1 1.1", PERSON, wake, rules) == Unwoken(Why.ASLEEP_PATH, 200)
    assert met("HEAD /ping 1.1", "", wake, rules) == Unwoken(Why.ASLEEP_PATH, 503)
    assert met("GET /ping 1.1", "", None, rules) == Unwoken(Why.ASLEEP_PATH, 204)
    assert met("GET /favicon.ico 1.1", "", wake, rules) == Unwoken(Why.ASLEEP_PATH, 404)
    assert met("POST /ping 1.1", "", wake, rules) is None
    assert met("GET /healthz/deep 1.1", "", wake, rules) is None
    assert met("GET /healthzz 1.1", "", wake, rules) is None


def test_a_tenant_takes_a_path_of_the_settings_out() -> None:
    rules = CallerRules(asleep_paths=parse_asleep_paths("/healthz"))
    assert why("GET /healthz 1.1", "", Wake(asleep_paths=(AsleepPath("/healthz", 0),)), rules) is None


@pytest.mark.parametrize(
    ("line", "more", "field"),
    [
        ("GET / 1.1", GOOGLE, "bots"),
        ("GET / 1.1", "Sec-Purpose: prefetch", "prefetch"),
        ("GET /favicon.ico 1.1", "", "favicon"),
        ("GET /robots.txt 1.1", "", "robots"),
    ],
)
def test_each_rule_is_switched_off_by_the_tenant_or_by_the_settings(line: str, more: str, field: str) -> None:
    on: dict[str, Any] = {field: "disallow" if field == "robots" else "answer"}
    off: dict[str, Any] = {field: "wake"}
    assert why(line, more) is not None
    assert why(line, more, replace(Wake(), **off)) is None
    assert why(line, more, None, replace(DEFAULTS, **off)) is None
    assert why(line, more, replace(Wake(), **on), replace(DEFAULTS, **off)) is not None


def test_a_robots_txt_is_the_tenants_own_before_that_of_the_settings() -> None:
    text = "User-agent: *\nAllow: /\n"
    asked = met("GET /robots.txt 1.1", "", Wake(robots=text), CallerRules(robots="allow"))
    assert asked == Unwoken(Why.ROBOTS, robots=text)
