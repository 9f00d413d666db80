"""What the process driver promises beyond the contract: no orphans, limits, a clean environment, bounded output."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from gogeta.domain.state import ReasonCode
from gogeta.domain.tenant import Tenant, read_tenant
from passivator.drivers import process as process_module
from passivator.drivers.base import RuntimeUnavailableError, StartFailedError, Status
from passivator.drivers.process import ProcessDriver
from tests.drivers.worlds import SERVER, fetch, until
from tests.rig.ports import free_port
from tests.rig.programs import ProcessRack

# A tenant that ignores SIGTERM, and a descendant of it that has left its session twice.
RUNAWAY = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.setsid()
        print("descendant", os.getpid(), flush=True)
        time.sleep(3600)
    os._exit(0)
print("tenant", os.getpid(), flush=True)
time.sleep(3600)
"""

# passivator, as far as this matters: it starts two tenants, says who they are, and waits to be killed.
PARENT = """
import asyncio, sys
from pathlib import Path
from gogeta.domain.tenant import read_tenant
from passivator.drivers.process import ProcessDriver

async def main():
    driver = ProcessDriver(Path(sys.argv[1]))
    for name in ("one", "two"):
        command = [sys.executable, "-S", "-c", sys.argv[2]]
        declared = {"name": name, "hosts": [f"{name}.test"], "process": {"command": command}}
        tenant = read_tenant(declared, what="test")
        await driver.start(tenant)
        while "descendant" not in (logged := await driver.logs(tenant)) or "tenant" not in logged:
            await asyncio.sleep(0.01)
        print("pids", " ".join(line.split()[1] for line in logged.splitlines()), flush=True)
    print("pids", driver._guard.pid, flush=True)
    print("ready", flush=True)
    await asyncio.sleep(3600)

asyncio.run(main())
"""


def tenant(name: str = "acme", *command: str, **process: Any) -> Tenant:  # noqa: ANN401  # fields of the declaration
    grace = process.pop("grace", 2.0)
    port = process.pop("port", None)
    declared = {"name": name, "hosts": [f"{name}.test"], "stop_grace": grace, "port": port}
    return read_tenant({**declared, "process": {"command": list(command), **process}}, what="test")


def runaway(name: str = "acme", grace: float = 0.5) -> Tenant:
    return tenant(name, sys.executable, "-S", "-c", RUNAWAY, grace=grace)


def lives(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


async def pids_of(driver: ProcessDriver, who: Tenant) -> list[int]:
    """Of the tenant and its runaway descendant."""

    async def both() -> bool:
        return len((await driver.logs(who)).splitlines()) == 2

    await until(both)
    return [int(line.split()[1]) for line in (await driver.logs(who)).splitlines()]


async def all_gone(pids: list[int], *, within: float = 2.0) -> None:
    await until(lambda: asyncio.sleep(0, not any(lives(pid) for pid in pids)), timeout=within)


async def exited(driver: ProcessDriver, who: Tenant) -> None:
    async def ended() -> bool:
        return (await driver.inspect(who)).status is Status.EXITED

    await until(ended)


async def test_no_process_of_any_tenant_outlives_a_killed_passivator(processes: ProcessRack, tmp_path: Path) -> None:
    parent = processes.python("-c", PARENT, tmp_path / "state", RUNAWAY)
    await asyncio.to_thread(parent.wait_for_line, "^ready$", timeout=20)
    pids = [int(word) for line in parent.stdout().splitlines() if line.startswith("pids") for word in line.split()[1:]]
    assert len(pids) == 5
    assert all(lives(pid) for pid in pids)
    parent.kill()
    await all_gone(pids)


async def test_a_stop_reaches_what_has_left_the_session(process_driver: ProcessDriver) -> None:
    who = runaway()
    await process_driver.start(who)
    pids = await pids_of(process_driver, who)
    stopped = await process_driver.stop(who)
    assert stopped.exit_code == -signal.SIGKILL
    assert not any(lives(pid) for pid in pids)


async def test_the_end_of_the_command_is_the_end_of_what_it_started(process_driver: ProcessDriver) -> None:
    who = runaway()
    await process_driver.start(who)
    pids = await pids_of(process_driver, who)
    os.kill(min(pids), signal.SIGKILL)
    await exited(process_driver, who)
    assert not any(lives(pid) for pid in pids)


async def test_a_killed_guardian_takes_all_with_it_and_another_one_starts(
    process_driver: ProcessDriver, caplog: pytest.LogCaptureFixture
) -> None:
    who = runaway()
    before = await process_driver.start(who)
    pids = await pids_of(process_driver, who)
    guardian = process_driver._guard.pid  # noqa: SLF001  # it is what this test is about
    assert guardian
    async with aclosing(process_driver.events()) as events:
        assert (await anext(events)).name is None
        os.kill(guardian, signal.SIGKILL)
        told = {(await anext(events)).name for _ in range(2)}
    assert told == {None, "acme"}
    await all_gone(pids)
    await exited(process_driver, who)
    assert "guardian" in caplog.text
    after = await process_driver.start(who)
    assert after.status is Status.RUNNING
    assert after.instance != before.instance


async def test_what_a_killed_keeper_leaves_is_ended_by_the_guardian(process_driver: ProcessDriver) -> None:
    who = runaway()
    await process_driver.start(who)
    pids = await pids_of(process_driver, who)
    (keeper,) = (Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1] for pid in [min(pids)])
    os.kill(int(keeper), signal.SIGKILL)
    await all_gone(pids)
    await exited(process_driver, who)
    assert (await process_driver.inspect(who)).exit_code is None
    assert (await process_driver.start(who)).status is Status.RUNNING


async def test_nothing_of_passivators_environment_is_passed_on(
    process_driver: ProcessDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PASSIVATOR_REGISTRY_PASSWORD", "hunter2")
    monkeypatch.setenv("LANG", "C.UTF-8")
    who = tenant("acme", "env", env={"COLOUR": "blue", "PORT": "1"})
    await process_driver.start(who)
    await exited(process_driver, who)
    written = dict(line.split("=", 1) for line in (await process_driver.logs(who)).splitlines())
    port = written.pop("PORT")
    assert 10000 <= int(port) <= 19999
    assert written.pop("COLOUR") == "blue"
    assert set(written) <= {"PATH", "HOME", "LANG"}
    guardian = process_driver._guard.pid  # noqa: SLF001  # its environment can be read by the tenants
    assert b"hunter2" not in Path(f"/proc/{guardian}/environ").read_bytes()


async def test_no_file_of_passivators_is_passed_on(process_driver: ProcessDriver, tmp_path: Path) -> None:
    with (tmp_path / "secret").open("w") as secret:
        os.set_inheritable(secret.fileno(), True)  # noqa: FBT003  # its signature
        who = tenant("acme", "sh", "-c", "ls -l /proc/self/fd")
        await process_driver.start(who)
        await exited(process_driver, who)
    logged = await process_driver.logs(who)
    assert "/dev/null" in logged
    assert "secret" not in logged
    assert "socket" not in logged


async def test_the_port_is_in_its_words_and_in_its_environment(process_driver: ProcessDriver) -> None:
    who = tenant("acme", "sh", "-c", "echo at {port} $PORT; sleep 60")
    port = (await process_driver.start(who)).endpoints[0].port

    async def told() -> bool:
        return await process_driver.logs(who) == f"at {port} {port}"

    await until(told)


async def test_a_declared_port_is_used_and_has_to_be_free(process_driver: ProcessDriver) -> None:
    port = free_port()
    who = tenant("acme", sys.executable, "-S", "-c", SERVER, "{port}", "hello", port=port)
    with socket.create_server(("127.0.0.1", port)), pytest.raises(StartFailedError) as failed:
        await process_driver.start(who)
    assert failed.value.code is ReasonCode.PORT_TAKEN
    for _ in range(2):  # the connections of the first round do not keep the second from starting
        started = await process_driver.start(who)
        assert started.endpoints[0].port == port
        assert await fetch(started.endpoints[0]) == "hello"
        await process_driver.stop(who)


async def test_tenants_never_share_a_port(process_driver: ProcessDriver) -> None:
    started = [await process_driver.start(tenant(f"t{number}", "sleep", "60")) for number in range(8)]
    assert len({runtime.endpoints for runtime in started}) == 8


async def test_memory_is_limited(process_driver: ProcessDriver) -> None:
    who = tenant("acme", sys.executable, "-S", "-c", "print(len(bytes(300_000_000)))", memory="200m")
    await process_driver.start(who)
    await exited(process_driver, who)
    assert "MemoryError" in await process_driver.logs(who)


async def test_open_files_are_limited(process_driver: ProcessDriver) -> None:
    who = tenant("acme", "sh", "-c", "ulimit -n; ulimit -c", open_files=77)
    await process_driver.start(who)
    await exited(process_driver, who)
    assert await process_driver.logs(who) == "77\n0"


async def test_it_runs_in_its_folder_which_has_to_be_there(process_driver: ProcessDriver, tmp_path: Path) -> None:
    who = tenant("acme", "pwd", cwd=str(tmp_path))
    await process_driver.start(who)
    await exited(process_driver, who)
    assert await process_driver.logs(who) == str(tmp_path)
    with pytest.raises(StartFailedError) as failed:
        await process_driver.start(tenant("other", "pwd", cwd=str(tmp_path / "missing")))
    assert failed.value.code is ReasonCode.BAD_SPEC
    assert "missing" in failed.value.message


@pytest.mark.parametrize("command", ["/no/such/program", "no-such-program", "/etc/passwd", "/"])
async def test_what_cannot_be_executed_is_said_at_once(process_driver: ProcessDriver, command: str) -> None:
    with pytest.raises(StartFailedError) as failed:
        await process_driver.start(tenant("acme", command))
    assert failed.value.code is ReasonCode.COMMAND_FAILED
    assert command in failed.value.message
    assert (await process_driver.inspect(tenant("acme", command))).status is Status.EXITED


async def test_output_is_bounded_and_the_last_of_it_kept(
    process_driver: ProcessDriver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process_module, "LOG_LIMIT", 100_000)
    who = tenant("acme", "sh", "-c", "seq 1 100000; echo the end; exit 7")
    await process_driver.start(who)
    await exited(process_driver, who)
    files = sorted((tmp_path / "state").iterdir())
    assert [file.name for file in files] == ["acme.log", "acme.log.1"]
    assert all(file.stat().st_size <= 100_000 for file in files)
    assert (await process_driver.logs(who, 3)).splitlines() == ["99999", "100000", "the end"]
    assert len((await process_driver.logs(who, 5000)).splitlines()) == 5000
    runtime = await process_driver.inspect(who)
    assert runtime.exit_code == 7
    assert runtime.message.endswith("100000\nthe end\n")
    await process_driver.remove(who.name)
    assert list((tmp_path / "state").iterdir()) == []


async def test_who_writes_without_end_is_stopped_all_the_same(process_driver: ProcessDriver) -> None:
    who = tenant("acme", "yes")
    await process_driver.start(who)
    await asyncio.sleep(0.2)
    assert (await process_driver.stop(who)).exit_code == -signal.SIGTERM


async def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    driver = ProcessDriver(tmp_path / "file" / "state")
    with pytest.raises(RuntimeUnavailableError, match="file"):
        await driver.open()
    await driver.close()


async def test_a_stop_by_hand_is_seen_as_a_pause(process_driver: ProcessDriver) -> None:
    who = tenant("acme", "sleep", "60")
    started = await process_driver.start(who)
    os.kill(int(started.instance.partition("-")[0]), signal.SIGSTOP)

    async def paused() -> bool:
        return (await process_driver.inspect(who)).status is Status.PAUSED

    await until(paused)
    assert (await process_driver.start(who)).status is Status.RUNNING


async def test_close_gives_everybody_the_chance_to_end(tmp_path: Path) -> None:
    driver = ProcessDriver(tmp_path)
    who = tenant("acme", "sh", "-c", "trap 'echo farewell; exit 0' TERM; echo up; while :; do sleep 0.02; done")
    await driver.start(who)

    async def up() -> bool:
        return "up" in await driver.logs(who)

    await until(up)
    await driver.close()
    assert (tmp_path / "acme.log").read_text().endswith("farewell\n")
    with pytest.raises(RuntimeUnavailableError):
        await driver.start(who)


@pytest.mark.uvloop
async def test_all_of_it_on_uvloop(process_driver: ProcessDriver) -> None:
    who = tenant("acme", sys.executable, "-S", "-c", SERVER, "{port}", "hello")
    started = await process_driver.start(who)
    assert await fetch(started.endpoints[0]) == "hello"
    await process_driver.pause(who)
    assert (await process_driver.start(who)).instance == started.instance
    assert (await process_driver.stop(who)).exit_code == -signal.SIGTERM
    assert (await process_driver.start(who)).instance != started.instance


async def test_python_is_found_even_where_the_system_has_none_of_that_name(
    process_driver: ProcessDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    who = tenant("acme", "python", "-c", "print('found')")
    await process_driver.start(who)
    await exited(process_driver, who)
    assert "found" in await process_driver.logs(who)


async def test_a_follower_misses_nothing_when_the_log_turns_to_a_new_file(
    process_driver: ProcessDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process_module, "LOG_LIMIT", 4000)
    script = "for i in $(seq 1 2000); do echo line $i; if [ $((i % 100)) = 0 ]; then sleep 0.3; fi; done; printf end"
    who = tenant("acme", "sh", "-c", script)
    await process_driver.start(who)
    heard: list[str] = []
    async with asyncio.timeout(60):
        async for portion in process_driver.follow(who, 10_000):
            heard.extend(portion)
    assert heard == [f"line {number}" for number in range(1, 2001)] + ["end"]
