import asyncio

from gogeta.domain.lifecycle import Desired, Observed
from gogeta.domain.tenant import TenantName
from tests.api.conftest import Api


async def desired(api: Api, wanted: Desired) -> None:
    await api.until(lambda: api.mirror.records[TenantName("acme")].desired.state is wanted)


async def test_wait_ends_when_it_is_so(api: Api) -> None:
    await api.put("acme")
    waking = asyncio.ensure_future(api.call("POST", "/tenants/acme/wake?wait=30"))
    await desired(api, Desired.STARTED)
    await api.observe("acme", Observed.STARTING)
    await api.observe("acme", Observed.STARTED)
    status, data, _ = await waking
    assert (status, data["reached"], data["tenant"]["state"]) == (200, True, "started")


async def test_a_failed_start_and_another_wish_are_told(api: Api) -> None:
    await api.put("acme")
    waking = asyncio.ensure_future(api.call("POST", "/tenants/acme/wake?wait=30"))
    await desired(api, Desired.STARTED)
    await api.observe("acme", Observed.FAILED)
    status, data, _ = await waking
    assert (status, data["code"]) == (409, "failed")
    starting = asyncio.ensure_future(api.call("POST", "/tenants/acme/start?wait=30"))
    await api.until(lambda: api.mirror.records[TenantName("acme")].desired.wakes == 2)
    assert (await api.call("POST", "/tenants/acme/stop"))[0] == 202
    status, data, _ = await starting
    assert (status, data["code"]) == (409, "overtaken")
    status, data, _ = await api.call("POST", "/tenants/acme/wake")
    assert (status, data["code"]) == (409, "refused")
    assert (await api.registry.look_up("acme"))[0].desired.state is Desired.STOPPED


async def test_a_restart_is_a_stop_and_then_a_start(api: Api) -> None:
    await api.put("acme")
    await api.call("POST", "/tenants/acme/start")
    await api.observe("acme", Observed.STARTED)
    restarting = asyncio.ensure_future(api.call("POST", "/tenants/acme/restart?wait=30"))
    await desired(api, Desired.STOPPED)
    status, data, _ = await api.call("POST", "/tenants/acme/restart")
    assert (status, data["code"]) == (409, "overtaken")
    await api.observe("acme", Observed.STOPPING)
    assert (await api.registry.look_up("acme"))[0].desired.state is Desired.STOPPED
    await api.observe("acme", Observed.STOPPED)
    await desired(api, Desired.STARTED)
    await api.observe("acme", Observed.STARTED)
    status, data, _ = await restarting
    assert (status, data["reached"], data["desired"]) == (200, True, "started")


async def test_a_restart_under_way_ends_with_its_start(api: Api) -> None:
    await api.put("acme")
    await api.call("POST", "/tenants/acme/start")
    await api.observe("acme", Observed.STARTED)
    assert (await api.call("POST", "/tenants/acme/restart"))[0] == 202
    assert (await api.registry.look_up("acme"))[0].desired.state is Desired.STOPPED
    await api.tasks.close()
    assert (await api.registry.look_up("acme"))[0].desired.state is Desired.STARTED
