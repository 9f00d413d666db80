"""Webhooks: signed, in each tenant's order, tried again with growing pauses, bounded; and never in a wake's way."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import itertools
import json
import re
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from gogeta.domain.lifecycle import Cause, Observed
from gogeta.domain.state import ReasonCode
from passivator import webhooks
from passivator.core.webhook import parse_secrets
from passivator.webhooks import WebhookSecretError, posting, read_secrets
from tests.passivator.stage import Habit, Stage

SECRET = base64.b64encode(b"k" * 32).decode()
URL = "http://receiver.test/hook"
virtual = pytest.mark.virtual_time


class Receiver:
    """Plays receivers: ``answers`` are given in turn, then 204."""

    def __init__(self) -> None:
        self.answers: list[int | Exception] = []
        self.got: list[tuple[str, dict[str, Any], Mapping[str, str], float]] = []
        self.delay = 0.0
        self.at_once = self.most_at_once = 0

    async def __call__(self, url: str, body: bytes, fields: Mapping[str, str]) -> int:
        self.got.append((url, json.loads(body), dict(fields), asyncio.get_running_loop().time()))
        assert_signed(body, fields)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await asyncio.sleep(self.delay)
        finally:
            self.at_once -= 1
        answer = self.answers.pop(0) if self.answers else 204
        if isinstance(answer, Exception):
            raise answer
        return answer

    @property
    def told(self) -> list[tuple[str, str]]:
        return [(body["data"]["tenant"], body["type"].removeprefix("tenant.")) for _, body, _, _ in self.got]


def assert_signed(body: bytes, fields: Mapping[str, str]) -> None:
    content = f"{fields['webhook-id']}.{fields['webhook-timestamp']}.".encode() + body
    expected = base64.b64encode(hmac.new(b"k" * 32, content, hashlib.sha256).digest()).decode()
    assert fields["webhook-signature"].split(" ")[0] == f"v1,{expected}"


@asynccontextmanager
async def telling(tmp_path: Path, **settings: object) -> AsyncIterator[tuple[Stage, Receiver]]:
    """A stage whose controllers send webhooks."""
    secret = tmp_path / "secret"
    secret.write_text(f"whsec_{SECRET}\n")
    settings = {"webhook_urls": (URL,), **settings}
    stage, receiver = Stage(webhook_secret_file=str(secret), **settings), Receiver()
    stage.post = receiver
    try:
        yield stage, receiver
    finally:
        await stage.kill()


@virtual
async def test_started_passivated_and_failed_are_told_with_all_that_is_known(tmp_path: Path) -> None:
    async with telling(tmp_path) as (stage, receiver):
        stage.runtime.habits["bad"] = Habit(fails=ReasonCode.IMAGE_MISSING)
        await stage.up()
        await stage.declare("acme", idle_timeout="60s")
        await stage.declare("bad")
        await asyncio.sleep(1)
        await stage.registry.change_desired(
            "acme", Cause.REQUEST, request_id="r-1", trace=f"00-{'a' * 32}-{'b' * 16}-01"
        )
        await stage.until("acme", Observed.STARTED)
        await stage.until("acme", Observed.STOPPED, within=200)
        await stage.wake("bad")
        await stage.until("bad", Observed.FAILED)
        await asyncio.sleep(0.5)
        assert receiver.told == [("acme", "started"), ("acme", "passivated"), ("bad", "failed")]
        started, passivated, failed = (body for _, body, _, _ in receiver.got)
        assert started["version"] == 1
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", started["timestamp"])
        data = started["data"]
        assert (data["who"], data["why"], data["wake"]) == ("test", "request", 1)
        assert (data["request_id"], data["trace_id"]) == ("r-1", "a" * 32)
        assert [phase["name"] for phase in data["phases"]] == ["queued", "started", "ready"]
        assert (passivated["data"]["why"], passivated["data"]["trace_id"]) == ("idle", "a" * 32)
        assert failed["data"]["reason"]["code"] == "image-missing"
        assert len({fields["webhook-id"] for _, _, fields, _ in receiver.got}) == 3
        assert stage.metric("passivator_webhooks_total", result="delivered") == 3


@virtual
async def test_only_the_chosen_events_are_sent_and_an_operators_stop_is_no_passivation(tmp_path: Path) -> None:
    async with telling(tmp_path, webhook_events=("passivated", "stopped")) as (stage, receiver):
        await stage.up()
        await stage.declare("acme", idle_timeout="never")
        for cause in (Cause.SLEEP, Cause.STOP):
            await stage.registry.change_desired("acme", Cause.START)
            await stage.until("acme", Observed.STARTED)
            await stage.registry.change_desired("acme", cause)
            await stage.until("acme", Observed.STOPPED, within=100)
        await asyncio.sleep(0.5)
        assert receiver.told == [("acme", "passivated"), ("acme", "stopped")]


@virtual
async def test_what_fails_is_tried_again_with_growing_pauses_and_given_up_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhooks, "wall_ms", lambda: round(asyncio.get_running_loop().time() * 1000))
    async with telling(tmp_path, webhook_attempts=5) as (stage, receiver):
        receiver.answers = [500, OSError("refused"), TimeoutError(), 302, 404]
        await stage.up()
        await stage.declare("acme", idle_timeout="never")
        await stage.wake("acme")
        await stage.until("acme", Observed.STARTED)
        await stage.registry.change_desired("acme", Cause.SLEEP)
        await asyncio.sleep(60)
        first = [moment for _, body, _, moment in receiver.got if body["type"] == "tenant.started"]
        pauses = [later - earlier for earlier, later in pairwise(first)]
        assert len(first) == 5
        for pause, most in zip(pauses, (1, 3, 9, 27), strict=True):
            assert most / 2 <= pause <= most + 0.1
        ids = {fields["webhook-id"] for _, body, fields, _ in receiver.got if body["type"] == "tenant.started"}
        assert len(ids) == 1, "the same message has the same id"
        times = [int(fields["webhook-timestamp"]) for _, _, fields, _ in receiver.got]
        assert times == sorted(times)
        assert times[4] > times[0], "each try has its own time, or a receiver would refuse it as old"
        assert receiver.told == [("acme", "started")] * 5 + [("acme", "passivated")], "in order, and the next one comes"
        assert stage.metric("passivator_webhooks_total", result="given-up") == 1
        assert stage.metric("passivator_webhooks_total", result="failed") == 4


@virtual
async def test_a_receiver_that_is_slow_or_fails_holds_up_no_wake_and_no_other_tenants_news(tmp_path: Path) -> None:
    async with telling(tmp_path, webhook_queue=12) as (stage, receiver):
        receiver.delay = 30.0
        await stage.up()
        for number in range(20):
            await stage.declare(f"t{number}", idle_timeout="never")
        for number in range(20):
            await stage.wake(f"t{number}")
        for number in range(20):
            await stage.until(f"t{number}", Observed.STARTED, within=60)
        await asyncio.sleep(1)
        assert receiver.most_at_once == 8, "bounded"
        assert stage.metric("passivator_webhooks_total", result="queue-full") == 8
        receiver.delay = 0.0
        await asyncio.sleep(35)
        assert stage.metric("passivator_webhooks_total", result="delivered") == 12


@virtual
async def test_every_receiver_has_its_own_way(tmp_path: Path) -> None:
    class Half(Receiver):
        async def __call__(self, url: str, body: bytes, fields: Mapping[str, str]) -> int:
            status = await super().__call__(url, body, fields)
            return 503 if url.startswith("http://down.") else status

    async with telling(tmp_path, webhook_urls=("http://down.test/", URL), webhook_attempts=3) as (stage, _):
        receiver = stage.post = Half()
        await stage.up()
        await stage.declare("acme", idle_timeout="never")
        await stage.wake("acme")
        await stage.until("acme", Observed.STARTED)
        await asyncio.sleep(60)
        assert Counter(url for url, _, _, _ in receiver.got) == {"http://down.test/": 3, URL: 1}


@virtual
async def test_after_a_restart_the_last_state_that_was_not_told_is_told_and_no_other(tmp_path: Path) -> None:
    async with telling(tmp_path, webhook_attempts=100) as (stage, receiver):
        await stage.up()
        for name in ("early", "acme"):
            await stage.declare(name, idle_timeout="never")
        await stage.wake("early")
        await stage.until("early", Observed.STARTED)
        await asyncio.sleep(5)
        assert receiver.told == [("early", "started")]
        receiver.answers = [503] * 1000
        await stage.wake("acme")
        await stage.until("acme", Observed.STARTED)
        await asyncio.sleep(5)
        undelivered = receiver.got[1][2]["webhook-id"]
        await stage.kill()
        receiver.got.clear()
        receiver.answers = []
        await stage.up()
        await asyncio.sleep(10)
        assert receiver.told == [("acme", "started")]
        assert receiver.got[0][2]["webhook-id"] == undelivered, "so that the receiver can tell that it is the same"
        await stage.kill()
        receiver.got.clear()
        await stage.up()
        await asyncio.sleep(10)
        assert receiver.told == []


@virtual
async def test_one_who_only_follows_tells_nothing(tmp_path: Path) -> None:
    async with telling(tmp_path) as (stage, receiver):
        await stage.up()
        await stage.declare("acme", idle_timeout="never")
        await asyncio.sleep(1)
        follower = Stage(webhook_urls=(URL,), webhook_secret_file=stage.settings.webhook_secret_file)
        follower._marks = itertools.count(100)  # noqa: SLF001 - another process
        follower.space, follower.runtime, follower.post = stage.space, stage.runtime, Receiver()
        await follower.up()
        await stage.wake("acme")
        await stage.until("acme", Observed.STARTED)
        await asyncio.sleep(1)
        await follower.kill()
        assert (receiver.told, follower.post.got) == ([("acme", "started")], [])


async def test_over_a_real_connection_with_failures_slowness_and_a_restart(tmp_path: Path) -> None:
    got: list[tuple[bytes, Mapping[str, str]]] = []
    statuses = iter([500, 307, 200])

    async def take(request: web.Request) -> web.Response:
        got.append((await request.read(), dict(request.headers)))
        status = next(statuses)
        return web.Response(status=status, headers={"Location": "/elsewhere"} if status == 307 else {})

    async def hang(request: web.Request) -> web.Response:
        await asyncio.sleep(60)
        return web.Response()

    app = web.Application()
    app.add_routes([web.post("/hook", take), web.post("/slow", hang)])
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    async with posting(0.3) as post:
        fields = {"webhook-id": "msg_1", "Content-Type": "application/json"}
        assert [await post(f"http://127.0.0.1:{port}/hook", b"{}", fields) for _ in range(3)] == [500, 307, 200]
        assert len(got) == 3, "a redirect is not followed"
        assert (got[0][0], got[0][1]["webhook-id"], got[0][1]["Content-Type"]) == (b"{}", "msg_1", "application/json")
        with pytest.raises(TimeoutError):
            await post(f"http://127.0.0.1:{port}/slow", b"{}", fields)
        await runner.cleanup()
        with pytest.raises((aiohttp.ClientError, OSError)):
            await post(f"http://127.0.0.1:{port}/hook", b"{}", fields)


def test_the_snippet_of_the_documentation_takes_ours_and_nothing_else() -> None:
    from passivator.core.webhook import Message, signed  # noqa: PLC0415 - of this test alone

    text = Path(__file__).parents[2].joinpath("docs", "webhooks.md").read_text()
    (snippet,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    names: dict[str, Any] = {}
    exec(snippet, names)  # noqa: S102 - what readers are told to copy
    verify = names["verify"]
    body = b'{"version":1}'
    old, new = b"o" * 32, b"n" * 32
    fields = signed(Message("msg_1", "acme", 1, body), 1_700_000_000, [new, old])
    secret = "whsec_" + base64.b64encode(old).decode()
    assert verify(fields, body, secret, now=1_700_000_010)
    assert verify(fields, body, "whsec_" + base64.b64encode(new).decode(), now=1_700_000_010)
    assert not verify(fields, body + b" ", secret, now=1_700_000_010)
    assert not verify({**fields, "webhook-id": "msg_2"}, body, secret, now=1_700_000_010)
    assert not verify({**fields, "webhook-timestamp": "1700000001"}, body, secret, now=1_700_000_010)
    assert not verify(fields, body, "whsec_" + base64.b64encode(b"x" * 32).decode(), now=1_700_000_010)
    assert not verify(fields, body, secret, now=1_700_000_000 + 301), "an old one is no news"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "expected one to 4 secrets"),
        ("short\n", "5 bytes long"),
        ("whsec_!!!\n", "not base64"),
        ("a" * 20 + "\n" + "b" * 300, "300 bytes long"),
        ("\n".join(str(number) * 20 for number in range(5)), "not 5"),
    ],
)
def test_a_secret_that_is_none_is_named_and_not_shown(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "secret"
    path.write_text(text)
    with pytest.raises(WebhookSecretError, match=re.escape(words)) as caught:
        read_secrets(str(path))
    assert not text.strip() or text.strip() not in str(caught.value)


def test_secrets_are_lines_in_either_form(tmp_path: Path) -> None:
    assert parse_secrets(f"whsec_{SECRET}\n\nplain-text-of-some-length\n") == (b"k" * 32, b"plain-text-of-some-length")
    for path in ("", str(tmp_path / "missing")):
        with pytest.raises(WebhookSecretError):
            read_secrets(path)
