"""What keeps a tenant awake besides use is read from its declaration and from what passivator wrote, and told once."""

from gogeta.domain.lifecycle import Cause, Observed
from gogeta.domain.state import ObservedState
from gogeta.domain.tenant import read_tenant
from gogeta.domain.upstreams import Endpoint
from gogeta.domain.wakefulness import AwakeReason, Keeps
from gogeta.registry.explaining import explained
from gogeta.registry.memory import MemoryStore
from gogeta.registry.registry import Registry


async def test_hours_and_vetoes_are_told_once_each() -> None:
    registry = Registry(MemoryStore(), "test/1")
    always: dict[str, object] = {"hours": ["mon-sun 00:00-12:00", "mon-sun 12:00-24:00"], "zone": "UTC"}
    declared = {
        "name": "acme",
        "hosts": ["a.test"],
        "process": {"command": ["run"]},
        "awake": always,
        "busy": {"path": "/busy"},
    }
    await registry.apply([read_tenant(declared, what="test")])
    await registry.change_desired("acme", Cause.WAKE)
    await registry.observe("acme", ObservedState(state=Observed.STARTED, endpoints=(Endpoint("127.0.0.1", 1),)), 0)
    hours = AwakeReason(Keeps.HOURS, "its hours are on")
    await registry.note_vetoes("acme", (hours, AwakeReason(Keeps.BUSY, "/busy says it is busy")))
    told = await explained(registry, "acme")
    assert [text.partition(" (")[0] for text in told["because"]] == ["its hours keep it awake", "/busy says it is busy"]
    assert "does not sleep" in told["sentence"]
    assert any("kept awake in its hours" in line for line in told["policy"])
    assert any("/busy answers 200" in line for line in told["policy"])
    await registry.note_vetoes("acme", ())
    assert len((await explained(registry, "acme"))["because"]) == 1
