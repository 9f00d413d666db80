import io
import json
import logging
import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gogeta.kit import logs

logger = logging.getLogger("tests.logs")


@pytest.fixture(autouse=True)
def _ended() -> Iterator[None]:
    level = logging.getLogger().level
    yield
    logs.shutdown()
    logging.getLogger().setLevel(level)


def test_text_has_time_level_logger_message_and_fields(capsys: pytest.CaptureFixture[str]) -> None:
    logs.setup("info", "text", "gogeta")
    logger.info("hello %s", "world", extra={"fields": {"tenant": "acme", "why": "two words"}})
    logger.debug("not this")
    logs.shutdown()
    line = capsys.readouterr().err
    assert line.endswith(' info    tests.logs: hello world tenant=acme why="two words"\n')
    assert line[:4].isdigit()
    assert line.split()[0].endswith("Z")


def test_json_is_one_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    logs.setup("info", "json", "passivator")
    logger.warning("line one\nline two \x1b[31m", extra={"fields": {"tenant": "acme", "message": "not mine"}})
    try:
        1 // 0  # noqa: B018 - to have an exception
    except ZeroDivisionError:
        logger.exception("failed")
    logs.shutdown()
    first, second = (json.loads(line) for line in capsys.readouterr().err.splitlines())
    assert (first["program"], first["level"], first["logger"]) == ("passivator", "warning", "tests.logs")
    assert first["message"] == "line one\nline two \x1b[31m"
    assert first["tenant"] == "acme"
    assert "ZeroDivisionError" in second["traceback"]


def test_a_traceback_in_text_is_indented_and_cannot_pass_for_a_line_of_its_own(
    capsys: pytest.CaptureFixture[str],
) -> None:
    logs.setup("info", "text", "gogeta")
    try:
        int("forged\n2026-01-01T00:00:00.000Z error   x: y" + chr(0x85))
    except ValueError:
        logger.exception("failed")
    logs.shutdown()
    lines = capsys.readouterr().err.splitlines()
    assert all(line.startswith("    ") for line in lines[1:])


@given(st.text())
def test_escaped_text_is_one_line_that_a_terminal_only_shows(text: str) -> None:
    escaped = logs.escape(text)
    assert len(escaped.splitlines()) <= 1
    assert not any(ord(letter) < 32 or 127 <= ord(letter) < 160 for letter in escaped)
    escaped.encode("utf-8")


def test_passwords_in_urls_are_masked(capsys: pytest.CaptureFixture[str]) -> None:
    for form in ("text", "json"):
        logs.setup("info", form, "gogeta")
        logger.info("to %s", "etcd://root:secret@10.0.0.1", extra={"fields": {"url": "http://u:secret@h/"}})
        logs.shutdown()
    err = capsys.readouterr().err
    assert "secret" not in err
    assert err.count("***@") == 4


class _Blocked(io.StringIO):
    """A stderr that nobody reads, until it is released."""

    def __init__(self) -> None:
        super().__init__()
        self.release = threading.Event()

    def write(self, text: str) -> int:
        self.release.wait(10)
        return super().write(text)


def test_a_slow_stderr_costs_lines_that_are_counted_and_never_the_caller() -> None:
    stream = _Blocked()
    handler = logs.QueuedHandler(stream, capacity=10)
    handler.setFormatter(logs.TextFormatter())
    for number in range(100):
        handler.handle(
            logging.makeLogRecord({"msg": f"line {number}", "levelno": 20, "levelname": "INFO", "name": "x"})
        )
    dropped = handler.dropped
    assert dropped >= 85
    stream.release.set()
    handler.close()
    assert f"{dropped} log lines were dropped" in stream.getvalue()


def test_a_closed_stderr_ends_nothing() -> None:
    stream = io.StringIO()
    stream.close()
    handler = logs.QueuedHandler(stream)
    handler.setFormatter(logs.TextFormatter())
    handler.handle(logging.makeLogRecord({"msg": "lost", "levelno": 20, "levelname": "INFO", "name": "x"}))
    handler.close()
    handler.close()


def test_a_record_that_cannot_be_formatted_is_named() -> None:
    stream = io.StringIO()
    handler = logs.QueuedHandler(stream)
    handler.setFormatter(logs.TextFormatter())
    handler.handle(logging.makeLogRecord({"msg": "%d", "args": ("no number",), "levelname": "INFO", "name": "x"}))
    handler.close()
    assert stream.getvalue() == "a log record could not be formatted: x: %d\n"
