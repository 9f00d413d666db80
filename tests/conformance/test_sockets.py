"""The same cases once more on real sockets, whole: what holds in memory holds on the wire."""

from __future__ import annotations

import asyncio

import pytest

from gogeta.core.refusal import STATUS
from tests.conformance import passing, requests, responses, strictly
from tests.conformance.case import Brief, Case, brief
from tests.conformance.pending import PENDING, PENDING_ANSWERS
from tests.conformance.responses import Answer
from tests.conformance.strictly import Message
from tests.conformance.world import STRANGER
from tests.net.stage import Stage, Visitor, reset, stage
from tests.net.strict import Strict
from tests.net.talk import LIMIT, read_message

pytestmark = pytest.mark.uvloop


async def heard(visitor: Visitor, methods: list[bytes], finals: int) -> list[Message]:
    """What the visitor reads, until so many answers are complete or the connection ends."""
    data = b""
    while True:
        read = [message for message in strictly.responses(data, methods=methods) if message.status not in range(1, 200)]
        if len(read) >= finals and read[-1].complete:
            return read
        async with asyncio.timeout(LIMIT):
            try:
                more = await visitor.reader.read(65536)
            except ConnectionError:
                return read
        if not more:
            return strictly.responses(data, methods=methods, over=True)
        data += more


def expected(case: Case) -> list[Brief]:
    """What the tenant reads, briefly."""
    return [brief(item) if isinstance(item, Message) else item for item in case.messages]


async def visit(on: Stage, app: Strict, case: Case) -> str | None:
    """What is wrong with a case; None when nothing is."""
    app.read.clear()
    async with on.visitor() as visitor:
        visitor.send(case.data)
        answers = await heard(visitor, case.methods, len(case.read) + bool(case.refused))
    statuses = [answer.status for answer in answers]
    fine = statuses[: len(case.read)] == [200] * len(case.read)
    last = statuses[len(case.read) :]
    fine = fine and (last in [[STATUS[reason]] for reason in case.refused] if case.refused else last == [])
    if fine and app.read == expected(case) and app.error is None:
        return None
    return f"{case.section}: {statuses}, {app.read}, {app.error}"


async def test_requests() -> None:
    cases = [case for case in (*requests.CASES, *passing.CASES) if case.peer == STRANGER and not case.waits]
    async with stage() as on:
        app = Strict()
        await on.serve(app)
        found = [await visit(on, app, case) for case in cases if case.section not in PENDING]
    assert [problem for problem in found if problem is not None] == []


async def answer(on: Stage, case: Answer, number: int) -> str | None:
    """What is wrong with a case; None when nothing is."""

    async def app(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_message(reader)
        writer.write(case.data)
        await writer.drain()
        if case.ends == "reset":
            # Not before the other side has read what came before it: a reset may overtake it.
            await asyncio.sleep(0.05)
            reset(writer)
        elif case.ends != "end":
            await reader.read(-1)

    name = f"t{number}"
    await on.serve(app, name)
    method = case.request.split(b" ", 1)[0]
    async with on.visitor() as visitor:
        visitor.send(case.request.replace(b"acme.test", f"{name}.test".encode()))
        read = await heard(visitor, [method], 1)
    on.become(name, None)
    statuses = [message.status for message in read]
    if case.reads:
        told = [
            message for message in strictly.responses(case.reads, methods=[method], over=True) if message.status > 199
        ]
        fine = [(message.status, message.body) for message in read if message.status > 199] == [
            (message.status, message.body) for message in told
        ]
    else:
        fine = statuses == [502] or (case.broken and not (read and read[-1].complete))
    return None if fine else f"{case.section}: {read}"


async def test_responses() -> None:
    async with stage() as on:
        cases = [case for case in responses.CASES if case.section not in PENDING_ANSWERS]
        found = [await answer(on, case, number) for number, case in enumerate(cases)]
    assert [problem for problem in found if problem is not None] == []
