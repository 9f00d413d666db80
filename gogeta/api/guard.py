"""Who may do what on an admin listener: bearer tokens with roles, and nothing for pages of other sites.

Off only where nobody but this machine can come: on a loopback address, unless the settings say otherwise. There,
whoever shows a token is held to it all the same. A browser on this machine is a way in from everywhere, so what another
site's page asks for is refused whatever it shows. Every change is written down: who, what, from where, how it ended.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Final
from urllib.parse import quote

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from prometheus_client.core import CounterMetricFamily
from prometheus_client.metrics_core import Metric

from gogeta.api.operation import STILL_ALLOWED, Operation, Role, operation_of
from gogeta.api.problems import ApiError, Code, require_own_origin
from gogeta.api.tenants import CALLER_ROLE
from gogeta.domain.tokens import Token, expired, matches
from gogeta.domain.upstreams import is_loopback
from gogeta.kit.clock import monotonic, wall_ms
from gogeta.registry.tokens import TokenMirror

audit = logging.getLogger("gogeta.audit")

CALLER: Final = web.RequestKey("caller", str)
"""The request's key under which the caller's name is left."""
MAX_FAILURES: Final = 10
"""Wrong tokens from one address in a minute; then it has to wait."""
_WINDOW: Final = 60.0
_ADDRESSES: Final = 4096
_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_OWN: Final = frozenset({"none", "same-origin"})
_PROXIED: Final = ("Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-IP", "Via")
_CHALLENGE: Final = {"WWW-Authenticate": 'Bearer realm="gogeta"'}


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, and what they may do."""

    name: str
    role: Role
    token: Token | None = None
    """What it was shown by; None: by coming from here."""


class Failures:
    """Wrong tokens, by address, each in a window of a minute. Bounded: the address silent for longest goes first."""

    def __init__(self) -> None:
        self._since: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def __len__(self) -> int:
        """How many addresses are remembered."""
        return len(self._since)

    def wait(self, address: str, now: float) -> float:
        """Seconds until the address may try again; 0: now."""
        since, count = self._since.get(address, (now, 0))
        return max(0.0, since + _WINDOW - now) if count >= MAX_FAILURES else 0.0

    def failed(self, address: str, now: float) -> None:
        """A wrong token came from there."""
        since, count = self._since.pop(address, (now, 0))
        self._since[address] = (since, count + 1) if now - since < _WINDOW else (now, 1)
        if len(self._since) > _ADDRESSES:
            self._since.popitem(last=False)


class Guard:
    """The middleware of an admin listener; everything that is an operation passes it."""

    def __init__(self, tokens: TokenMirror, *, always: bool, program: str) -> None:
        """``always``: a token has to be shown; else who comes from this machine to a loopback address needs none."""
        self.tokens = tokens
        self._program = program
        self.cookie = f"{program}_token"
        """Where a browser keeps a token. Cookies know no ports, and two programs may have one host."""
        self._always = always
        self._failures = Failures()
        self.refused: dict[str, int] = dict.fromkeys(("foreign", "wrong", "missing", "role", "too-many"), 0)
        """Requests that were not let in, by reason."""

    def collect(self) -> Iterator[Metric]:
        """The guard's metrics."""
        refused = CounterMetricFamily(
            f"{self._program}_api_refused", "Requests that the admin API did not let in, by reason.", labels=["reason"]
        )
        for reason, number in self.refused.items():
            refused.add_metric([reason], number)
        yield refused

    @property
    def middleware(self) -> Middleware:
        """For ``AdminSite.add_middleware``."""

        @web.middleware
        async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
            operation = operation_of(request)
            if operation is None:
                return await handler(request)
            try:
                caller = self._let_in(request, operation)
            except ApiError as refused:
                if refused.status == 401 and request.method == "GET" and not request.path.startswith("/api/"):
                    return web.Response(status=303, headers={"Location": f"/login?next={quote(request.path_qs)}"})
                return refused.response()
            request[CALLER_ROLE], request[CALLER] = caller.role, caller.name
            still_allowed: Callable[[], bool] = partial(self._is_worth, caller, operation.role)
            request[STILL_ALLOWED] = still_allowed
            if request.method in _SAFE:
                return await handler(request)
            return await self._audited(request, handler, caller)

        return guard

    def _let_in(self, request: web.Request, operation: Operation) -> Caller:
        self.refuse_foreign(request)
        caller = self.identify(request)
        if caller is None:
            raise self._missing()
        if caller.role < operation.role:
            raise self._beyond(caller, operation)
        return caller

    def identify(self, request: web.Request) -> Caller | None:
        """Who asks; None where a token has to be shown and none was. Raises ApiError for one that is wrong."""
        shown = request.headers.get("Authorization")
        if shown is None and (cookie := request.cookies.get(self.cookie)) is not None:
            shown = f"Bearer {cookie}"
        if shown is None:
            return None if self._always or not _from_here(request) else Caller("loopback", Role.ADMIN)
        return self.caller_of(request, shown)

    def caller_of(self, request: web.Request, shown: str) -> Caller:
        """Whose token ``shown`` has, as an Authorization field shows it. Raises ApiError."""
        if not self.tokens.source.synced:
            detail = "the tokens have not been read from the registry yet"
            raise ApiError(503, Code.REGISTRY_UNAVAILABLE, detail, headers={"Retry-After": "1"})
        scheme, _, text = shown.partition(" ")
        name, _, secret = text.strip().partition(".")
        token = self.tokens.by_name.get(name) if scheme.lower() == "bearer" else None
        if matches(token, secret, wall_ms()) and token is not None:
            return Caller(name, _role(token), token)
        address, now = request.remote or "", monotonic()
        # Only who is wrong has to wait: a neighbour behind the same address is not locked out.
        if (wait := self._failures.wait(address, now)) > 0:
            self.refused["too-many"] += 1
            detail = f"{MAX_FAILURES} wrong tokens came from {address} within a minute"
            raise ApiError(429, Code.TOO_MANY, detail, headers={"Retry-After": str(int(wait) + 1)})
        self._failures.failed(address, now)
        self.refused["wrong"] += 1
        raise ApiError(
            401,
            Code.UNAUTHENTICATED,
            _why(scheme, text, token),
            hint="expected Authorization: Bearer NAME.SECRET, as `gogeta token create` printed it",
            headers={"WWW-Authenticate": f'{_CHALLENGE["WWW-Authenticate"]}, error="invalid_token"'},
        )

    def _is_worth(self, caller: Caller, role: Role) -> bool:
        """Whether what the caller was let in by still is worth ``role``."""
        if caller.token is None:
            return True
        token = self.tokens.by_name.get(caller.name)
        # Made anew under its name it is another one.
        if token is None or token.hash != caller.token.hash or expired(token, wall_ms()):
            return False
        try:
            return _role(token) >= role
        except ApiError:
            return False

    def refuse_foreign(self, request: web.Request) -> None:
        """Keep out what a page of another site asks for, reads of streams included. Raises ApiError."""
        try:
            require_own_origin(request)
        except ApiError:
            self.refused["foreign"] += 1
            raise
        if request.method not in _SAFE and request.headers.get("Sec-Fetch-Site", "none") not in _OWN:
            self.refused["foreign"] += 1
            raise ApiError(403, Code.CROSS_ORIGIN, "the admin API does not answer other web pages")

    def _missing(self) -> ApiError:
        self.refused["missing"] += 1
        return ApiError(
            401,
            Code.UNAUTHENTICATED,
            "a token is needed here",
            hint="`gogeta token create NAME --role read` makes one; send it as Authorization: Bearer NAME.SECRET",
            headers=_CHALLENGE,
        )

    def _beyond(self, caller: Caller, operation: Operation) -> ApiError:
        self.refused["role"] += 1
        needed, has = operation.role.name.lower(), caller.role.name.lower()
        detail = f"this takes role {needed}, and token {caller.name!r} has role {has}"
        scope = {"WWW-Authenticate": f'{_CHALLENGE["WWW-Authenticate"]}, error="insufficient_scope", scope="{needed}"'}
        return ApiError(403, Code.FORBIDDEN, detail, headers=scope)

    async def _audited(self, request: web.Request, handler: Handler, caller: Caller) -> web.StreamResponse:
        status = 500
        try:
            response = await handler(request)
            status = response.status
        finally:
            # Paths of operations consist of names that were checked; what did not match any has not come here.
            who, what = f"{caller.name} ({caller.role.name.lower()})", f"{request.method} {request.path!r}"
            audit.info("%s %s from %s: %d", who, what, request.remote, status)
        return response


def _from_here(request: web.Request) -> bool:
    """Whether nobody but this machine can be asking: both ends are loopback addresses, and no proxy stands between.

    The socket says it, not the setting: one that was passed in may listen elsewhere.
    """
    transport = request.transport
    if transport is None or any(name in request.headers for name in _PROXIED):
        return False
    ends = (transport.get_extra_info("sockname"), transport.get_extra_info("peername"))
    return all(isinstance(end, tuple) and is_loopback(str(end[0])) for end in ends)


def _role(token: Token) -> Role:
    try:
        return Role[token.role.upper()]
    except KeyError:
        raise ApiError(403, Code.FORBIDDEN, f"the token's role {token.role!r} is not known here") from None


def _why(scheme: str, text: str, token: Token | None) -> str:
    if scheme.lower() != "bearer":
        return "the Authorization field has another scheme than Bearer"
    if "." not in text:
        return "this is no token: it has no dot between a name and a secret"
    if token is not None and expired(token, wall_ms()):
        return "the token has expired, or is not known"
    return "the token is not known, was revoked, or its secret is wrong"
