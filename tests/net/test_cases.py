"""Every wire case, fed whole and byte by byte: refused, or forwarded as exactly what it is."""

from __future__ import annotations

import contextlib

import h11
import pytest

from tests.net.cases import CASES, Case
from tests.net.stage import stage
from tests.net.strict import Strict


def test_there_are_enough_and_each_is_named_once() -> None:
    assert len({case.section for case in CASES}) == len(CASES) >= 100


@pytest.mark.parametrize("whole", [True, False], ids=["whole", "byte by byte"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.section)
async def test_case(case: Case, whole: bool) -> None:  # noqa: FBT001 - a table's column
    async with stage() as on:
        app = Strict()
        await on.serve(app)
        async with on.visitor() as visitor:
            if whole:
                visitor.send(case.data)
            else:
                await visitor.feed(case.data)
            if isinstance(case.expected, int):
                answer = await visitor.answer()
                assert answer.status in (case.expected, case.also)
                assert answer.get("Connection") == "close"
                with contextlib.suppress(ConnectionError):
                    assert await visitor.rest() == b""
                assert app.read == []
            else:
                for _ in case.expected:
                    assert (await visitor.answer()).status == 200
                assert app.read == case.expected
        assert app.error is None


def test_the_strict_side_finds_what_is_wrong() -> None:
    server = h11.Connection(h11.SERVER)
    server.receive_data(b"GET / HTTP/1.1\r\n\r\n")
    with pytest.raises(h11.RemoteProtocolError):
        server.next_event()
