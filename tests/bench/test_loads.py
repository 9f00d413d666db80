"""What the loads and backends of ``bench forward`` understand of HTTP, and what is read of /proc."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterable

import pytest

from bench.backends.echo import Echo
from bench.backends.sink import Sink
from bench.cores import choose_cores, pinned
from bench.frames import CLIENT_FRAME, SERVER_FRAME
from bench.head import SAME, VARIED, browser_head, plain_head
from bench.loads.answers import Answers
from bench.usage import forget_peak, peak, resident, tree, usage
from tests.net.talk import until
from tests.rig.programs import ProcessRack

HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n"


class Written(asyncio.Transport):
    """What a protocol has written."""

    def __init__(self) -> None:
        super().__init__()
        self.data = b""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.data += data


def bytewise(data: bytes) -> Iterable[bytes]:
    return (data[at : at + 1] for at in range(len(data)))


def test_the_head_is_a_browsers() -> None:
    head = plain_head()
    assert 500 < len(head) < 700
    assert len(head.strip().split(b"\r\n")) == 10
    assert b"{" not in head
    assert browser_head(VARIED).count("{n}") == 3
    assert browser_head(SAME).startswith("GET / HTTP/1.1\r\nHost: bench.localhost\r\n")


def test_answers_are_counted_wherever_the_bytes_are_split() -> None:
    stream = (HEAD + b"abc") * 2 + HEAD.replace(b"3", b"0") + HEAD
    assert Answers().fed(stream) == 3
    answers = Answers()
    assert sum(answers.fed(byte) for byte in bytewise(stream)) == 3
    assert answers.fed(b"abcHTTP") == 1
    for wrong in (HEAD.replace(b"200", b"502"), b"HTTP/1.1 200 OK\r\n\r\n"):
        with pytest.raises(ValueError, match="answered with"):
            Answers().fed(wrong)


@pytest.mark.parametrize(
    ("request_bytes", "size"),
    [
        (b"PUT / HTTP/1.1\r\nContent-Length: 5\r\n\r\n" + bytes(5), 5),
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", 0),
        (b"PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n" + bytes(5) + b"\r\n0\r\n\r\n", None),
        (b"PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", None),
    ],
    ids=["length", "none", "chunked", "empty"],
)
def test_the_sink_answers_when_the_body_is_whole(request_bytes: bytes, size: int | None) -> None:
    for parts in ([request_bytes], bytewise(request_bytes)):
        transport, sink = Written(), Sink()
        sink.connection_made(transport)
        for _ in range(2):
            before = transport.data
            for part in parts if isinstance(parts, list) else bytewise(request_bytes):
                assert transport.data == before, "not before all of it is there"
                sink.get_buffer(-1)[: len(part)] = part
                sink.buffer_updated(len(part))
            assert transport.data.count(b"200 OK") == before.count(b"200 OK") + 1
        if size is not None:
            assert transport.data.endswith(b"\r\n\r\n%d" % size)


def test_the_echo_shakes_hands_and_answers_whole_messages() -> None:
    shake = (
        b"GET / HTTP/1.1\r\nUpgrade: websocket\r\nConnection: upgrade\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    for parts in ([shake, CLIENT_FRAME, CLIENT_FRAME], [shake + CLIENT_FRAME * 2], bytewise(shake + CLIENT_FRAME * 2)):
        transport, echo = Written(), Echo()
        echo.connection_made(transport)
        for part in parts:
            echo.data_received(part)
        head, _, messages = transport.data.partition(b"\r\n\r\n")
        # The key and its answer are the example of RFC 6455, section 1.3.
        assert b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in head
        assert messages == SERVER_FRAME * 2


BURNS_IN_A_CHILD = """
import subprocess, sys, time
work = "import sys; sum(range(40_000_000)); sys.stdin.read()"
child = subprocess.Popen([sys.executable, "-c", work], stdin=subprocess.PIPE)
print("started", flush=True)
time.sleep(60)
"""


async def test_usage_is_that_of_the_whole_tree(processes: ProcessRack) -> None:
    parent = processes.python("-c", BURNS_IN_A_CHILD)
    parent.wait_for_line("started")
    await until(lambda: usage(parent.pid).cpu > 0.2, limit=20)
    [own, child] = tree(parent.pid)
    assert own == parent.pid

    def the_child_did_the_work() -> bool:
        each = usage(parent.pid).each
        return each[child] > each[own]

    await until(the_child_did_the_work, limit=20)
    assert resident(parent.pid) > resident(child) > 1e6
    assert peak(parent.pid) >= resident(parent.pid) * 0.9
    forget_peak(parent.pid)
    assert peak(parent.pid) > 1e6


def test_a_process_that_is_gone_has_no_usage() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        pass
    assert tree(ended.pid) == []
    with pytest.raises(ProcessLookupError):
        usage(ended.pid)


def test_what_is_started_pinned_runs_there_and_nothing_else_does() -> None:
    before = os.sched_getaffinity(0)
    cores = choose_cores()
    assert cores.proxy | cores.others == before
    assert (len(before) > 1) == cores.alone == (not cores.proxy & cores.others)
    with pinned(cores.proxy):
        told = subprocess.run(
            [sys.executable, "-c", "import os; print(os.sched_getaffinity(0))"], capture_output=True, check=True
        )
    assert told.stdout.decode().strip() == str(set(cores.proxy))
    assert os.sched_getaffinity(0) == before
