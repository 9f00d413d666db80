"""Virtual time is instant, exact and in order."""

import asyncio
import time

import pytest
import uvloop

from tests.rig.virtual_time import START, NothingWillHappen, VirtualTimeLoop


@pytest.mark.virtual_time
async def test_an_hour_takes_no_time_and_is_exact() -> None:
    loop = asyncio.get_running_loop()
    before = time.monotonic()
    await asyncio.sleep(3600)
    assert loop.time() == START + 3600
    assert time.monotonic() - before < 1


@pytest.mark.virtual_time
async def test_timers_run_in_their_order() -> None:
    seen: list[tuple[str, float]] = []
    loop = asyncio.get_running_loop()

    async def sleeper(name: str, seconds: float) -> None:
        await asyncio.sleep(seconds)
        seen.append((name, loop.time() - START))

    await asyncio.gather(sleeper("late", 30), sleeper("early", 10), sleeper("middle", 20))
    assert seen == [("early", 10), ("middle", 20), ("late", 30)]


@pytest.mark.virtual_time
async def test_a_timeout_cuts_at_its_time() -> None:
    loop = asyncio.get_running_loop()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(7):
            await asyncio.Event().wait()
    assert loop.time() == START + 7


@pytest.mark.virtual_time
async def test_time_stands_still_while_a_thread_works() -> None:
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(0.001):
        await asyncio.to_thread(time.sleep, 0.05)
    assert loop.time() == START


def test_a_wait_for_nothing_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.rig.virtual_time.REAL_WAIT", 0.05)
    loop = VirtualTimeLoop()
    forever = loop.create_future()
    with pytest.raises(NothingWillHappen):
        loop.run_until_complete(forever)
    forever.cancel()
    loop.close()


@pytest.mark.uvloop
async def test_the_uvloop_marker_gives_uvloop() -> None:
    assert isinstance(asyncio.get_running_loop(), uvloop.Loop)


@pytest.mark.any_loop
async def test_any_loop_runs_on_each(request: pytest.FixtureRequest) -> None:
    on_uvloop = isinstance(asyncio.get_running_loop(), uvloop.Loop)
    assert on_uvloop == ("uvloop" in request.node.name)
