"""The store on etcd, for many machines: the contract in the words of its v3 JSON gateway.

How calls reach a member is ``etcd_transport.py``, how a watch stays honest ``etcd_watch.py``, how things are written
``etcd_wire.py``. It knows nothing of tenants.
"""

from __future__ import annotations

import asyncio
import math
import ssl
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Final

from gogeta.domain.upstreams import Endpoint
from gogeta.registry.etcd_transport import EtcdTransport
from gogeta.registry.etcd_watch import watch
from gogeta.registry.etcd_wire import (
    AnswerTooLargeError,
    Object,
    after_key,
    entry_of,
    header_revision,
    key64,
    range_of,
    text64,
)
from gogeta.registry.store import (
    Changes,
    Committed,
    CompactedError,
    Delete,
    Entry,
    Guard,
    Listing,
    Put,
    Refused,
    RegistryRefusedError,
    check_commit,
)

_PAGE: Final = 500
"""Entries asked for at once."""
_RESTARTS: Final = 3
"""How often a listing begins anew because its revision was compacted under way."""
_MAX_PREFIXES: Final = 64
_NO_LEASE: Final = "requested lease not found"


class EtcdStore:
    """The store's contract (``store.Store``) on one etcd cluster. Use it on one event loop."""

    def __init__(
        self,
        endpoints: Sequence[Endpoint],
        *,
        tls: ssl.SSLContext | None = None,
        user: str = "",
        password: str = "",
        timeout: float = 3.0,
    ) -> None:
        """Connects to nothing yet. ``timeout``: seconds one member may take for one answer."""
        self._transport = EtcdTransport(endpoints, tls=tls, user=user, password=password, timeout=timeout)
        self._clusters: dict[str, str] = {}
        """Prefix to the id of the cluster it was last listed from."""

    def __repr__(self) -> str:
        return f"<EtcdStore {self._transport!r}>"

    async def get(self, key: str) -> Entry | None:
        """See ``Store``."""
        answer = await self._transport.call("/v3/kv/range", {"key": key64(key)})
        kvs = answer.get("kvs", [])
        return entry_of(kvs[0]) if kvs else None

    async def list(self, prefix: str) -> Listing:
        """See ``Store``. In pages, all at the revision of the first."""
        for _ in range(_RESTARTS):
            try:
                return await self._list_once(prefix)
            except CompactedError:
                continue
        raise RegistryRefusedError(
            f"etcd compacts faster than {prefix} can be listed",
            hint="keep some minutes of history; see docs/registry.md",
        )

    async def _list_once(self, prefix: str) -> Listing:
        entries: list[Entry] = []
        revision, limit = 0, _PAGE
        request: Object = range_of(prefix)
        while True:
            try:
                answer = await self._transport.call("/v3/kv/range", {**request, "limit": limit})
            except AnswerTooLargeError:
                if limit == 1:
                    raise
                limit = max(1, limit // 8)
                continue
            if not revision:
                revision = header_revision(answer)
                self._remember_cluster(prefix, str(answer.get("header", {}).get("cluster_id", "")))
            entries.extend(entry_of(kv) for kv in answer.get("kvs", []))
            if not answer.get("more"):
                return Listing(revision, tuple(entries))
            request = {**request, "key": after_key(entries[-1].key), "revision": str(revision)}

    def _remember_cluster(self, prefix: str, cluster: str) -> None:
        if prefix in self._clusters or len(self._clusters) < _MAX_PREFIXES:
            self._clusters[prefix] = cluster

    async def commit(self, operations: Sequence[Put | Delete], guards: Sequence[Guard] = ()) -> Committed | Refused:
        """See ``Store``."""
        check_commit(operations, guards)
        body: Object = {"success": [_operation(operation) for operation in operations]}
        if guards:
            body["compare"] = [
                {"target": "MOD", "result": "EQUAL", "key": key64(guard.key), "mod_revision": str(guard.revision)}
                for guard in guards
            ]
            # What is there instead comes with the refusal, from the same moment.
            body["failure"] = [{"request_range": {"key": key64(key)}} for key in dict.fromkeys(g.key for g in guards)]
        answer = await self._transport.call("/v3/kv/txn", body, repeatable=not guards)
        if answer.get("succeeded"):
            return Committed(header_revision(answer))
        ranges = (response.get("response_range", {}) for response in answer.get("responses", []))
        return Refused(tuple(entry_of(kv) for found in ranges for kv in found.get("kvs", [])))

    async def watch(self, prefix: str, after: int) -> AsyncGenerator[Changes, None]:
        """See ``Store``."""
        async with aclosing(watch(self._transport, prefix, after, self._clusters.get(prefix))) as told:
            async for changes in told:
                yield changes

    async def grant(self, ttl: float) -> int:
        """See ``Store``. etcd counts whole seconds and raises short ones to what an election takes."""
        if ttl < 1:
            raise ValueError(f"expected a ttl of 1 second or more, not {ttl}")
        # Made again after a lost answer it leaves an unused lease behind, which ends by itself.
        answer = await self._transport.call("/v3/lease/grant", {"TTL": str(math.ceil(ttl))})
        return int(answer["ID"])

    async def keep_alive(self, lease: int) -> bool:
        """See ``Store``."""
        answer = await self._transport.call("/v3/lease/keepalive", {"ID": str(lease)})
        return int(answer.get("result", {}).get("TTL", 0)) > 0

    async def revoke(self, lease: int) -> None:
        """See ``Store``."""
        try:
            await self._transport.call("/v3/lease/revoke", {"ID": str(lease)})
        except RegistryRefusedError as error:
            if _NO_LEASE not in error.message:
                raise

    @property
    def endpoints(self) -> tuple[tuple[str, int], ...]:
        """See ``Store``."""
        return tuple((endpoint.host, endpoint.port) for endpoint in self._transport.endpoints)

    async def close(self) -> None:
        """See ``Store``."""
        await self._transport.close()
        # Let the connections' own tasks end, so that none is left behind when the loop closes.
        await asyncio.sleep(0)


def _operation(operation: Put | Delete) -> Object:
    if isinstance(operation, Delete):
        return {"request_delete_range": {"key": key64(operation.key)}}
    put: Object = {"key": key64(operation.key), "value": text64(operation.value)}
    if operation.lease is not None:
        put["lease"] = str(operation.lease)
    return {"request_put": put}
