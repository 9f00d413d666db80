"""One request and its answer: where the two connections meet.

The downstream connection feeds it the request's body, the upstream connection its response; it knows how far both have
come, and therefore what may still be done when something goes wrong: before the response's first byte another answer
can be given, after it the only honest thing is a visibly broken message (RFC 9112 section 8).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gogeta.core.access_record import Ending
from gogeta.core.pages import Page, error_page, grpc_refusal, grpc_type, problem
from gogeta.core.refusal import STATUS, Reason
from gogeta.core.request import RequestHead
from gogeta.net.reading import Hold

if TYPE_CHECKING:
    from gogeta.core.progress import Again
    from gogeta.core.response import ResponseHead
    from gogeta.net.downstream import DownstreamConnection
    from gogeta.net.fleet import Entry
    from gogeta.net.upstream import UpstreamConnection

PENDING_LIMIT: Final = 64 * 1024
"""Bytes of a request's body kept while nobody takes them; then the client is not read any more."""

_COMPLETE: Final = Ending.COMPLETE
"""Looking up a member of an enumeration is dear."""
_CLOSING: Final = frozenset({Reason.HOST_INVALID, Reason.MALFORMED, Reason.FRAMING, Reason.DRAINING})
"""Reasons after which the connection is closed although the request was complete."""


class Exchange:
    """One request's way (see the module's docstring). Created when its head has been judged."""

    __slots__ = (
        "answered",
        "attempts",
        "began",
        "body_limit",
        "downstream",
        "ended",
        "ending",
        "entry",
        "first_byte_at",
        "forwarded_at",
        "head",
        "held_since",
        "method",
        "pending",
        "pending_bytes",
        "received",
        "refusal",
        "request_done",
        "request_id",
        "reused",
        "sent",
        "sent_bytes",
        "serialised",
        "status",
        "target",
        "upstream",
        "via",
        "watched",
    )

    def __init__(
        self, downstream: DownstreamConnection, method: bytes, target: bytes, head: RequestHead, began: float
    ) -> None:
        """``began``: time at which the head was complete, on the proxy's exact clock."""
        self.downstream = downstream
        self.method = method
        self.target = target
        self.head = head
        self.began = self.held_since = began
        self.request_done = head.length == 0
        self.entry: Entry | None = None
        self.upstream: UpstreamConnection | None = None
        self.request_id = b""
        self.serialised = b""
        """The head as it is sent to the upstream: kept to be sent again where that is allowed."""
        self.pending: list[bytes] = []
        """What the upstream is to get next, in order; the head is in it when an upstream takes the exchange."""
        self.pending_bytes = 0
        """How much of ``pending`` is body."""
        self.attempts = 0
        """Upstream connections that took it so far."""
        self.sent = False
        """Whether any of its body has left us: then it cannot be sent again."""
        self.answered = False
        """Whether any of the final response has left us."""
        self.ended = False
        self.status = 0
        self.first_byte_at = 0.0
        """When the final response began, on the exact clock; 0 when it came whole, at its end."""
        self.forwarded_at = 0.0
        """When a tenant's connection took it, on the exact clock; 0 when that was at once."""
        self.received = 0
        """Bytes of the request's body so far."""
        self.body_limit = 0
        """Most bytes that may be received; 0 is no limit."""
        self.sent_bytes = 0
        """Bytes of the response's body so far."""
        self.watched = False
        """Whether its time or its pace is limited."""
        self.via: UpstreamConnection | None = None
        """The last connection that took it, for the access log."""
        self.reused = False
        self.refusal = ""
        self.ending = _COMPLETE

    def __repr__(self) -> str:
        """One line for logs and tests."""
        state = "ended" if self.ended else "answered" if self.answered else "open"
        return f"<Exchange {self.method.decode()} {self.target[:80].decode()} {state}>"

    # The request's side.

    def body(self, chunk: bytes) -> None:
        """A piece of the request's body has arrived; ``flush`` sends it on."""
        if self.ended:
            return
        if self.head.chunked:
            self.pending += (b"%x\r\n" % len(chunk), chunk, b"\r\n")
        else:
            self.pending.append(chunk)
        self.pending_bytes += len(chunk)
        self.received += len(chunk)
        if 0 < self.body_limit < self.received:
            self.cut(Reason.BODY_TOO_LARGE)

    def end_of_request(self, trailers: bytes) -> None:
        """The request is complete."""
        if self.request_done:
            return
        self.request_done = True
        if self.head.chunked and not self.ended:
            self.pending += (b"0\r\n", trailers, b"\r\n")
        if self.upstream is not None and not self.answered:
            self.downstream.expect_response(request_done=self.request_done)

    def flush(self) -> None:
        """Send on what has gathered, in one write; without an upstream keep it, within the limit."""
        upstream = self.upstream
        pending = self.pending
        if upstream is None:
            if self.pending_bytes > PENDING_LIMIT and not self.ended:
                self.downstream.reading.hold(Hold.PENDING)
        elif pending:
            if self.pending_bytes:
                if self.sent and upstream.was_reset():
                    # Written to, it would be closed at once; what it said before is still to be read.
                    return
                self.sent = True
                self.pending_bytes = 0
            self.pending = []
            upstream.transport.write(pending[0] if len(pending) == 1 else b"".join(pending))

    def attach(self, upstream: UpstreamConnection) -> None:
        """This connection takes the exchange: a request that is its head alone is sent, else ``flush`` sends it."""
        self.upstream = self.via = upstream
        self.reused = upstream.reused
        self.attempts += 1
        upstream.exchange = self
        downstream = self.downstream
        if downstream.blocked:
            upstream.reading.hold(Hold.PEER)
        proxy = downstream.proxy
        if self.head.length == 0:
            downstream.deadline = proxy.now + proxy.response_timeout
            upstream.transport.write(self.serialised)
            return
        self.pending.insert(0, self.serialised)
        if self.pending_bytes:
            downstream.reading.release(Hold.PENDING)
        downstream.expect_response(request_done=self.request_done)

    # The response's side.

    def begin_answer(self, head: ResponseHead) -> None:
        """The final response has begun."""
        self.status = head.status
        self.first_byte_at = self.downstream.proxy.clock()

    def write(self, data: bytes) -> None:
        """Bytes of the final response, ready for the visitor."""
        self.answered = True
        self.downstream.write(data)

    def herald(self, data: bytes) -> None:
        """An interim response: the final one may still be ours."""
        self.downstream.write(data)
        self.downstream.expect_response(request_done=self.request_done)

    def whole(self, head: ResponseHead, data: bytes) -> None:
        """The whole final response at once, ready for the visitor."""
        self.upstream = None
        self.status = head.status
        self.sent_bytes = head.size or 0
        self.answered = self.ended = True
        downstream = self.downstream
        downstream.transport.write(data)
        downstream.proxy.ended(self)
        downstream.finish(self, head.keep_alive)

    def complete(self, *, keep_alive: bool) -> None:
        """The response is complete."""
        self.upstream = None
        self._end()
        self.downstream.finish(self, keep_alive and self.request_done)

    def failed(self, reason: Reason) -> None:
        """The upstream failed for ``reason``: another answer if none had begun, else a visible break."""
        upstream, self.upstream = self.upstream, None
        if upstream is not None:
            upstream.exchange = None
        if self.ended:
            return
        if self.answered:
            self.ending = Ending.UPSTREAM
            self._end()
            self.downstream.proxy.tally.broken["upstream"] += 1
            self.downstream.break_off()
        else:
            self.refuse(reason)

    def cut(self, reason: Reason) -> None:
        """A limit is reached: an error of our own where no answer has begun, a visible break else."""
        if self.answered:
            ending = Ending.LIMIT if reason is Reason.BODY_TOO_LARGE else Ending.TIMEOUT
            self.downstream.proxy.tally.broken[ending.value] += 1
            self.abandon(ending)
            self.downstream.break_off()
        else:
            self.refuse(reason)

    def refuse(self, reason: Reason, *, again: Again | None = None, retry_after: int | None = None) -> None:
        """Answer with an error of our own: a page, a problem, or what a gRPC-style caller understands.

        ``again`` and ``retry_after`` tell when asking again makes sense, where more is known than the reason says.
        """
        head, request_id = self.head, self.request_id.decode()
        if (grpc := grpc_type(head.field(b"content-type"))) is not None:
            page = grpc_refusal(grpc, reason, request_id, again=again, retry_after=retry_after)
            self._count_as(STATUS[reason])
        elif head.reads_pages(self.method):
            page = error_page(
                reason,
                request_id,
                theme=self.downstream.proxy.theming.theme,
                again=again,
                retry_after=retry_after,
                refresh=self.method == b"GET",
                framed=head.framed,
            )
        else:
            page = problem(reason, request_id, again=again, retry_after=retry_after)
        self.reply(page, reason)

    def _count_as(self, status: int) -> None:
        """Its answer is 200 in HTTP's words, because gRPC's say the rest: it counts as what they stand for."""
        answers = (self.downstream.proxy.tally if self.entry is None else self.entry).answers
        answers[status // 100] += 1
        # Its end will add to this one.
        answers[2] -= 1

    def reply(self, page: Page, reason: Reason) -> None:
        """Answer with a page of our own, counted under ``reason``."""
        self.drop_upstream()
        self.status = page.status
        self.refusal = reason.value
        self.sent_bytes = 0 if self.method == b"HEAD" else len(page.body)
        self.answered = True
        self.first_byte_at = self.downstream.proxy.clock()
        self.downstream.proxy.tally.refusals[reason.value] += 1
        # An HTTP/1.0 client would have to be told that the connection stays open; it is simpler that it does not.
        keep_alive = self.head.keep_alive and self.request_done and self.head.http11 and reason not in _CLOSING
        self.downstream.write_page(page, keep_alive=keep_alive, bodiless=self.method == b"HEAD")
        self._end()
        self.downstream.finish(self, keep_alive)

    def abandon(self, ending: Ending = Ending.CLIENT) -> None:
        """The visitor is gone: the upstream is told at once; a wake that was asked for goes on."""
        self.drop_upstream()
        if not self.ended:
            self.ending = ending
            self._end()

    def drop_upstream(self) -> None:
        """Cut the upstream connection, if there is one: its answer is not wanted any more."""
        upstream, self.upstream = self.upstream, None
        if upstream is not None:
            upstream.exchange = None
            upstream.discard()

    def _end(self) -> None:
        self.ended = True
        if self.pending:
            self.pending.clear()
        self.downstream.proxy.ended(self)
