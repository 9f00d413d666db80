"""The demo on a terminal, live until Ctrl-C, and what it says when something is in its way.

The story is played by test_quick_start.py, in a clean clone.
"""

import os
import pty
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.rig.ports import accepts, free_port
from tests.rig.programs import ProcessRack
from tests.rig.run_folder import RunFolder

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

ROOT = Path(__file__).resolve().parents[2]
DEMO = ROOT / "deploy" / "demo" / "demo.py"


class Terminal:
    """The demo on a terminal of its own, as a person has it."""

    def __init__(self, environment: dict[str, str], *arguments: str) -> None:
        self._screen, inner = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, DEMO, *arguments],
            stdin=inner,
            stdout=inner,
            stderr=inner,
            env={**environment, "TERM": "xterm-256color"},
            start_new_session=True,
        )
        os.close(inner)
        self.text = ""

    def read(self, seconds: float) -> None:
        """Take in what is written within so many seconds, or until the end."""
        if select.select([self._screen], [], [], seconds)[0]:
            try:
                self.text += os.read(self._screen, 65536).decode(errors="replace")
            except OSError:  # the other side is closed
                time.sleep(seconds)

    def wait_for(self, words: str, within: float) -> None:
        """Return as soon as the words are on the screen."""
        deadline = time.monotonic() + within
        while words not in self.text:
            assert time.monotonic() < deadline, f"no {words!r} within {within:g} s:\n{self.text}"
            assert self.process.poll() is None, f"ended with {self.process.returncode}:\n{self.text}"
            self.read(0.1)

    def end(self) -> None:
        """Whatever happened: nothing stays."""
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(20)
        os.close(self._screen)


def test_on_a_terminal_it_serves_on_until_ctrl_c(run_folder: RunFolder) -> None:
    port = free_port()
    terminal = Terminal(run_folder.environment(), "--no-story", "--port", str(port))
    try:
        terminal.wait_for("What happens, live", within=60)
        assert "\x1b[" in terminal.text, "colours on a terminal"
        assert f"http://slow.localhost:{port}/" in terminal.text
        assert "gogeta tenants --registry" in terminal.text
        told = terminal.text
        asked = subprocess.run(
            ["curl", "-sS", "--max-time", "10", "-H", "Host: plain.localhost", f"http://127.0.0.1:{port}/"],
            check=True,
            capture_output=True,
            text=True,
        )
        assert "A plain site" in asked.stdout
        terminal.wait_for("awake (queued", within=5)
        assert "waking (request)" in terminal.text.removeprefix(told)
        terminal.process.send_signal(signal.SIGINT)
        deadline = time.monotonic() + 15
        while terminal.process.poll() is None:
            assert time.monotonic() < deadline, terminal.text
            terminal.read(0.1)
        assert terminal.process.returncode == 0, terminal.text
    finally:
        terminal.end()
    assert not accepts(port)


def test_a_taken_port_is_said_in_one_line(processes: ProcessRack) -> None:
    port = free_port()
    processes.python("-m", "http.server", str(port), "--bind", "127.0.0.1").wait_for_port(port)
    refused = processes.run(sys.executable, DEMO, "--port", port)
    assert refused.returncode == 1
    assert refused.stdout.strip() == f"The demo failed: port {port} is taken"


def test_a_program_that_dies_fails_the_demo_with_its_last_words(processes: ProcessRack) -> None:
    demo = processes.python(DEMO, "--port", free_port())
    demo.wait_for_line("asleep: nothing of it runs")
    children = Path(f"/proc/{demo.pid}/task/{demo.pid}/children").read_text().split()
    gogeta = next(int(pid) for pid in children if b"\0up\0" in Path(f"/proc/{pid}/cmdline").read_bytes())
    os.kill(gogeta, signal.SIGKILL)
    assert demo.wait(timeout=20) == 1
    assert "gogeta has ended by itself" in demo.stdout()
    assert "serving on 127.0.0.1" in demo.stdout(), "its log"
