"""Only a sure "it is dead" counts."""

import subprocess
import sys
import time

from passivator.process_mark import is_dead, own_mark

PRINT = "from passivator.process_mark import own_mark; print(own_mark(), flush=True); input()"


def test_a_process_that_lives_is_not_dead_and_one_that_ended_is() -> None:
    process = subprocess.Popen([sys.executable, "-c", PRINT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    mark = process.stdout.readline().strip()
    assert mark
    assert not is_dead(mark)
    process.kill()
    deadline = time.monotonic() + 10
    while not is_dead(mark):  # a zombie first: nobody has collected it
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.communicate()
    assert is_dead(mark)


def test_another_process_with_the_same_id_is_another() -> None:
    here, _, started = own_mark().rpartition("/")
    assert not is_dead(own_mark())
    assert is_dead(f"{here}/{int(started) + 1}")


def test_of_another_machine_or_another_namespace_nothing_is_known() -> None:
    boot, namespace, process, started = own_mark().split("/")
    for mark in (
        "",
        "nonsense",
        "a/b/c/d",
        f"another-boot/{namespace}/{process}/1",
        f"{boot}/1/{process}/1",
        f"{boot}/{namespace}/x/{started}",
    ):
        assert not is_dead(mark)
