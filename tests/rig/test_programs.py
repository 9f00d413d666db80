"""Child processes are started, watched and ended as documented."""

import signal
import sys

import pytest

from tests.rig.ports import free_port
from tests.rig.programs import ProcessRack, ProgramFailed
from tests.rig.run_folder import RunFolder, marked_processes


def test_a_server_is_waited_for_and_ends_on_sigterm(processes: ProcessRack) -> None:
    port = free_port()
    server = processes.python("-m", "http.server", port, "--bind", "127.0.0.1")
    server.wait_for_port(port)
    server.wait_for_line("Serving HTTP")
    server.terminate()
    assert server.wait() == -signal.SIGTERM


def test_a_program_is_run_to_its_end(processes: ProcessRack) -> None:
    done = processes.run(sys.executable, "-c", "import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)")
    assert (done.returncode, done.stdout, done.stderr) == (3, "out\n", "err\n")


def test_a_program_that_dies_unasked_fails_the_test(run_folder: RunFolder) -> None:
    rack = ProcessRack(run_folder)
    program = rack.python("-c", "print('last words')")
    with pytest.raises(ProgramFailed, match="ended before it wrote"):
        program.wait_for_line("never written")
    with pytest.raises(ProgramFailed, match=r"(?s)ended unasked.*last words"):
        rack.end()


def test_a_traceback_fails_the_test(run_folder: RunFolder) -> None:
    rack = ProcessRack(run_folder)
    rack.run(sys.executable, "-c", "1 / 0")
    with pytest.raises(ProgramFailed, match=r"(?s)left a traceback.*ZeroDivisionError"):
        rack.end()


def test_nothing_of_a_rack_stays(run_folder: RunFolder) -> None:
    before = set(marked_processes(run_folder.path))
    rack = ProcessRack(run_folder)
    program = rack.python(
        "-c",
        "import signal, subprocess, sys; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        "subprocess.Popen(['sleep', '1000']); print('ready', flush=True); signal.pause()",
    )
    program.wait_for_line("ready")
    program.kill()
    orphans = set(marked_processes(run_folder.path)) - before
    assert len(orphans) == 1
    rack.end()
    assert not orphans & set(marked_processes(run_folder.path))
