import asyncio
import json
import re
from typing import Any

import pytest

from tests.api.conftest import ACME, Api, Opener
from tests.rig.etcd import EtcdServer


async def test_a_tenant_lives_by_the_api(api: Api) -> None:
    status, made, headers = await api.put("acme")
    assert (status, headers["Location"]) == (201, "/api/v1/tenants/acme")
    assert (made["state"], made["declaration"]) == ("passivated", {"name": "acme", **ACME})
    tag = headers["ETag"]
    assert (await api.call("GET", "/tenants/acme", headers={"If-None-Match": tag}))[0] == 304

    status, data, headers = await api.put("acme", {**ACME, "idle_timeout": "5m"}, If_Match=tag)
    assert (status, data["declaration"]["idle_timeout"]) == (200, 300.0)
    assert headers["ETag"] != tag
    assert (await api.call("GET", "/tenants/acme", headers={"If-None-Match": tag}))[0] == 200

    patch: dict[str, Any] = {"idle_timeout": None, "process": {"env": {"B": "c"}}}
    status, data, _ = await api.call("PATCH", "/tenants/acme", json=patch, headers={"If-Match": headers["ETag"]})
    assert status == 200
    assert "idle_timeout" not in data["declaration"]
    assert data["declaration"]["process"]["env"] == {"SECRET": "x", "B": "c"}

    assert (await api.call("DELETE", "/tenants/acme", headers={"If-Match": tag}))[0] == 412
    assert (await api.call("DELETE", "/tenants/acme"))[0] == 204
    assert (await api.call("GET", "/tenants/acme"))[0] == 404


async def test_a_change_of_state_is_nobodys_edit(api: Api) -> None:
    _, _, headers = await api.put("acme")
    assert (await api.call("POST", "/tenants/acme/wake"))[0] == 202
    assert (await api.call("GET", "/tenants/acme", headers={"If-None-Match": headers["ETag"]}))[0] == 200
    status, _, _ = await api.put("acme", {**ACME, "idle_timeout": 60}, If_Match=headers["ETag"])
    assert status == 200


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({}, 428, "precondition-required"),
        ({"If_Match": '"999999"'}, 412, "precondition-failed"),
        ({"If_Match": "W/TAG"}, 412, "precondition-failed"),
        ({"If_None_Match": "*"}, 412, "precondition-failed"),
        ({"If_None_Match": '"1"'}, 400, "bad-request"),
        ({"If_Match": "1.2.3"}, 400, "bad-request"),
        ({"If_Match": '"1" "2"'}, 400, "bad-request"),
        ({"If_Match": "TAG", "If_None_Match": "*"}, 400, "bad-request"),
        ({"If_Match": "*", "Origin": "http://evil.example"}, 403, "cross-origin"),
    ],
)
async def test_a_condition_that_does_not_hold_changes_nothing(
    api: Api, headers: dict[str, str], status: int, code: str
) -> None:
    _, before, made = await api.put("acme")
    given = {key: value.replace("TAG", made["ETag"]) for key, value in headers.items()}
    found, data, _ = await api.put("acme", {**ACME, "idle_timeout": 1}, **given)
    assert (found, data["code"]) == (status, code)
    assert (await api.call("GET", "/tenants/acme"))[1] == before


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ("{", 400, "not JSON"),
        ("[" * 5000, 400, "JSON|nested"),
        ('{"hosts": ["a"], "hosts": ["b"]}', 400, "'hosts' stands twice"),
        ('{"idle_timeout": NaN}', 400, "NaN is no JSON number"),
        ('{"hosts": ["\\ud800"]}', 400, "not JSON"),
        (b"\xff", 400, "not JSON"),
        ("[]", 422, "expected an object"),
        ("{}", 422, "hosts: is missing"),
        ('{"hosts": ["a.test"]}', 422, "exactly one of docker, process and upstreams"),
        ('{"hosts": ["a.test"], "proces": {}}', 422, "did you mean 'process'"),
        ('{"name": "other", "hosts": ["a.test"], "upstreams": ["http://10.0.0.1:1"]}', 422, "as the path says"),
        ('{"hosts": ["a.test"], "process": {"command": ["a"], "cwd": "site"}}', 422, "process.cwd: .*absolute"),
        ('{"hosts": ["a.test"], "upstreams": ["http://127.0.0.1:2379"]}', 422, r"upstreams\[0\]: .*the registry"),
        ('{"hosts": ["taken.test"], "upstreams": ["http://10.0.0.1:1"]}', 409, "already claimed by tenant 'first'"),
        ('{"hosts": ["a.test"], "pad": "' + "x" * 140_000 + '"}', 413, "larger than"),
    ],
)
async def test_a_bad_body_is_named_and_changes_nothing(api: Api, body: str | bytes, status: int, words: str) -> None:
    await api.put("first", {"hosts": ["taken.test"], "upstreams": ["http://10.0.0.1:1"]})
    generation = await api.registry.store.get("/gogeta/v1/generation")
    headers = {"Content-Type": "application/json"}
    found, data, _ = await api.call("PUT", "/tenants/acme", data=body, headers=headers)
    assert found == status
    assert re.search(words, data["detail"])
    assert await api.registry.store.get("/gogeta/v1/generation") == generation


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/tenants/acne", 404, "no-such-tenant"),
        ("GET", "/tenants/no%20name!/explain", 404, "no-such-tenant"),
        ("GET", "/tenants/acne/timeline", 404, "no-such-tenant"),
        ("PATCH", "/tenants/acne", 415, "unsupported-media-type"),
        ("PUT", "/tenants/acme", 415, "unsupported-media-type"),
        ("DELETE", "/tenants/acne", 404, "no-such-tenant"),
        ("POST", "/tenants/acme", 405, "method-not-allowed"),
        ("PUT", "/tenants", 405, "method-not-allowed"),
        ("GET", "/nothing", 404, "not-found"),
        ("GET", "/tenants/acme/", 404, "not-found"),
        ("GET", "/tenants?stat=failed", 400, "invalid-query"),
        ("GET", "/tenants?state=broken", 400, "invalid-query"),
        ("GET", "/tenants?limit=0", 400, "invalid-query"),
        ("GET", "/tenants?limit=1001", 400, "invalid-query"),
        ("GET", "/tenants?sort=size", 400, "invalid-query"),
        ("GET", "/tenants?cursor=%2F%2F", 400, "invalid-query"),
        ("GET", "/tenants?q=a&q=b", 400, "invalid-query"),
        ("GET", "/tenants/acme?x=1", 400, "invalid-query"),
        ("POST", "/tenants/acne/wake", 404, "no-such-tenant"),
        ("POST", "/tenants/acme/wake?wait=soon", 400, "invalid-query"),
        ("POST", "/tenants/acme/wake?wait=301", 400, "invalid-query"),
        ("POST", "/tenants/acme/jump", 404, "not-found"),
        ("POST", "/tenants/routed/stop", 409, "routed-only"),
        ("GET", "/events?last_event_id=x", 400, "invalid-query"),
        ("GET", "/events/ws", 400, "bad-request"),
    ],
)
async def test_what_is_wrong_has_a_code(api: Api, method: str, path: str, status: int, code: str) -> None:
    await api.put("acme")
    await api.put("routed", {"hosts": ["r.test"], "upstreams": ["http://10.0.0.1:1"]})
    before = (await api.call("GET", "/tenants"))[1]
    found, data, headers = await api.call(method, path)
    assert (found, data["code"]) == (status, code)
    assert (status == 405) == ("Allow" in headers)
    assert (await api.call("GET", "/tenants"))[1] == before


async def test_pages_meet_every_tenant_once_while_others_come_and_go(api: Api) -> None:
    for number in range(7):
        await api.put(f"t{number}", {"hosts": [f"t{number}.test"], "upstreams": ["http://10.0.0.1:1"]})
    met, cursor = [], ""
    while True:
        _, page, _ = await api.call("GET", f"/tenants?sort=-name&limit=2{cursor}")
        met += [item["name"] for item in page["items"]]
        if page["next"] is None:
            break
        if len(met) == 2:
            await api.call("DELETE", "/tenants/t5")
            await api.put("t9", {"hosts": ["t9.test"], "upstreams": ["http://10.0.0.1:1"]})
        cursor = "&cursor=" + page["next"]
    assert met == ["t6", "t5", "t4", "t3", "t2", "t1", "t0"]
    assert (await api.call("GET", "/tenants?q=T1.te"))[1]["total"] == 1
    assert (await api.call("GET", "/tenants?state=failed,started"))[1]["items"] == []
    assert (await api.call("GET", "/tenants?sort=name&cursor=" + cursor.removeprefix("&cursor=")))[0] == 400
    _, routes, _ = await api.call("GET", "/routes?q=t9")
    assert [(item["host"], item["tenant"]) for item in routes["items"]] == [("t9.test", "t9")]


@pytest.mark.parametrize("kind", ["embedded", pytest.param("etcd", marks=pytest.mark.etcd)])
async def test_two_people_never_overwrite_each_other(
    open_api: Opener, kind: str, request: pytest.FixtureRequest
) -> None:
    where = []
    if kind == "etcd":
        server: EtcdServer = request.getfixturevalue("etcd")
        where = [server.registry_url]
    first: Api = await open_api(*where)
    second: Api = await open_api(*where)
    # All who create at once: one does.
    made = await asyncio.gather(*(each.put("acme", If_None_Match="*") for each in (first, second) * 4))
    assert sorted(status for status, _, _ in made) == [201] + [412] * 7
    # Each adds their word to what they read, and repeats it when told that it was changed: nobody's word is lost.
    words = [f"W{number}" for number in range(8)]

    async def add(api: Api, word: str) -> int:
        refused = 0
        while True:
            _, data, headers = await api.call("GET", "/tenants/acme")
            wanted = json.loads(json.dumps(data["declaration"]))
            wanted["process"]["env"][word] = "1"
            status, _, _ = await api.put("acme", wanted, If_Match=headers["ETag"])
            if status == 200:
                return refused
            assert status in (412, 503)
            refused += 1

    refused = await asyncio.gather(*(add((first, second)[place % 2], word) for place, word in enumerate(words)))
    _, data, _ = await first.call("GET", "/tenants/acme")
    assert set(data["declaration"]["process"]["env"]) == {"SECRET", *words}
    assert sum(refused), "nobody ever met anybody: this proved nothing"
