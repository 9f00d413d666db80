"""Messages between processes: whole, in order, bounded, and never waited for."""

from __future__ import annotations

import asyncio

import pytest

from gogeta.kit.channel import Channel, pair

pytestmark = pytest.mark.any_loop


async def test_messages_keep_their_borders_and_their_order() -> None:
    one, other = (Channel(end) for end in pair())
    for number in range(10):
        assert one.send({"number": number, "text": "x" * 1000 * number})
    for number in range(10):
        assert await other.receive() == {"number": number, "text": "x" * 1000 * number}
    one.close()
    assert await other.receive() is None
    assert not other.send({"anybody": "there"})
    other.close()


async def test_a_reader_that_is_behind_costs_messages_and_no_time() -> None:
    one, other = (Channel(end) for end in pair())
    sent = 0
    while one.send({"number": sent, "text": "x" * 10_000}):
        sent += 1
        assert sent < 10_000, "bounded"
    async with asyncio.timeout(5):
        for number in range(sent):
            assert (await other.receive() or {})["number"] == number
    assert one.send({}), "there is room again"
    one.close()
    other.close()


async def test_a_message_too_large_is_refused_and_told(caplog: pytest.LogCaptureFixture) -> None:
    one, other = (Channel(end) for end in pair())
    assert not one.send({"text": "x" * (1 << 24)})
    assert "could not be sent" in caplog.text
    one.close()
    other.close()
