import asyncio
import contextlib
import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import pytest

from gogeta.domain.lifecycle import Desired, Observed
from gogeta.domain.state import Member, ObservedState, Phase
from gogeta.domain.tenant import read_tenant
from gogeta.domain.upstreams import Endpoint
from gogeta.kit.setting_values import parse_registry
from gogeta.kit.tasks import Tasks
from gogeta.registry.opening import open_store
from gogeta.registry.registry import Registry
from gogeta.settings import RegistrySettings
from tests.rig.ports import free_port
from tests.rig.programs import ProcessRack

T = TypeVar("T")
ACME = read_tenant({"name": "acme", "hosts": ["acme.localhost"], "process": {"command": ["app"]}}, what="test")


def settings(folder: Path) -> RegistrySettings:
    return RegistrySettings(registry=parse_registry(f"embedded:{folder / 'gogeta.db'}"))


async def with_registry(folder: Path, work: Callable[[Registry], Awaitable[T]]) -> T:
    store = open_store(settings(folder))
    try:
        return await work(Registry(store, "test"))
    finally:
        await store.close()


async def pretend(registry: Registry) -> None:
    """A passivator as far as the registry can tell: starts acme once it is asked to, in three phases."""
    while (record := await registry.record("acme")).desired.state is not Desired.STARTED:  # noqa: ASYNC110 - it polls
        await asyncio.sleep(0.02)
    queued, started = Phase("queued", 1.5), Phase("started", 200.0)
    wakes, revision = record.desired.wakes, 0
    for observed in (
        ObservedState(state=Observed.STARTING, wakes=wakes, phase="starting", phases=(queued,)),
        ObservedState(
            state=Observed.STARTING, wakes=wakes, phase="waiting until it is ready", phases=(queued, started)
        ),
        ObservedState(
            state=Observed.STARTED,
            wakes=wakes,
            endpoints=(Endpoint("10.0.0.9", 8080),),
            phases=(queued, started, Phase("ready", 1300.0)),
        ),
    ):
        revision = await registry.observe("acme", observed, revision) or 0
        await asyncio.sleep(0.3)


async def wake_beside(folder: Path, command: Callable[[], str]) -> str:
    async def work(registry: Registry) -> str:
        await registry.apply([ACME])
        async with Tasks("test") as tasks:
            member = Member(kind="passivator", id="test", driver="process")
            tasks.start(registry.announce(member), "announce")
            tasks.start(pretend(registry), "passivator")
            return await asyncio.to_thread(command)

    return await with_registry(folder, work)


async def test_wake_shows_a_line_per_phase_when_piped_then_address_and_total(
    processes: ProcessRack, tmp_path: Path
) -> None:
    def command() -> str:
        done = processes.run("gogeta", "wake", "acme", "--timeout", "20s", cwd=tmp_path)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    out = await wake_beside(tmp_path, command)
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert lines[0] == "acme: waking"
    assert [line for line in lines if line.endswith((" s", " ms"))] == [
        "queued 2 ms",
        "started 200 ms",
        "ready 1.30 s",
    ]
    assert "waiting until it is ready ..." in lines
    assert re.fullmatch(r"acme is up after (\d+ ms|\d\.\d\d s), at 10\.0\.0\.9:8080", lines[-1])
    assert "\x1b" not in out


async def test_wake_for_a_program_is_one_json_value(processes: ProcessRack, tmp_path: Path) -> None:
    def command() -> str:
        done = processes.run("gogeta", "wake", "acme", "-o", "json", cwd=tmp_path)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    data = json.loads(await wake_beside(tmp_path, command))
    assert (data["observed"], data["endpoints"], data["changed"]) == ("started", ["10.0.0.9:8080"], True)
    assert [phase["name"] for phase in data["phases"]] == ["queued", "started", "ready"]


async def test_wake_on_a_terminal_draws_the_phases_live(tmp_path: Path) -> None:
    def command() -> str:
        return on_terminal(tmp_path, "wake", "acme", "--timeout", "20s")

    shown = await wake_beside(tmp_path, command)
    assert "waiting until it is ready" in shown
    words = " ".join(re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown).split())
    assert "ready 1.30 s" in words
    assert re.search(r"acme is up after (\d+ ms|\d\.\d\d s), at 10\.0\.0\.9:8080$", words)


def on_terminal(folder: Path, *arguments: str, **environment: str) -> str:
    """Everything that `gogeta ARGUMENTS` writes to a terminal of its own."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [Path(sys.executable).parent / "gogeta", *arguments],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        cwd=folder,
        env={**os.environ, "TERM": "xterm-256color", "COLUMNS": "100", **environment},
        start_new_session=True,
    ) as command:
        os.close(theirs)
        written = b""
        # Linux tells of the other side's end by an error.
        with contextlib.suppress(OSError):
            while part := os.read(ours, 65536):
                written += part
        command.wait(20)
    os.close(ours)
    return written.decode()


async def _have(folder: Path) -> None:
    async def work(registry: Registry) -> None:
        await registry.apply([ACME])

    await with_registry(folder, work)


async def test_lists_are_coloured_on_a_terminal_and_plain_with_no_color(tmp_path: Path) -> None:
    await _have(tmp_path)
    assert "\x1b[" in await asyncio.to_thread(on_terminal, tmp_path, "tenants")
    plain = await asyncio.to_thread(on_terminal, tmp_path, "tenants", NO_COLOR="1")
    assert "acme" in plain
    assert not re.search(r"\x1b\[[0-9;]*3\dm", plain)
    assert "\x1b" not in await asyncio.to_thread(on_terminal, tmp_path, "tenants", "nobody", NO_COLOR="1")


async def test_exit_statuses_of_real_processes(processes: ProcessRack, tmp_path: Path) -> None:
    await _have(tmp_path)

    def status(*arguments: str) -> int:
        return processes.run("gogeta", *arguments, cwd=tmp_path).returncode

    def all_of_them() -> list[int]:
        return [
            status("tenants"),
            status("tenants", "--nonsense"),
            status("apply", "-f", "nowhere.yaml"),
            status("tenants", "--registry", "embedded:nowhere.db"),
            status("tenants", "nobody"),
            status("stop", "acme"),
            status("wake", "acme"),
            status("start", "acme", "--timeout", "300ms"),
        ]

    assert await asyncio.to_thread(all_of_them) == [0, 2, 2, 3, 4, 0, 5, 6]


async def test_a_reader_that_goes_away_is_no_trouble(processes: ProcessRack, tmp_path: Path) -> None:
    await _have(tmp_path)
    program = Path(sys.executable).parent / "gogeta"
    for command in (f"{program} tenants -o json | true", f"{program} tenants >&-", f"{program} --help >/dev/full"):
        done = await asyncio.to_thread(processes.run, "sh", "-c", command, cwd=tmp_path)
        assert "Traceback" not in done.stderr
        assert "mistake in the program" not in done.stderr


async def test_ctrl_c_while_waiting_ends_quietly(processes: ProcessRack, tmp_path: Path) -> None:
    await _have(tmp_path)

    def interrupted() -> tuple[int, str]:
        waiting = processes.start("gogeta", "wake", "acme", cwd=tmp_path)
        waiting.wait_for_line("no passivator is running")
        waiting.signal(signal.SIGINT)
        return waiting.wait(), waiting.stderr()

    status, err = await asyncio.to_thread(interrupted)
    assert status == 130
    assert err.splitlines()[-1] == "error: interrupted"


async def test_flag_environment_and_file_name_the_registry_in_that_order(
    processes: ProcessRack, tmp_path: Path
) -> None:
    await _have(tmp_path)
    (tmp_path / "gogeta.toml").write_text('[gogeta]\nregistry = "embedded:file.db"\n[passivator]\ndriver = "docker"\n')

    def told(*arguments: str, **environment: str) -> str:
        return processes.run("gogeta", "tenants", *arguments, cwd=tmp_path, env=environment).stderr

    def all_of_them() -> list[str]:
        return [
            told("--config", "gogeta.toml"),
            told(GOGETA_CONFIG="gogeta.toml", GOGETA_REGISTRY="embedded:environment.db"),
            told("--registry", "embedded:flag.db", GOGETA_CONFIG="gogeta.toml", GOGETA_REGISTRY="embedded:e.db"),
        ]

    shown = await asyncio.to_thread(all_of_them)
    assert [text.splitlines()[0] for text in shown] == [
        f"error: there is no registry {name}" for name in ("file.db", "environment.db", "flag.db")
    ]


@pytest.mark.parametrize("command", ["serve", "up"])
def test_a_wrong_setting_starts_nothing(processes: ProcessRack, tmp_path: Path, command: str) -> None:
    (tmp_path / "gogeta.toml").write_text("[gogeta]\nlistn = ':80'\n")
    done = processes.run("gogeta", command, "--workers", "0", "--config", "gogeta.toml", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "error: gogeta.toml: line 2: listn is not a setting in [gogeta]; did you mean 'listen'?",
        "error: --workers: expected a whole number from 1 to 256, not '0'",
    ]
    assert not (tmp_path / "gogeta.db").exists()


def test_up_takes_the_controllers_settings_from_its_own_table_and_checks_them(
    processes: ProcessRack, tmp_path: Path
) -> None:
    (tmp_path / "gogeta.toml").write_text("[passivator]\ndriver = 'dcoker'\nadmin = ':1'\n")
    done = processes.run("gogeta", "up", "--config", "gogeta.toml", cwd=tmp_path, env={"GOGETA_MAX_STARTS": "0"})
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "error: gogeta.toml: line 2: expected docker or process, not 'dcoker'",
        "error: GOGETA_MAX_STARTS: expected a whole number from 1 to 1000, not '0'",
    ]


def test_up_with_a_bad_file_starts_nothing(processes: ProcessRack, tmp_path: Path) -> None:
    port = free_port()
    (tmp_path / "tenants.yaml").write_text(
        f"tenants:\n  - name: out\n    hosts: [out.localhost]\n    upstreams: ['http://127.0.0.1:{port}']\n"
    )
    done = processes.run("gogeta", "up", "--listen", f"127.0.0.1:{port}", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert f"tenants.yaml:4:17: tenants[0].upstreams[0]: 127.0.0.1:{port} is refused" in done.stderr
    assert "one of gogeta's own listeners" in done.stderr


@pytest.mark.e2e
def test_up_serves_the_tenants_of_the_file_there_and_says_where(processes: ProcessRack, tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "index.html").write_text("hello from acme")
    (tmp_path / "tenants.yaml").write_text(
        'tenants:\n  - name: acme\n    hosts: [acme.localhost, "*.acme.localhost"]\n'
        '    process: {command: [python3, -m, http.server, "{port}"], cwd: site}\n'
    )
    port, admin = free_port(), free_port()
    running = processes.start(
        "gogeta", "up", "--listen", f"127.0.0.1:{port}", "--admin", f"127.0.0.1:{admin}", cwd=tmp_path
    )
    running.wait_for_line(r"Stop: Ctrl-C", timeout=20)
    assert f"http://acme.localhost:{port}/  acme" in running.stdout()
    assert f"Admin: http://127.0.0.1:{admin}/" in running.stdout()

    request = urllib.request.Request(f"http://127.0.0.1:{port}/", headers={"Host": "acme.localhost"})
    with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310 - our own listener
        assert response.read() == b"hello from acme"
    assert "started" in processes.run("gogeta", "tenants", cwd=tmp_path).stdout
    done = processes.run("gogeta", "sleep", "acme", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert processes.run("gogeta", "wake", "acme", cwd=tmp_path).returncode == 0

    began = time.monotonic()
    running.signal(signal.SIGINT)
    assert running.wait(timeout=20) == 0
    assert time.monotonic() - began < 15
