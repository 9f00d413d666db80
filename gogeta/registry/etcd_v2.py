"""etcd's older v2 keys API, for reading alone: what a migration starts from. Nothing of the product lives there.

etcd 2 has only this API; 3.0 to 3.5 have it beside v3 (from 3.4 on with ``--enable-v2``), with keys and users of its
own. Members are tried one after the other, each once: this is for a command that a person has typed.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import quote

import aiohttp

from gogeta.domain.upstreams import Endpoint
from gogeta.registry.etcd_wire import Object, joined, make_socket, parse, text64
from gogeta.registry.store import RegistryError, RegistryRefusedError, RegistryUnavailableError

_WHOLE: Final = 60.0
"""Seconds for one answer as a whole: a large folder takes its time, as long as it keeps coming."""
_KEY_NOT_FOUND: Final = 100
_NOT_ENOUGH_RIGHTS: Final = 110
_VERSION: Final = re.compile(r"(?:etcd )?(\d{1,4})\.(\d{1,4})").match
_MAX_VERSION_BYTES: Final = 64 * 1024


class NotServedError(RegistryRefusedError):
    """This etcd has no v2 API, or it is switched off."""


class EtcdV2:
    """Reads from the members of one etcd. Nothing is connected before the first call. Use it on one event loop."""

    def __init__(
        self,
        endpoints: Sequence[Endpoint],
        *,
        tls: ssl.SSLContext | None = None,
        user: str = "",
        password: str = "",
        timeout: float = 3.0,
    ) -> None:
        """``timeout``: seconds for connecting, and for any silence after it."""
        self._endpoints = tuple(endpoints)
        self._tls = tls
        # RFC 7617; a name with a colon is none of v2's users.
        credentials = text64(f"{user}:{password}".encode())
        self._headers = {"Authorization": f"Basic {credentials}"} if user and ":" not in user else {}
        self._timeout = aiohttp.ClientTimeout(total=_WHOLE, sock_connect=timeout, sock_read=timeout)
        self._session: aiohttp.ClientSession | None = None

    async def version(self) -> tuple[int, int]:
        """Major and minor version of the server. Raises RegistryUnavailableError, also for what is no etcd."""
        status, body, member = await self._get("/version", _MAX_VERSION_BYTES, authenticated=False)
        answer = parse(body)
        text = answer.get("etcdserver") if answer is not None else body[:100].decode("ascii", "replace")
        found = _VERSION(text) if isinstance(text, str) else None
        if status != 200 or found is None:
            raise RegistryUnavailableError(
                f"what answers at {member} is no etcd (HTTP status {status})",
                hint="name etcd's client address, such as http://10.0.0.5:2379 (4001 with etcd before 2.0)",
            )
        return int(found[1]), int(found[2])

    async def folder(self, path: str, *, limit: int) -> Object | None:
        """The node at ``path`` with everything below it, hidden keys left out; None where there is none.

        Not older than any write that had been answered. Raises NotServedError, RegistryRefusedError,
        RegistryUnavailableError; AnswerTooLargeError for more than ``limit`` bytes.
        """
        target = f"/v2/keys{quote(path)}?recursive=true&quorum=true"
        status, body, member = await self._get(target, limit)
        answer = parse(body) or {}
        node = answer.get("node")
        if status == 200 and isinstance(node, dict):
            return node
        code = answer.get("errorCode")
        if code == _KEY_NOT_FOUND:
            return None
        raise _meaning(status, code, str(answer.get("message") or "no message"), str(member))

    async def _get(self, target: str, limit: int, *, authenticated: bool = True) -> tuple[int, bytes, Endpoint]:
        """Status and body of one GET, and who answered."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(socket_factory=make_socket),
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
                timeout=self._timeout,
            )
        failures = []
        scheme = "http" if self._tls is None else "https"
        for endpoint in self._endpoints:
            try:
                async with self._session.get(
                    f"{scheme}://{endpoint.authority}{target}",
                    headers=self._headers if authenticated else {},
                    ssl=True if self._tls is None else self._tls,
                    allow_redirects=False,
                ) as response:
                    return response.status, await joined(response.content.iter_any(), limit), endpoint
            except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
                failures.append(f"etcd at {endpoint} does not answer: {str(error) or type(error).__name__}")
        raise RegistryUnavailableError("; ".join(failures), hint="look whether etcd runs and can be reached from here")

    async def close(self) -> None:
        """Close all connections. Idempotent."""
        if self._session is not None:
            await self._session.close()
            # Let the connections' own tasks end, so that none is left behind when the loop closes.
            await asyncio.sleep(0)


def _meaning(status: int, code: Any, message: str, member: str) -> RegistryError:  # noqa: ANN401 - whatever JSON holds
    if status in (401, 403) or code == _NOT_ENOUGH_RIGHTS:
        return RegistryRefusedError(
            f"etcd at {member} refuses to show it: {message}",
            hint="name a user of its v2 API who may read it; look at the user and the password",
        )
    if status == 404 and code is None:
        return NotServedError(f"etcd at {member} does not serve the v2 API", hint="it may run without --enable-v2")
    if isinstance(code, int):
        return RegistryUnavailableError(f"etcd at {member}: {message}", hint="look at etcd's log, and try again")
    return RegistryUnavailableError(
        f"what answers at {member} does not speak etcd's v2 API (HTTP status {status})",
        hint="name etcd's own client address, without a web server in between",
    )
