"""The live copy: whole, without gaps, honest about being behind. On virtual time."""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator

import pytest

from gogeta.domain.lifecycle import Desired
from gogeta.domain.state import DesiredState, TenantRecord
from gogeta.domain.tenant import TenantName, read_tenant
from gogeta.kit.clock import monotonic
from gogeta.registry import keys
from gogeta.registry.codec import encode
from gogeta.registry.memory import SILENCE, MemorySpace, MemoryStore
from gogeta.registry.mirror import TenantMirror
from gogeta.registry.registry import Registry
from gogeta.registry.store import Changes, Put, RegistryRefusedError

pytestmark = pytest.mark.virtual_time

ACME = read_tenant({"name": "acme", "hosts": ["acme.example"], "process": {"command": ["run"]}}, what="test")


class Scene:
    """A writer, a mirror with troubles of its own, and what a subscriber was told."""

    def __init__(self) -> None:
        self.space = MemorySpace()
        self.writer = MemoryStore(self.space)
        self.registry = Registry(self.writer, "test")
        self.reader = MemoryStore(self.space)
        self.mirror = TenantMirror(self.reader)
        self.told: list[tuple[TenantName, TenantRecord | None, TenantRecord | None]] = []
        self.unsubscribe = self.mirror.subscribe(lambda *event: self.told.append(event))

    async def desire(self, state: Desired, wakes: int = 0) -> None:
        await self.writer.commit([Put(keys.desired_key("acme"), encode(DesiredState(state=state, wakes=wakes)))])

    def desired(self) -> DesiredState:
        return self.mirror.records[TenantName("acme")].desired

    def stale_since(self) -> float | None:
        return self.mirror.source.stale_since

    def stale(self) -> bool:
        return self.mirror.source.stale


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    scene = Scene()
    await scene.registry.apply([ACME])
    running = asyncio.create_task(scene.mirror.source.run())
    await scene.mirror.source.wait_synced()
    await asyncio.sleep(0.01)
    yield scene
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_the_copy_is_whole_and_follows_every_change(scene: Scene) -> None:
    assert not scene.mirror.source.stale
    assert [(name, before is None) for name, before, _ in scene.told] == [("acme", True)]
    await scene.desire(Desired.STARTED)
    await asyncio.sleep(0.01)
    assert scene.desired().state is Desired.STARTED
    name, before, after = scene.told[-1]
    assert before is not None
    assert after is not None
    assert (name, before.desired.state, after.desired.state) == ("acme", Desired.PASSIVATED, Desired.STARTED)
    await scene.registry.remove("acme")
    await asyncio.sleep(0.01)
    assert scene.mirror.records == {}
    assert scene.told[-1][2] is None
    assert scene.mirror.source.revision == scene.space.revision


async def test_one_commit_of_two_keys_is_told_and_unsubscribing_ends_it(scene: Scene) -> None:
    count = len(scene.told)
    scene.unsubscribe()
    await scene.desire(Desired.STARTED)
    await asyncio.sleep(0.01)
    assert len(scene.told) == count
    assert scene.desired().state is Desired.STARTED


async def test_an_outage_leaves_the_copy_as_it_was_and_is_caught_up(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    began = monotonic()
    scene.reader.go_away()
    await scene.desire(Desired.STARTED)
    await asyncio.sleep(30)
    source = scene.mirror.source
    stale_since = scene.stale_since()
    assert stale_since is not None
    assert stale_since - began < 1
    assert scene.stale()
    assert scene.desired().state is Desired.PASSIVATED
    scene.reader.come_back()
    await asyncio.sleep(3.5)
    assert scene.stale_since() is None
    assert scene.desired().state is Desired.STARTED
    assert source.resyncs == 1, "it went on where it was"
    warnings = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 2, "one for the outage, one for its end"
    assert "answers again after 3" in warnings[1]


async def test_a_watch_that_turned_silent_is_found_out(scene: Scene) -> None:
    scene.reader.silence_watches()
    await scene.desire(Desired.STARTED)
    await asyncio.sleep(1)
    assert scene.desired().state is Desired.PASSIVATED
    await asyncio.sleep(SILENCE)
    assert scene.desired().state is Desired.STARTED
    assert scene.mirror.source.resyncs == 1


async def test_compaction_while_away_leads_to_a_new_listing(scene: Scene) -> None:
    scene.reader.go_away()
    await scene.registry.remove("acme")
    other = read_tenant({"name": "other", "hosts": ["other.example"], "process": {"command": ["run"]}}, what="test")
    await scene.registry.apply([other])
    scene.space.compact()
    scene.reader.come_back()
    await asyncio.sleep(3.5)
    assert list(scene.mirror.records) == ["other"]
    assert scene.mirror.source.resyncs == 2
    assert {(name, after is None) for name, _, after in scene.told[1:]} == {("acme", True), ("other", False)}
    assert not scene.mirror.source.stale


async def test_what_cannot_be_read_is_reported_once_and_the_last_good_value_stays(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    await scene.desire(Desired.STARTED, wakes=1)
    for _ in range(3):
        await scene.writer.commit([Put(keys.desired_key("acme"), b"garbage")])
        await asyncio.sleep(0.01)
    assert scene.desired().wakes == 1
    assert list(scene.mirror.quarantine) == [keys.desired_key("acme")]
    reports = [record.message for record in caplog.records if "skipped" in record.message]
    assert len(reports) == 1
    assert keys.desired_key("acme") in reports[0]
    await scene.desire(Desired.STARTED, wakes=2)
    await asyncio.sleep(0.01)
    assert scene.mirror.quarantine == {}
    assert scene.desired().wakes == 2


async def test_access_keys_are_not_mirrored(scene: Scene) -> None:
    count = len(scene.told)
    await scene.writer.commit([Put(keys.access_key("acme"), b"{}")])
    await asyncio.sleep(0.01)
    assert len(scene.told) == count


async def test_a_watch_that_is_refused_again_and_again_does_not_list_in_a_hurry(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(prefix: str, after: int) -> AsyncGenerator[Changes, None]:
        if prefix:
            raise RegistryRefusedError("not allowed")
        yield Changes(after, ())

    monkeypatch.setattr(scene.reader, "watch", refuse)
    scene.reader.cut_watches()
    await asyncio.sleep(60)
    assert scene.stale_since() is not None
    assert scene.mirror.source.resyncs < 40
    monkeypatch.undo()
    await asyncio.sleep(3.5)
    assert scene.stale_since() is None
