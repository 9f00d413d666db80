"""Who is let in: every wrong token, role and origin is refused by name, and changes nothing."""

import asyncio
import logging
from typing import Any

import aiohttp
import pytest

from gogeta.api import guard
from gogeta.domain.tenant import read_tenant
from gogeta.domain.tokens import Token, is_token_name, make_secret, matches
from gogeta.kit.clock import wall_ms
from gogeta.registry.tokens import TokenError, add_token, list_tokens, revoke_token
from tests.api.conftest import ACME, Api, Opener


@pytest.fixture
async def guarded(open_api: Opener) -> Api:
    """An API that always asks for a token, and tenant acme."""
    opened: Api = await open_api(auth="always")
    return await declared(opened)


@pytest.fixture
async def served(open_api: Opener) -> Api:
    """An API on a loopback address, which asks for none."""
    opened: Api = await open_api(auth="auto")
    return await declared(opened)


async def declared(api: Api, name: str = "acme", **more: object) -> Api:
    """The API, with a tenant."""
    tenant = read_tenant({**ACME, "name": name, "hosts": [f"{name}.test"], **more}, what=name)
    await api.registry.apply([tenant])
    await api.until(lambda: name in api.mirror.records)
    return api


async def ask(api: Api, method: str, path: str, body: object = None, **fields: str) -> tuple[int, Any, Any]:
    """With header fields whose underscores are hyphens."""
    named = {name.replace("_", "-"): value for name, value in fields.items()}
    return await api.call(method, path, json=body, headers=named)


def known(api: Api, name: str) -> bool:
    """Whether the token has reached the guard."""
    return api.tokens is not None and name in api.tokens.by_name


async def make(served: Api, name: str, role: str, expires: int | None = None) -> str:
    secret, kept = make_secret()
    await add_token(served.registry.store, name, Token(role=role, hash=kept, expires=expires))
    await served.until(lambda: known(served, name))
    return f"Bearer {name}.{secret}"


async def test_each_role_may_do_what_it_includes(guarded: Api) -> None:
    asked = (("GET", "/tenants", 1), ("POST", "/tenants/acme/wake", 2), ("PUT", "/tenants/new", 3))
    for number, role in enumerate(("read", "operate", "admin"), start=1):
        token = await make(guarded, role, role)
        for method, path, needed in asked:
            body = {**ACME, "hosts": ["new.test"]} if method == "PUT" else None
            status, data, headers = await ask(guarded, method, path, body, Authorization=token)
            if number >= needed:
                assert status < 300
            else:
                assert (status, data["code"]) == (403, "forbidden")
                assert "insufficient_scope" in headers["WWW-Authenticate"]
    assert (await guarded.registry.record("new")).name == "new"


@pytest.mark.parametrize(
    ("shown", "words"),
    [
        (None, "a token is needed here"),
        ("Basic YTpi", "another scheme than Bearer"),
        ("Bearer", "no dot"),
        ("Bearer nothing", "no dot"),
        ("Bearer nobody.secret", "not known"),
        ("Bearer ok.wrong", "not known"),
        ("Bearer ok.", "not known"),
        ("Bearer .", "not known"),
        ("bearer old.{old}", "expired"),
    ],
)
async def test_a_token_that_is_none_opens_nothing(guarded: Api, shown: str | None, words: str) -> None:
    await make(guarded, "ok", "admin")
    old = await make(guarded, "old", "admin", expires=1)
    fields = {} if shown is None else {"Authorization": shown.format(old=old.partition(".")[2])}
    for method, path in (("GET", "/tenants/acme"), ("DELETE", "/tenants/acme")):
        status, data, headers = await ask(guarded, method, path, **fields)
        assert (status, data["code"]) == (401, "unauthenticated")
        assert headers["WWW-Authenticate"].startswith('Bearer realm="gogeta"')
        assert words in data["detail"]
    assert (await guarded.registry.record("acme")).name == "acme"


async def test_a_revoked_token_is_worth_nothing_at_once(guarded: Api) -> None:
    token = await make(guarded, "ci", "read")
    assert (await ask(guarded, "GET", "/tenants", Authorization=token))[0] == 200
    await revoke_token(guarded.registry.store, "ci")
    await guarded.until(lambda: not known(guarded, "ci"))
    assert (await ask(guarded, "GET", "/tenants", Authorization=token))[0] == 401


@pytest.mark.parametrize("over", ["stream", "socket"])
@pytest.mark.parametrize("ends", ["revoked", "made anew", "lost its role", "expired"])
async def test_a_stream_ends_with_the_token_it_was_opened_with(guarded: Api, over: str, ends: str) -> None:
    store = guarded.registry.store
    expires = wall_ms() + 700 if ends == "expired" else None
    fields = {"Authorization": await make(guarded, "ci", "read", expires)}
    heard: list[str] = []

    async def listen() -> None:
        nonlocal heard
        if over == "socket":
            async with guarded.session.ws_connect("/api/v1/events", headers=fields) as socket:
                async for message in socket:
                    heard += [message.data]
                assert socket.close_code == 1008
        else:
            async with guarded.session.get("/api/v1/events", headers=fields) as answer:
                assert answer.status == 200
                async for line in answer.content:
                    heard += [line.decode()]

    listening = guarded.tasks.start(listen(), "listener")
    await declared(guarded, "before")
    await guarded.until(lambda: '"before"' in "".join(heard))
    if ends == "expired":
        await guarded.until(lambda: expires is not None and wall_ms() >= expires)
    else:
        await revoke_token(store, "ci")
        if ends != "revoked":
            await make(guarded, "ci", "read" if ends == "made anew" else "none")
        else:
            await guarded.until(lambda: not known(guarded, "ci"))
    await declared(guarded, "after")
    await asyncio.wait_for(asyncio.shield(listening), 10)
    assert '"after"' not in "".join(heard)


async def test_guessing_is_slowed_down(guarded: Api) -> None:
    good = await make(guarded, "good", "read")
    for _ in range(guard.MAX_FAILURES):
        assert (await ask(guarded, "GET", "/tenants", Authorization="Bearer good.x"))[0] == 401
    status, data, headers = await ask(guarded, "GET", "/tenants", Authorization="Bearer good.y")
    assert (status, data["code"]) == (429, "too-many")
    assert 0 < int(headers["Retry-After"]) <= 61
    assert (await ask(guarded, "GET", "/tenants", Authorization=good))[0] == 200, "who is right need not wait"


def test_addresses_are_forgotten_in_their_order_and_their_time() -> None:
    failures = guard.Failures()
    for _ in range(guard.MAX_FAILURES):
        failures.failed("a", 0.0)
    assert failures.wait("a", 10.0) == 50.0
    assert failures.wait("a", 60.0) == 0.0
    for number in range(5000):
        failures.failed(f"b{number}", 1.0)
    assert failures.wait("a", 10.0) == 0.0
    assert len(failures) <= 4096


@pytest.mark.parametrize(
    ("fields", "let_in"),
    [
        ({"Origin": "http://evil.example"}, False),
        ({"Origin": "null"}, False),
        ({"Sec_Fetch_Site": "cross-site"}, False),
        ({"Sec_Fetch_Site": "same-site"}, False),
        ({"Sec_Fetch_Site": "same-origin"}, True),
        ({}, True),
    ],
)
async def test_another_sites_page_changes_nothing(served: Api, fields: dict[str, str], let_in: bool) -> None:  # noqa: FBT001 - a case
    status, data, _ = await ask(served, "POST", "/tenants/acme/wake", **fields)
    if let_in:
        assert status == 202
    else:
        assert (status, data["code"]) == (403, "cross-origin")
        assert (await served.registry.record("acme")).desired.wakes == 0


async def test_another_sites_page_hears_no_events(served: Api) -> None:
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await served.session.ws_connect("/api/v1/events", origin="http://evil.example")
    assert refused.value.status == 403


async def test_what_another_proxy_passes_on_needs_a_token(served: Api) -> None:
    for field in ("Forwarded", "X_Forwarded_For", "Via"):
        status, data, _ = await ask(served, "POST", "/tenants/acme/stop", **{field: "1.1 front"})
        assert (status, data["code"]) == (401, "unauthenticated")


async def test_from_elsewhere_than_loopback_a_token_is_needed(
    open_api: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    api: Api = await open_api(auth="auto")
    monkeypatch.setattr(guard, "is_loopback", lambda address: address != "127.0.0.1")
    assert (await ask(api, "GET", "/tenants"))[0] == 401


async def test_on_loopback_no_token_is_needed_but_a_wrong_one_is_refused(served: Api) -> None:
    assert (await ask(served, "GET", "/tenants"))[0] == 200
    assert (await ask(served, "GET", "/tenants", Authorization="Bearer a.b"))[0] == 401


async def test_readers_do_not_see_what_may_be_a_password(guarded: Api) -> None:
    spec = {"command": ["app"], "env": {"PASSWORD": "hunter2"}}
    await declared(guarded, "secretive", process=spec)
    seen = {}
    for role in ("read", "operate", "admin"):
        token = await make(guarded, role, role)
        _, data, _ = await ask(guarded, "GET", "/tenants/secretive", Authorization=token)
        seen[role] = data["declaration"]["process"]["env"]["PASSWORD"]
        for path in ("/tenants", "/tenants/secretive/explain", "/routes"):
            assert "hunter2" not in str(await ask(guarded, "GET", path, Authorization=token))
    assert seen == {"read": "***", "operate": "***", "admin": "hunter2"}


async def test_changes_are_written_down_and_reads_are_not(guarded: Api, caplog: pytest.LogCaptureFixture) -> None:
    token = await make(guarded, "ci", "operate")
    with caplog.at_level(logging.INFO, "gogeta.audit"):
        await ask(guarded, "GET", "/tenants", Authorization=token)
        await ask(guarded, "POST", "/tenants/acme/wake", Authorization=token)
        await ask(guarded, "POST", "/tenants/acne/wake", Authorization=token)
    said = [record.getMessage() for record in caplog.records if record.name == "gogeta.audit"]
    assert said == [
        "ci (operate) POST '/api/v1/tenants/acme/wake' from 127.0.0.1: 202",
        "ci (operate) POST '/api/v1/tenants/acne/wake' from 127.0.0.1: 404",
    ]
    assert token.partition(".")[2] not in caplog.text


async def test_tokens_are_kept_as_hashes_and_names_are_theirs_alone(served: Api) -> None:
    token = await make(served, "ci", "read")
    secret = token.partition(".")[2]
    for entry in (await served.registry.store.list("/")).entries:
        assert secret.encode() not in entry.value
    with pytest.raises(TokenError, match="already"):
        await add_token(served.registry.store, "ci", Token(role="admin", hash="x"))
    with pytest.raises(TokenError, match="no token 'nobody'"):
        await revoke_token(served.registry.store, "nobody")
    assert list(await list_tokens(served.registry.store)) == ["ci"]


def test_what_a_token_is() -> None:
    secret, kept = make_secret()
    token = Token(role="read", hash=kept)
    assert matches(token, secret, wall_ms())
    assert not matches(token, secret + "x", wall_ms())
    assert not matches(None, "", wall_ms())
    assert not matches(Token(role="read", hash=kept, expires=5), secret, 5)
    assert [is_token_name(name) for name in ("ci", "a-1", "A", "a.b", "-a", "", "a" * 64)] == [True, True] + [False] * 5
