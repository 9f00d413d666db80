"""Random lives of two tenants under random troubles, on virtual time: what must hold, holds in all of them."""

import asyncio
import contextlib
from dataclasses import dataclass

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gogeta.domain.errors import TransitionRefusedError
from gogeta.domain.lifecycle import Cause, Desired, Observed
from gogeta.domain.state import ReasonCode
from gogeta.domain.tenant import Tenant, TenantName
from gogeta.domain.upstreams import Endpoint
from passivator.drivers.base import Runtime
from tests.passivator.stage import Habit, SimulatedDriver, Stage
from tests.rig.virtual_time import VirtualTimeLoop

IDLE = 20.0
NAMES = ("a", "b")


@dataclass(frozen=True)
class Step:
    what: str
    name: str
    then: float


steps = st.lists(
    st.builds(
        Step,
        st.sampled_from(
            [
                *("wake", "wake", "use", "sleep", "take back", "stop", "start", "crash", "pass"),
                *("kill", "registry away", "registry back", "compact", "lose answers", "runtime away", "runtime back"),
                *("break", "mend"),
            ]
        ),
        st.sampled_from(NAMES),
        st.sampled_from([0.0, 0.01, 0.3, 0.51, 0.7, 1.0, 3.0, 15.0, 40.0]),
    ),
    max_size=40,
)

CAUSES = {
    "wake": Cause.REQUEST,
    "sleep": Cause.SLEEP,
    "take back": Cause.IN_USE,
    "stop": Cause.STOP,
    "start": Cause.START,
}


class WatchedDriver(SimulatedDriver):
    """Checks at every call what must hold at that moment."""

    stage: "WatchedStage"

    async def stop(self, tenant: Tenant) -> Runtime:
        record = await self.stage.record(tenant.name)
        failed_start = record.observed.state is Observed.FAILED and record.observed.reason is not None
        # Not while it serves: the registry said `stopping` before anything was stopped, or it never served at all.
        assert record.observed.state is Observed.STOPPING or failed_start, record.observed
        return await super().stop(tenant)

    async def start(self, tenant: Tenant) -> Runtime:
        assert tenant.name not in self.stage.starting, "two starts at once"
        self.stage.starting.add(tenant.name)
        try:
            return await super().start(tenant)
        finally:
            self.stage.starting.discard(tenant.name)


class WatchedStage(Stage):
    """A stage that remembers uses, and checks judgements."""

    def __init__(self) -> None:
        super().__init__(max_starts=1, retry_limit=5.0)
        self.starting: set[str] = set()
        self.used_at: dict[str, float] = {}
        self.complaints: list[str] = []

    def make_driver(self, kind: str) -> SimulatedDriver:
        driver = WatchedDriver(self.runtime, self.store.faults, kind)
        driver.stage = self
        return driver

    def now(self) -> float:
        return asyncio.get_running_loop().time()

    async def watch_sleeps(self) -> None:
        """Nobody is put to sleep early."""
        seen: dict[str, int] = {}
        changed = asyncio.Event()
        self.space.woken.add(changed)
        while True:
            await changed.wait()
            changed.clear()
            for name, record in (await self.registry.load()).by_name.items():
                fresh = seen.get(name) != record.desired_revision
                seen[name] = record.desired_revision
                silent = self.now() - self.used_at.get(name, 0.0)
                if fresh and record.desired.cause is Cause.IDLE and silent < IDLE - 0.01:
                    self.complaints.append(f"{name} put to sleep after {silent}")

    async def perform(self, step: Step) -> None:  # noqa: C901 - one line for each thing that may happen
        match step.what:
            case "use":
                self.used_at[step.name] = self.now()
                await self.use(step.name)
            case "crash" if self.runtime.running(step.name):
                self.runtime.end(step.name, code=1)
            case "kill":
                await self.kill()
                self.starting.clear()
                await self.up()
            case "registry away":
                self.store.go_away()
            case "registry back":
                self.store.come_back()
            case "compact":
                self.space.compact()
                self.store.cut_watches()
            case "lose answers":
                self.store.answers_to_lose = 2
            case "runtime away" | "runtime back":
                self.runtime.down = step.what == "runtime away"
                self.runtime.tell(None)
            case "break":
                self.runtime.habits[step.name] = Habit(fails=ReasonCode.IMAGE_MISSING)
            case "mend":
                self.runtime.habits[step.name] = Habit()
            case what if what in CAUSES:
                with contextlib.suppress(TransitionRefusedError):
                    change = await self.registry.change_desired(step.name, CAUSES[what])
                    if change.changed and change.desired.state is Desired.STARTED:
                        self.used_at[step.name] = self.now()
        await asyncio.sleep(step.then)


async def live(story: list[Step]) -> None:
    stage = WatchedStage()
    for name in NAMES:
        await stage.declare(name, idle_timeout=f"{IDLE:g}s")
    watching = asyncio.get_running_loop().create_task(stage.watch_sleeps())
    await stage.up()
    try:
        for step in story:
            await stage.perform(step)
        # All troubles end; an operator starts both: in the end both serve, each on its own address.
        stage.store.come_back()
        stage.runtime.down = False
        for name in NAMES:
            stage.runtime.habits[name] = Habit()
            # A new word of an operator, not one that was said before: that is what is tried at once.
            await stage.registry.change_desired(name, Cause.STOP)
            await stage.registry.change_desired(name, Cause.START)
        # As long as a worker at most pauses: what died while nobody could look is found.
        await asyncio.sleep(11)
        seen: set[Endpoint] = set()
        for name in NAMES:
            observed = await stage.until(name, Observed.STARTED, within=60)
            runtime = stage.runtime.look(TenantName(name))
            assert observed.instance == runtime.instance
            assert observed.endpoints == runtime.endpoints
            seen.update(observed.endpoints)
        assert len(seen) == len(NAMES)
        assert not stage.complaints
        assert stage.metric("passivator_faults_total") == 0
        # And with nobody using them, both sleep.
        for name in NAMES:
            await stage.until(name, Observed.STOPPED, within=120)
            assert not stage.runtime.running(name)
        assert not stage.complaints
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        await stage.kill()


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps)
def test_in_every_life_wakes_are_served_sleeps_are_never_early_and_starts_are_single(story: list[Step]) -> None:
    loop = VirtualTimeLoop()
    try:
        loop.run_until_complete(live(story))
        loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        loop.close()
