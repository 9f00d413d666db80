"""The access log on real files and pipes, by itself and behind the proxy."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import resource
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from gogeta.core.access_record import Ending, RecordFormat
from gogeta.net.access_log import AccessLog, AccessLogError, access_log_of, check_access_log
from gogeta.settings import ServeSettings
from tests.net.log_writer import note
from tests.net.stage import Stage, stage
from tests.net.talk import OK, App, get, post, until

JSON = RecordFormat("json", query=False)


def wait_for(condition: Callable[[], object], limit: float = 10.0) -> None:
    """Wait until a thread has made something so."""
    give_up = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.005)


def lines(path: Path) -> list[dict[str, Any]]:
    """What stands in a log."""
    return [json.loads(line) for line in path.read_text(encoding="ascii").splitlines()]


@contextlib.contextmanager
def logging(path: Path, **more: Any) -> Iterator[AccessLog]:  # noqa: ANN401 - as AccessLog's
    """An access log that is written."""
    log = AccessLog(str(path), JSON, **more)
    log.start()
    try:
        yield log
    finally:
        log.close()


# By itself.


def test_what_is_noted_is_written_soon_and_in_order(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    with logging(path) as log:
        for number in range(1000):
            note(log, b"%d" % number)
        wait_for(lambda: log.written == 1000)
        assert [line["request_id"] for line in lines(path)] == [str(number) for number in range(1000)]
    assert (log.dropped, log.failures) == (0, 0)
    assert path.stat().st_mode & 0o777 == 0o640 & ~os.umask(os.umask(0o022))


def test_times_are_those_of_the_wall(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    before = time.time()
    with logging(path) as log:
        note(log, b"1", ended=time.monotonic())
    at = datetime.fromisoformat(lines(path)[0]["time"]).timestamp()
    assert before - 0.1 <= at <= time.time() + 0.1


def test_what_is_queued_is_written_before_the_end(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    with logging(path) as log:
        for number in range(5000):
            note(log, b"%d" % number)
    assert len(lines(path)) == log.written == 5000
    log.close()


def test_it_goes_on_behind_what_is_there(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    path.write_text('{"request_id": "before"}\n')
    with logging(path) as log:
        note(log, b"after")
    assert [line["request_id"] for line in lines(path)] == ["before", "after"]


@pytest.mark.parametrize("away", ["moved", "removed"])
def test_a_file_that_was_moved_or_removed_is_made_anew(tmp_path: Path, away: str) -> None:
    path = tmp_path / "access.log"
    with logging(path) as log:
        note(log, b"one")
        wait_for(lambda: log.written == 1)
        if away == "moved":
            path.rename(tmp_path / "access.log.1")
        else:
            path.unlink()
        wait_for(path.exists)
        note(log, b"two")
    assert [line["request_id"] for line in lines(path)] == ["two"]
    if away == "moved":
        assert [line["request_id"] for line in lines(tmp_path / "access.log.1")] == ["one"]
    assert (log.written, log.dropped, log.failures) == (2, 0, 0)


def test_a_file_that_somebody_else_has_put_in_its_place_is_used(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    with logging(path) as log:
        note(log, b"one")
        wait_for(lambda: log.written == 1)
        path.rename(tmp_path / "access.log.1")
        path.touch()
        number = 0
        # As logrotate's `create` does; until it is noticed the old one is written.
        while not path.stat().st_size:
            number += 1
            note(log, b"%d" % number)
            time.sleep(0.05)
            assert number < 200
    assert len(lines(path)) + len(lines(tmp_path / "access.log.1")) == log.written == number + 1


def test_nothing_is_lost_while_a_file_is_rotated(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    with logging(path) as log:
        for turn in range(3):
            for number in range(300):
                note(log, b"%d" % number)
                time.sleep(0.0005)
            path.rename(tmp_path / f"access.log.{turn}")
            wait_for(path.exists)
    assert sum(len(lines(found)) for found in tmp_path.iterdir()) == log.written == 900


def test_one_whose_folder_has_gone_is_written_where_it_was_until_it_is_back(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    with logging(folder / "access.log") as log:
        folder.rename(tmp_path / "moved")
        wait_for(lambda: log.failures)
        note(log, b"one")
        wait_for(lambda: log.written == 1)
        folder.mkdir()
        wait_for((folder / "access.log").exists)
        note(log, b"two")
    assert [line["request_id"] for line in lines(tmp_path / "moved" / "access.log")] == ["one"]
    assert [line["request_id"] for line in lines(folder / "access.log")] == ["two"]
    assert log.dropped == 0


def test_a_pipe_that_nobody_reads_costs_records_and_never_the_one_who_notes(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    with logging(path, capacity=100) as log:
        before = time.monotonic()
        for number in range(250):
            note(log, b"%d" % number)
        assert time.monotonic() - before < 1.0
        assert log.dropped == 150
        # A reader comes: what waited is there, in order.
        with path.open() as reader:
            for number in range(100):
                assert json.loads(reader.readline())["request_id"] == str(number)
            wait_for(lambda: log.written == 100)
        # It goes, which costs what was on its way; the next one finds the log working.
        note(log, b"lost")
        wait_for(lambda: log.failures)
        note(log, b"again")
        time.sleep(0.3)
        with path.open() as reader:
            assert json.loads(reader.readline())["request_id"] == "again"
    assert (log.written, log.dropped) == (101, 151)


def test_the_end_waits_for_a_stuck_writer_no_longer_than_it_may(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        log = AccessLog(str(path), JSON)
        log.start()
        for number in range(5000):
            note(log, b"%d" % number)
        before = time.monotonic()
        log.close()
        assert 1.5 < time.monotonic() - before < 5.0
        assert log.written + log.dropped <= 5000
        assert log.dropped > 0
    finally:
        os.close(reader)


def test_lines_to_a_pipe_are_whole_whatever_their_length(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    got: list[str] = []

    def read() -> None:
        with path.open() as reader:
            got.extend(reader)

    reading = threading.Thread(target=read)
    reading.start()
    # Open until both have ended: a writer that is early must not be the last for the reader.
    held = os.open(path, os.O_WRONLY)
    writers = [
        subprocess.Popen([sys.executable, "-m", "tests.net.log_writer", str(path), "1000", name]) for name in "ab"
    ]
    assert [writer.wait(30) for writer in writers] == [0, 0]
    os.close(held)
    reading.join(10)
    assert sorted(json.loads(line)["request_id"] for line in got) == sorted(
        f"{name}-{number}" for name in "ab" for number in range(1000)
    )


def test_a_full_disk_costs_records_and_is_counted(caplog: pytest.LogCaptureFixture) -> None:
    with logging(Path("/dev/full")) as log:
        for number in range(200):
            note(log, b"%d" % number)
        wait_for(lambda: log.dropped == 200)
        assert log.written == 0
        assert 0 < log.failures <= 200
    assert len([record for record in caplog.records if "No space left" in record.getMessage()]) == 1


def test_a_disk_that_was_full_for_a_while_costs_one_torn_line_at_most(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with logging(path) as log:
        try:
            # As on a disk that is full: a write ends within a line, and the next ones fail.
            resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
            for number in range(100):
                note(log, b"%d" % number)
            wait_for(lambda: log.written + log.dropped == 100)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert path.stat().st_size == 10_000
        assert log.dropped > 0
        note(log, b"after")
    read, torn = [], []
    for line in path.read_text(encoding="ascii").splitlines():
        try:
            read.append(json.loads(line)["request_id"])
        except ValueError:
            torn.append(line)
    assert len(torn) == 1
    assert read == [*(str(number) for number in range(log.written - 1)), "after"]


def test_several_processes_write_to_one_file(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    writers = [
        subprocess.Popen([sys.executable, "-m", "tests.net.log_writer", str(path), "4000", name]) for name in "abc"
    ]
    assert [writer.wait(40) for writer in writers] == [0, 0, 0]
    found = [line["request_id"] for line in lines(path)]
    for name in "abc":
        # Whole lines, none lost, and each process's in its order.
        assert [one for one in found if one.startswith(name)] == [f"{name}-{number}" for number in range(4000)]


@pytest.mark.parametrize("path", ["no/such/folder/access.log", "."])
def test_one_that_cannot_be_opened_is_told_at_the_start(
    tmp_path: Path, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for start in (AccessLog(path, JSON).start, lambda: check_access_log(ServeSettings(access_log=path))):
        with pytest.raises(AccessLogError, match=r"--access-log: .* cannot be opened"):
            start()


def test_a_sample_is_about_its_share_and_has_every_failure() -> None:
    log = AccessLog("-", JSON, share=0.25)
    ids = [b"4f-%x" % number for number in range(20_000)]
    taken = sum(log.takes(one, 200, Ending.COMPLETE) for one in ids)
    assert 4_500 < taken < 5_500
    assert all(log.takes(one, 502, Ending.COMPLETE) for one in ids)
    assert all(log.takes(one, 200, Ending.UPSTREAM) for one in ids)
    assert sum(log.takes(one, 404, Ending.COMPLETE) for one in ids) == taken
    assert all(AccessLog("-", JSON, share=1.0).takes(one, 200, Ending.COMPLETE) for one in ids)
    assert not any(AccessLog("-", JSON, share=0.0).takes(one, 200, Ending.COMPLETE) for one in ids)


def test_what_waits_is_bounded_in_size_too() -> None:
    log = AccessLog("-", JSON)
    big = b"x" * 30_000
    note(log, big, target=big, fields=[(b"referer", big), (b"USER-AGENT", big), (b"Cookie", big)])
    (record,) = log._queue  # noqa: SLF001 - that is what is bounded
    assert sum(len(part) for part in record if isinstance(part, bytes)) < 8192


def test_it_is_off_unless_asked_for() -> None:
    assert access_log_of(ServeSettings()) is None


# Behind the proxy.


@contextlib.asynccontextmanager
async def logged(path: Path, **settings: Any) -> AsyncIterator[tuple[Stage, AccessLog]]:  # noqa: ANN401 - settings
    """A proxy that logs."""
    log = access_log_of(ServeSettings(access_log=str(path), **settings))
    assert log is not None
    log.start()
    try:
        async with stage(**settings) as on:
            on.proxy.access_log = log
            yield on, log
    finally:
        await asyncio.to_thread(log.close)


async def last(log: AccessLog, path: Path, count: int = 1) -> dict[str, Any]:
    """Wait for so many records; the last of them."""
    await until(lambda: log.written == count)
    return lines(path)[-1]


async def test_a_forwarded_exchange(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    async with logged(path) as (on, log), on.visitor() as visitor:
        await on.serve()
        await visitor.ask(
            b"POST /a/b?secret=1 HTTP/1.1\r\nHost: ACME.test\r\nX-Request-Id: mine\r\nContent-Length: 5\r\n"
            b"User-Agent: me/1\r\nReferer: http://u:p@x.test/y?z\r\nCookie: secret=1\r\n"
            b"Authorization: secret\r\n\r\nhello"
        )
        line = await last(log, path)
        assert {name: line[name] for name in line if name != "time" and not name.endswith("seconds")} == {
            "request_id": "mine",
            "tenant": "acme",
            "peer": "127.0.0.1",
            "method": "POST",
            "host": "ACME.test",
            "target": "/a/b",
            "http": "1.1",
            "status": 200,
            "refusal": None,
            "ending": "complete",
            "bytes_in": 5,
            "bytes_out": 2,
            "upstream": f"127.0.0.1:{on.records['acme'].observed.endpoints[0].port}",
            "reused": False,
            "retries": 0,
            "user_agent": "me/1",
            "referer": "http://x.test/y",
        }
        assert 0 <= line["upstream_seconds"] <= line["first_byte_seconds"] <= line["seconds"] < 10
        assert "secret" not in path.read_text()
        await visitor.ask(get())
        assert (await last(log, path, 2))["reused"] is True


async def test_a_request_that_was_sent_again(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    async with logged(path) as (on, log), on.visitor() as visitor:
        app = await on.serve()
        await visitor.ask(get())
        app.response = b""
        visitor.send(get("/again"))
        await app.heard(2)
        app.response = OK
        app.writers[-1].close()
        assert (await visitor.answer()).body == b"ok"
        line = await last(log, path, 2)
        assert (line["retries"], line["reused"]) == (1, False)


async def test_answers_of_our_own_and_what_never_became_a_request(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    async with logged(path) as (on, log):
        answer = await on.ask(get(host="nobody.test"))
        line = await last(log, path)
        assert (line["status"], line["refusal"], line["tenant"]) == (404, "unknown-host", None)
        assert (line["bytes_out"], line["upstream"]) == (len(answer.body), None)
        await on.ask(b"GET / HTTP/1.1\r\nHost : x\r\n\r\n")
        line = await last(log, path, 2)
        assert (line["status"], line["refusal"], line["method"]) == (400, "malformed-request", None)


@pytest.mark.parametrize("name", ["json", "combined"])
async def test_what_a_visitor_sends_forges_no_line(tmp_path: Path, name: str) -> None:
    path = tmp_path / "access.log"
    async with logged(path, access_log_format=name, access_log_query="keep") as (on, log):
        await on.serve()
        evil = '\x1b[2J\x80\x9b\xff\t" 200 0 "-" "-" \\n'
        await on.ask(get('/"\\x?%0d%0a"', f"User-Agent: {evil}", f"Referer: {evil}"))
        await until(lambda: log.written == 1)
        data = path.read_bytes()
        assert data.count(b"\n") == 1
        assert all(32 <= byte < 127 for byte in data[:-1])


async def test_a_visitor_who_leaves(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    async with logged(path) as (on, log):
        app = await on.serve(App(b""))
        async with on.visitor() as visitor:
            visitor.send(get())
            await app.heard(1)
            visitor.reset()
        line = await last(log, path)
        assert (line["ending"], line["status"], line["tenant"]) == ("client-abort", None, "acme")


async def test_a_tenant_that_breaks_off_within_its_answer(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    async with logged(path) as (on, log), on.visitor() as visitor:
        app = await on.serve(App(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello"))
        visitor.send(get())
        await visitor.reader.readuntil(b"hello")
        app.writers[0].close()
        line = await last(log, path)
        assert (line["ending"], line["status"], line["bytes_out"]) == ("upstream-broken", 200, 5)


@pytest.mark.parametrize(
    ("settings", "ending"), [({"body_timeout": 0.1}, "timeout"), ({"exchange_timeout": 0.1}, "timeout")]
)
async def test_an_answer_that_takes_too_long(tmp_path: Path, settings: dict[str, float], ending: str) -> None:
    path = tmp_path / "access.log"
    async with logged(path, **settings) as (on, log), on.visitor() as visitor:
        await on.serve(App(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello"))
        visitor.send(get())
        await visitor.reader.readuntil(b"hello")
        line = await last(log, path)
        assert (line["ending"], line["status"]) == (ending, 200)


async def test_a_body_that_became_too_large_behind_an_answer(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    async with logged(path) as (on, log), on.visitor() as visitor:
        app = await on.serve(App(b""), limits={"body": 3})
        visitor.send(b"POST / HTTP/1.1\r\nHost: acme.test\r\nTransfer-Encoding: chunked\r\n\r\n")
        await until(lambda: app.writers)
        app.writers[0].write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
        await visitor.reader.readuntil(b"hello")
        visitor.send(b"5\r\nhello\r\n")
        line = await last(log, path)
        assert (line["ending"], line["bytes_in"]) == ("limit", 5)


async def test_what_the_end_of_a_drain_cuts(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    async with logged(path) as (on, log), on.visitor() as visitor:
        await on.serve(App(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello"))
        visitor.send(get())
        await visitor.reader.readuntil(b"hello")
        assert await on.server.drain(0.05) == 1
        assert (await last(log, path))["ending"] == "drain"
        assert on.proxy.tally.broken == {"drain": 1}


async def test_a_tunnel(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    async with logged(path) as (on, log):
        app = await on.serve(App(b"HTTP/1.1 101 Go\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n"))
        async with on.visitor() as visitor:
            visitor.send(get("/", "Connection: Upgrade", "Upgrade: x"))
            assert (await visitor.answer()).status == 101
            assert log.written == 0
        await until(lambda: app.lost)
        line = await last(log, path)
        assert (line["ending"], line["status"], line["tenant"]) == ("upgrade", 101, "acme")


async def test_of_a_sample_of_nothing_the_failures_are_left(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    async with logged(path, access_log_sample=0.0) as (on, log):
        app = await on.serve()
        for _ in range(20):
            await on.ask(get())
        app.response = b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n"
        await on.ask(post(b""))
        assert (await last(log, path))["status"] == 500


async def test_a_disk_that_is_full_hurts_no_visitor() -> None:
    async with logged(Path("/dev/full")) as (on, log), on.visitor() as visitor:
        await on.serve()
        for _ in range(50):
            assert (await visitor.ask(get())).status == 200
        await until(lambda: log.dropped == 50)
