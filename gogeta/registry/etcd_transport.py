"""Calls to etcd's v3 JSON gateway: members, failover, retries and tokens.

It knows nothing of listings, commits and watches (``etcd.py``, ``etcd_watch.py``). The rule that shapes it: a call that
may have reached a server is made again only if twice is the same as once; else its caller is told that the outcome is
unknown.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import logging
import random
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import aiohttp

from gogeta.domain.upstreams import Endpoint
from gogeta.kit.backoff import Backoff
from gogeta.kit.clock import monotonic
from gogeta.registry.etcd_wire import (
    Object,
    TokenRefusedError,
    is_error,
    joined,
    lines,
    make_socket,
    meaning,
    parse,
)
from gogeta.registry.store import RegistryError, RegistryRefusedError, RegistryUnavailableError

logger = logging.getLogger(__name__)

RETRY_WINDOW: Final = 10.0
"""Seconds in which repeatable calls are made again. The longest seen at the loss of a leader was 3.1 s."""
_MAX_CONNECTIONS: Final = 128
_CONNECT_SHARE: Final = 0.8
"""Of an attempt's time for connecting: what ends in it has surely not been sent."""

Body = Callable[[], AsyncGenerator[bytes, None]]
_NOT_CONNECTED: Final = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)
_BROKEN: Final = (aiohttp.ClientError, TimeoutError, OSError)


@dataclass(slots=True)
class _Member:
    """One endpoint and how it did lately."""

    endpoint: Endpoint
    backoff: Backoff = field(default_factory=lambda: Backoff(first=0.1, limit=2.0))
    away_until: float = 0.0
    error: RegistryError | None = None
    refuses_tls: bool = False

    def failed(self, error: RegistryError) -> None:
        if self.error is None:
            logger.warning("trouble with the registry: %s", error)
        self.error = error
        self.away_until = monotonic() + self.backoff.next()

    def answered(self) -> None:
        if self.error is not None:
            logger.info("etcd at %s answers again", self.endpoint)
            self.backoff.reset()
            self.away_until = 0.0
            self.error = None
            self.refuses_tls = False


class _Failed(Exception):
    """One attempt at one member failed. ``sent``: the member may have got the call."""

    def __init__(self, error: RegistryError, *, sent: bool) -> None:
        super().__init__(error.message)
        self.error = error
        self.sent = sent


class EtcdTransport:
    """Speaks to the members of one etcd. Nothing is connected before the first call. Use it on one event loop."""

    def __init__(
        self,
        endpoints: Sequence[Endpoint],
        *,
        tls: ssl.SSLContext | None = None,
        user: str = "",
        password: str = "",
        timeout: float = 3.0,
    ) -> None:
        """``timeout``: seconds one attempt at one member may take. Without ``user`` nothing is authenticated."""
        self.endpoints = tuple(endpoints)
        self.timeout = timeout
        self.closed = False
        self._tls = tls
        self._user = user
        self._password = password
        self._members = [_Member(endpoint) for endpoint in endpoints]
        # Many proxies have the same list: they shall not all sit on its first member.
        self._current = random.randrange(len(self._members))  # noqa: S311 - load, not a secret
        self._token: str | None = None
        self._token_lock = asyncio.Lock()
        self._session: aiohttp.ClientSession | None = None
        self._streams: set[aiohttp.ClientResponse] = set()

    def __repr__(self) -> str:
        return f"<EtcdTransport {','.join(str(endpoint) for endpoint in self.endpoints)}>"

    @property
    def authenticates(self) -> bool:
        """Whether there is a user to authenticate."""
        return bool(self._user)

    # --------------------------------------------------------------------------------------------- unary calls

    async def call(self, path: str, body: Mapping[str, object], *, repeatable: bool = True) -> Object:
        """One answer from any member.

        What fails before it is sent is tried again for at least RETRY_WINDOW seconds; a repeatable call also when it
        may have been sent. A call that is not raises RegistryUnavailableError with ``unknown`` then. Raises
        CompactedError and RegistryRefusedError for what etcd answers so.
        """
        data = json.dumps(body).encode()
        deadline = monotonic() + max(RETRY_WINDOW, self.timeout)
        renewed = False
        while True:
            member = await self._next_member(deadline)
            token: str | None = None
            try:
                token = await self._get_token(member)
                answer = await self._attempt(member, path, data, token)
            except _Failed as failed:
                member.failed(failed.error)
                if failed.sent and not repeatable:
                    raise _unknown(failed.error) from failed.error
                self._refuse_untrusted()
            except TokenRefusedError:
                # The server looks at the token before anything else: the call has done nothing.
                if renewed or not self._user:
                    raise
                renewed = True
                self.forget_token(token)
            else:
                member.answered()
                return answer

    async def _attempt(self, member: _Member, path: str, data: bytes, token: str | None) -> Object:
        """One POST to one member. Raises _Failed, or what the member said if that is final."""
        timeout = aiohttp.ClientTimeout(total=self.timeout, sock_connect=self.timeout * _CONNECT_SHARE)
        try:
            async with await self._post(member, path, data, token, timeout) as response:
                answer = parse(await joined(response.content.iter_any()))
                status = response.status
        except _BROKEN as error:
            raise _Failed(self._unreachable(member, error), sent=not isinstance(error, _NOT_CONNECTED)) from error
        if answer is not None and is_error(answer):
            told, certain = meaning(answer, str(member.endpoint))
            if isinstance(told, RegistryUnavailableError):
                raise _Failed(told, sent=not certain)
            raise told
        if answer is None or status != 200:
            raise _Failed(_not_etcd(member, status), sent=True)
        return answer

    # ------------------------------------------------------------------------------------------------- streams

    @contextlib.asynccontextmanager
    async def stream(self, path: str, body: Body, *, silence: float) -> AsyncIterator[AsyncGenerator[Object, None]]:
        """A call whose body and answer both go on: the objects of the answer, as they come.

        Raises RegistryUnavailableError when nothing comes for ``silence`` seconds, when the stream breaks or ends, and
        when no member can be reached (each is tried once). An error object in the stream raises what it means.
        """
        member, response = await self._open(path, body, silence)
        objects = self._objects(member, response)
        self._streams.add(response)
        try:
            yield objects
        finally:
            self._streams.discard(response)
            await objects.aclose()
            response.close()

    async def _open(self, path: str, body: Body, silence: float) -> tuple[_Member, aiohttp.ClientResponse]:
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=self.timeout, sock_read=silence)
        for _ in self._members:
            member = await self._next_member(monotonic() + self.timeout)
            try:
                token = await self._get_token(member)
                return member, await self._post(member, path, body(), token, timeout)
            except _BROKEN as error:
                member.failed(self._unreachable(member, error))
            except _Failed as failed:
                member.failed(failed.error)
            self._refuse_untrusted()
        raise RegistryUnavailableError(*self._nobody())

    async def _objects(self, member: _Member, response: aiohttp.ClientResponse) -> AsyncGenerator[Object, None]:
        try:
            async for line in lines(response.content.iter_any()):
                answer = parse(line)
                result = answer.get("result") if answer else None
                if isinstance(result, dict):
                    member.answered()
                    yield result
                elif answer is not None and is_error(answer):
                    raise meaning(answer, str(member.endpoint))[0]
                else:
                    raise _not_etcd(member, response.status)
            ended = RegistryUnavailableError(f"etcd at {member.endpoint} ended the stream")
            member.failed(ended)
        except _BROKEN as error:
            broken = self._unreachable(member, error)
            member.failed(broken)
            raise broken from error
        except RegistryUnavailableError as error:
            member.failed(error)
            raise
        raise ended

    # ------------------------------------------------------------------------------------------------- members

    async def _next_member(self, deadline: float) -> _Member:
        """The member in use, or the next that is not known to be away; else wait for the first to be due again."""
        while True:
            if self.closed:
                raise RegistryUnavailableError("the registry was closed by this process")
            now = monotonic()
            count = len(self._members)
            for step in range(count):
                index = (self._current + step) % count
                if self._members[index].away_until <= now:
                    self._current = index
                    return self._members[index]
            soonest = min(member.away_until for member in self._members)
            if soonest >= deadline:
                raise RegistryUnavailableError(*self._nobody())
            await asyncio.sleep(soonest - now)

    def _nobody(self) -> tuple[str]:
        errors = [member.error.message for member in self._members if member.error is not None]
        return (f"no etcd member can be used: {'; '.join(errors)}",)

    def _refuse_untrusted(self) -> None:
        """Certificates do not heal by trying again."""
        if all(member.refuses_tls for member in self._members):
            raise RegistryRefusedError(
                *self._nobody(), hint="look at registry_ca, and whether etcd's certificate is for the name in the URL"
            )

    def _unreachable(self, member: _Member, error: Exception) -> RegistryUnavailableError:
        member.refuses_tls = isinstance(
            error, (aiohttp.ClientConnectorCertificateError, aiohttp.ClientConnectorSSLError)
        )
        return RegistryUnavailableError(
            f"etcd at {member.endpoint} does not answer: {str(error) or type(error).__name__}",
            hint="look whether etcd runs and can be reached; it is tried again",
        )

    # -------------------------------------------------------------------------------------------------- tokens

    def forget_token(self, token: str | None = None) -> None:
        """The token was refused: authenticate before the next call, unless somebody has since ``token`` was used."""
        if token is None or token == self._token:
            self._token = None

    async def _get_token(self, member: _Member) -> str | None:
        """The token, authenticating if there is none. Raises _Failed, RegistryRefusedError."""
        if not self._user or self._token is not None:
            return self._token
        async with self._token_lock:
            if self._token is None:
                data = json.dumps({"name": self._user, "password": self._password}).encode()
                try:
                    answer = await self._attempt(member, "/v3/auth/authenticate", data, None)
                except _Failed as failed:
                    # The call that wants the token has not been sent.
                    raise _Failed(failed.error, sent=False) from failed.error
                self._token = str(answer.get("token", ""))
            return self._token

    # ---------------------------------------------------------------------------------------------------- HTTP

    async def _post(
        self,
        member: _Member,
        path: str,
        body: bytes | AsyncGenerator[bytes, None],
        token: str | None,
        timeout: aiohttp.ClientTimeout,
    ) -> aiohttp.ClientResponse:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=_MAX_CONNECTIONS, socket_factory=make_socket),
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
            )
        headers = {"Content-Type": "application/json"}
        if token:
            headers["Authorization"] = token
        if not isinstance(body, bytes):
            # A member cut off from its leader ends the stream instead of staying silent for ever.
            headers["Grpc-Metadata-hasleader"] = "true"
            # Go reads a request to its end before it answers, unless the connection is to be closed after it.
            headers["Connection"] = "close"
        scheme = "http" if self._tls is None else "https"
        return await self._session.post(
            f"{scheme}://{member.endpoint.authority}{path}",
            # aiohttp wants large bodies as files, and turns them all into files anyway.
            data=io.BytesIO(body) if isinstance(body, bytes) else body,
            headers=headers,
            timeout=timeout,
            ssl=True if self._tls is None else self._tls,
            allow_redirects=False,
        )

    async def close(self) -> None:
        """Close all connections. Idempotent."""
        self.closed = True
        for response in self._streams:
            response.close()
        if self._session is not None:
            await self._session.close()


def _unknown(error: RegistryError) -> RegistryUnavailableError:
    return RegistryUnavailableError(
        f"{error.message}; whether the change was made is not known", hint="look before trying again", unknown=True
    )


def _not_etcd(member: _Member, status: int) -> RegistryUnavailableError:
    return RegistryUnavailableError(
        f"what answers at {member.endpoint} does not speak like etcd (HTTP status {status})",
        hint="etcd 3.4 or newer with its JSON gateway is needed, without a web server in between",
    )
