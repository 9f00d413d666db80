"""Levels that change while the program runs: by an operator, by signal, and what is refused."""

from __future__ import annotations

import json
import logging
import os
import signal
from collections.abc import Iterator
from dataclasses import replace

import aiohttp
import pytest
from prometheus_client import CollectorRegistry

from gogeta.api.log_levels import log_level_operations
from gogeta.api.operation import Role, route
from gogeta.api.problems import answering
from gogeta.domain.errors import InvalidInputError
from gogeta.domain.upstreams import Endpoint
from gogeta.kit.admin_site import AdminSite
from gogeta.kit.log_levels import (
    LogLevels,
    change_log_levels,
    configure,
    level_signals,
    log_levels,
    read_log_levels,
)
from tests.net.talk import until

ONE = "gogeta.test_of_levels"


@pytest.fixture(autouse=True)
def levels() -> Iterator[None]:
    """Levels as some settings say, and as they were at the end."""
    before = logging.getLogger().level
    configure("info")
    yield
    configure("info")
    logging.getLogger().setLevel(before)


def shows(level: int, name: str = ONE) -> bool:
    return logging.getLogger(name).isEnabledFor(level)


def test_levels_are_for_all_and_for_some_and_replace_what_was_there() -> None:
    assert log_levels() == LogLevels("info")
    change_log_levels(LogLevels("warning", {ONE: "debug"}))
    assert (shows(logging.DEBUG), shows(logging.DEBUG, f"{ONE}.below"), shows(logging.INFO, "other")) == (
        True,
        True,
        False,
    )
    assert log_levels() == LogLevels("warning", {ONE: "debug"})
    change_log_levels(LogLevels("debug", {"asyncio": "debug"}))
    assert shows(logging.DEBUG, "asyncio")
    change_log_levels(LogLevels("info"))
    assert (shows(logging.DEBUG), shows(logging.INFO), shows(logging.DEBUG, "asyncio")) == (False, True, False)


def test_a_change_is_said_whatever_the_levels(caplog: pytest.LogCaptureFixture) -> None:
    change_log_levels(LogLevels("error", {ONE: "debug"}))
    assert f"log levels are changed: error, {ONE} debug" in caplog.text


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (None, "expected an object"),
        ([], "expected an object"),
        ({}, "level: expected debug, info, warning or error"),
        ({"level": "loud"}, "not 'loud'"),
        ({"level": "INFO"}, "not 'INFO'"),
        ({"level": 10}, "not int"),
        ({"level": ["info"]}, "not list"),
        ({"level": "info", "more": 1}, "more: is not known"),
        ({"level": "info", "loggers": []}, "loggers: expected an object"),
        ({"level": "info", "loggers": {"a..b": "info"}}, "name of a logger"),
        ({"level": "info", "loggers": {"": "info"}}, "name of a logger"),
        ({"level": "info", "loggers": {"a\nb": "info"}}, "name of a logger"),
        ({"level": "info", "loggers": {"a": "x"}}, "loggers.a: expected"),
        ({"level": "info", "loggers": {"x" * 129: "info"}}, "name of a logger"),
        ({"level": "info", "loggers": {f"a{number}": "info" for number in range(65)}}, "at most 64"),
    ],
)
def test_what_is_none_is_refused_by_name_and_changes_nothing(data: object, words: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        read_log_levels(data)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


async def test_signals_set_debug_and_what_the_settings_say() -> None:
    with level_signals():
        os.kill(os.getpid(), signal.SIGUSR1)
        await until(lambda: shows(logging.DEBUG))
        os.kill(os.getpid(), signal.SIGUSR2)
        await until(lambda: not shows(logging.DEBUG))
    assert log_levels() == LogLevels("info")


async def test_an_operator_reads_and_changes_them() -> None:
    heard: list[LogLevels] = []

    def change(levels: LogLevels) -> None:
        heard.append(levels)
        change_log_levels(levels)

    operations = log_level_operations(change)
    assert [(each.method, each.role) for each in operations] == [("GET", Role.ADMIN), ("PUT", Role.ADMIN)]
    site = AdminSite(Endpoint("127.0.0.1", 0), CollectorRegistry(), "gogeta")
    site.add_routes(route(replace(each, handler=answering(each.handler))) for each in operations)
    await site.start()
    url = f"http://{site.endpoint}/api/v1/log-levels"
    try:
        async with aiohttp.ClientSession() as session:

            async def put(body: bytes) -> tuple[int, str]:
                async with session.put(url, data=body, headers={"Content-Type": "application/json"}) as answer:
                    return answer.status, await answer.text()

            async with session.get(url) as answer:
                assert (answer.status, await answer.json()) == (200, {"level": "info", "loggers": {}})
            wanted = {"level": "warning", "loggers": {ONE: "debug"}}
            status, text = await put(json.dumps(wanted).encode())
            assert (status, json.loads(text)) == (200, wanted)
            for body, expected in (
                (b"", 400),
                (b"{", 400),
                (b"\xff", 400),
                (b"[" * 10_000, 400),
                (b'{"level":1}', 422),
            ):
                status, text = await put(body)
                assert (status, json.loads(text)["status"]) == (expected, expected)
            status, _ = await put(b" " * 200_000)
            assert status == 413
    finally:
        await site.stop()
    assert heard == [LogLevels("warning", {ONE: "debug"})], "what was refused has changed nothing"
    assert log_levels() == heard[0]
