"""One input of the fuzz, played and judged.

It is played to a proxy that has seen all inputs before it, and once more, differently, to one that has seen nothing;
both must have done the same. What reached the tenant must be what h11 reads in the visitors' own streams, and what the
visitors read must be what h11 reads in the tenant's answers, or a refusal, or visibly incomplete.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from tests.conformance import oracle, strictly
from tests.conformance.case import brief
from tests.conformance.mutation import Trial
from tests.conformance.strictly import Message
from tests.conformance.wire import Wire
from tests.conformance.world import DATE, World, bytewise, whole

REFUSED = ("refused",)
_OUR_ID = re.compile(rb"[0-9a-f]+-[0-9a-f]+-[0-9a-f]+").fullmatch
_WRITTEN_ANEW = frozenset(
    b"host content-length transfer-encoding connection te upgrade expect trailer keep-alive proxy-connection "
    b"proxy-authorization proxy-authenticate http2-settings x-request-id x-forwarded-for x-forwarded-proto "
    b"x-forwarded-host x-forwarded-port x-forwarded-server x-real-ip forwarded via date".split()
)
_NEVER_TAKEN_OUT = frozenset(b"content-type cookie set-cookie authorization cache-control".split())


class Finding(Exception):
    """The proxy has done what it never may."""


@dataclass
class Played:
    """What one playing came to, for each connection."""

    read: list[list[Message]]
    answers: list[list[Message]]
    over: list[bool]


def _is_ours(message: Message) -> bool:
    kinds = message.values(b"content-type")
    return kinds == [b"application/problem+json"] or bool(message.values(b"content-security-policy"))


def _answers(wire: Wire, methods: list[bytes]) -> list[Message]:
    """The final answers on one connection, read strictly."""
    data, over = bytes(wire.sent), wire.over and not wire.broken
    read: list[Message] = []
    at = 0
    while at < len(data):
        method = methods[len(read)] if len(read) < len(methods) else b"GET"
        found = strictly.response(data, at, method=method, over=over)
        if found is None:
            read.append(Message((b"0", b""), [], data[at:], complete=False))
            break
        message, end = found
        if method == b"HEAD" and _is_ours(message) and data[end : end + 1] in (b"{", b"<"):
            # A request that could not be understood to its end is refused with a page, whatever its method.
            found = strictly.response(data, at, over=over)
            assert found is not None
            message, end = found
        at = end
        if message.status == 101:
            read.append(message)
            break
        if message.status >= 200:
            read.append(message)
    return read


async def play(world: World, trial: Trial, *, one_by_one: bool = False) -> Played:
    """Feed it to this proxy; ``one_by_one``: every byte by itself."""
    for behind in world.behind:
        behind.wire.end()
    await world.loop.settle()
    world.forget()
    world.answering = lambda message: trial.reply(message.start[1])
    split = world.tenant_splits = bytewise if one_by_one else whole
    wires: dict[int, Wire] = {}
    for step in trial.steps:
        wire = wires.get(step.connection)
        if wire is None:
            wire = wires[step.connection] = world.visitor(trial.peers[step.connection])
        for piece in split(step.data):
            wire.feed(piece)
        if step.settles:
            await world.loop.settle()
    await world.loop.settle()
    if trial.ends:
        for wire in wires.values():
            wire.end()
        await world.loop.settle()
    played = [_played(world, trial, number, wires.get(number)) for number in range(len(trial.peers))]
    for wire in wires.values():
        wire.reset()
    await world.loop.settle()
    return Played(*map(list, zip(*played, strict=True)))


def _played(world: World, trial: Trial, number: int, wire: Wire | None) -> tuple[list[Message], list[Message], bool]:
    for behind in world.behind:
        if behind.error is not None:
            raise Finding(f"the tenant reads {behind.error}: {bytes(behind.wire.sent)!r}")
    peer = trial.peers[number].encode()
    read = [message for message in world.heard if message.values(b"x-forwarded-for")[0].split(b", ")[-1] == peer]
    if wire is None:
        return read, [], True
    methods = [request.method.encode() for request in trial.heard[number]]
    try:
        return read, _answers(wire, methods), wire.over
    except strictly.Malformed as error:
        raise Finding(f"a visitor reads {error}: {bytes(wire.sent)!r}") from None


def judge(trial: Trial, played: Played) -> None:
    """Compare with what h11 reads. Raises Finding."""
    for number, stream in enumerate(trial.streams):
        heard = trial.heard[number]
        answers = played.answers[number]
        # Answers come in the order of requests, one for each; what we refuse need not have reached the tenant.
        ours = {place for place, answer in enumerate(answers) if _is_ours(answer)}
        left = [(request, place in ours or _missing(request)) for place, request in enumerate(heard)]
        if not _in_order(played.read[number], left):
            read = [(brief(message), _passed_on(message.fields)) for message in played.read[number]]
            told = [(request.brief, _expected(request), may_be_left_out) for request, may_be_left_out in left]
            raise Finding(f"the tenant reads {read}, h11 {told} in {stream!r}")
        _judge_answers(trial, heard, played, number)


def _in_order(read: list[Message], left: list[tuple[oracle.Heard, bool]]) -> bool:
    """Whether these are the first ones of those, some of which may be left out."""
    if not read:
        return True
    if not left:
        return False
    (request, may_be_left_out), *rest = left
    return (_is(read[0], request) and _in_order(read[1:], rest)) or (may_be_left_out and _in_order(read, rest))


def _is(message: Message, request: oracle.Heard) -> bool:
    return (
        brief(message) == request.brief
        and message.values(b"host") == [request.host]
        and _passed_on(message.fields) == _expected(request)
    )


def _missing(request: oracle.Heard) -> bool:
    """Whether it may be for a host that nobody has: then it is answered with 404, and the connection stays."""
    return request.host.lower() not in (b"acme.test", b"a.acme.test")


def _passed_on(fields: strictly.Fields) -> list[tuple[bytes, bytes]]:
    return [(name, value.strip(b" \t")) for name, value in fields if name.lower() not in _WRITTEN_ANEW]


def _expected(request: oracle.Heard) -> list[tuple[bytes, bytes]]:
    named = _named(request.fields)
    return [
        (name, value)
        for name, value in _passed_on(request.fields)
        if name.lower() not in named and not (b"_" in name and name.lower().replace(b"_", b"-") in _WRITTEN_ANEW)
    ]


def _named(fields: strictly.Fields) -> set[bytes]:
    lists = [value for name, value in fields if name.lower() == b"connection"]
    return {token.strip(b" \t").lower() for value in lists for token in value.split(b",")} - _NEVER_TAKEN_OUT


def _judge_answers(trial: Trial, heard: list[oracle.Heard], played: Played, number: int) -> None:
    answers = played.answers[number]
    if any(not answer.complete for answer in answers[:-1]):
        raise Finding("an answer behind an incomplete one")
    for place, answer in enumerate(answers):
        if _is_ours(answer) and place <= len(heard):
            continue
        if place >= len(heard):
            raise Finding(f"{len(answers)} answers where h11 hears {len(heard)} requests: {trial.streams[number]!r}")
        method, target, _ = heard[place].brief
        reply = trial.reply(target.encode())
        reading = oracle.response(reply.data, method.encode(), ended=reply.ends == "end")
        if answer.status == 101:
            continue
        if reading is None:
            if answer.complete:
                raise Finding(f"a visitor reads {answer}, h11 nothing complete in {reply.data!r}")
        elif answer.complete:
            if (answer.status, answer.body) != reading[:2]:
                raise Finding(f"a visitor reads {answer}, h11 {reading} in {reply.data!r}")
        elif not played.over[number]:
            raise Finding(f"a visitor waits behind {answer} for what is complete: {reply.data!r}")


def same(one: Played, other: Played, *, exactly: bool) -> None:
    """Whether two playings came to the same. Raises Finding.

    Unless ``exactly``, only up to the first refusal of either: which reason it has, and whether it comes before a part
    of an answer or has to break it off, depends on how the bytes arrive.
    """
    for number in range(len(one.read)):
        mine, others = ([_masked(message) for message in side.read[number]] for side in (one, other))
        told, tells = ([_told(message) for message in side.answers[number]] for side in (one, other))
        if not exactly and REFUSED in told + tells:
            first = min(answers.index(REFUSED) for answers in (told, tells) if REFUSED in answers)
            told, tells = told[:first], tells[:first]
            mine, others = mine[:first], others[:first]
        elif one.over[number] != other.over[number]:
            raise Finding(f"the connection ends, or not: {one.over}, {other.over}")
        if mine != others:
            raise Finding(f"the tenant reads {mine}, and then {others}")
        if told != tells:
            raise Finding(f"a visitor reads {told}, and then {tells}")


def _masked(message: Message) -> tuple[object, ...]:
    fields = [(name, b"" if name == b"X-Request-Id" and _OUR_ID(value) else value) for name, value in message.fields]
    return (message.start, fields, message.body, message.trailers)


def _told(message: Message) -> tuple[object, ...]:
    if _is_ours(message) or not message.complete:
        return REFUSED
    fields = [(name, value) for name, value in message.fields if (name, value) != (b"Date", DATE[6:-2])]
    return (message.start, fields, message.body, message.trailers)
