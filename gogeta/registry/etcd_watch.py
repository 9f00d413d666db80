"""Watches on etcd: one stream each, that proves every two seconds that it is alive.

How a silent watch is found. etcd's own progress notifications come every ten minutes unless its operator sets a flag,
and a key written to see it come back costs a commit each time. But etcd answers a ``progress_request`` on the watch's
own stream, from memory: so the request's body stays open, and asks for progress every two seconds. No line for five
seconds means that the connection, the member or the stream is dead. (``Connection: close`` makes this possible, see the
transport; a member without a leader ends the stream by itself after some four seconds.)

What has been told. Catch-up events carry the member's *current* revision in their header, and so do ``created`` and the
answer to a progress request (before 3.4.25 and 3.5.8 even while events are still to come). So only the revisions of the
events themselves count, and the header of the periodic notification, which etcd sends in order with them.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final

from gogeta.registry.etcd_transport import EtcdTransport
from gogeta.registry.etcd_wire import Object, TokenRefusedError, change_of, header_revision, range_of
from gogeta.registry.store import Change, Changes, CompactedError, RegistryRefusedError, RegistryUnavailableError

ASK_EVERY: Final = 2.0
"""Seconds between two questions for a sign of life."""
SILENCE: Final = 5.0
"""Seconds without any line after which a watch counts as dead."""
_NO_WATCH: Final = "-1"
"""The watch that the answer to a progress request names: none."""


async def watch(
    transport: EtcdTransport, prefix: str, after: int, cluster: str | None
) -> AsyncGenerator[Changes, None]:
    """``Store.watch`` on a transport; it ends when that is closed.

    ``cluster`` is the etcd that ``after`` was learned from: another one has another history (CompactedError).
    """
    renewed = False
    while True:
        try:
            async with aclosing(_watch_once(transport, prefix, after, cluster)) as told:
                async for changes in told:
                    renewed = False
                    yield changes
                    after = changes.revision
        except TokenRefusedError:
            if renewed or not transport.authenticates:
                raise
            renewed = True
            transport.forget_token()
        except RegistryUnavailableError:
            if transport.closed:
                return
            raise


async def _watch_once(
    transport: EtcdTransport, prefix: str, after: int, cluster: str | None
) -> AsyncGenerator[Changes, None]:
    create = {**range_of(prefix), "start_revision": str(after + 1), "progress_notify": True, "fragment": True}

    async def body() -> AsyncGenerator[bytes, None]:
        yield json.dumps({"create_request": create}).encode() + b"\n"
        while True:
            await asyncio.sleep(ASK_EVERY)
            yield b'{"progress_request": {}}\n'

    held: list[Change] = []
    async with transport.stream("/v3/watch", body, silence=SILENCE) as results:
        async for result in results:
            if result.get("canceled"):
                raise _ended(result, prefix)
            if result.get("created"):
                await _check_history(transport, prefix, after, cluster, result)
            elif events := result.get("events"):
                held.extend(change_of(event) for event in events)
                # In a fragment the last commit may be cut in two; it is told whole or not at all.
                cut = held[-1].revision if result.get("fragment") else None
                whole = tuple(change for change in held if change.revision != cut)
                del held[: len(whole)]
                if not whole:
                    continue
                after = whole[-1].revision
                yield Changes(after, whole)
                continue
            elif result.get("watch_id", "0") != _NO_WATCH and not held:
                after = max(after, header_revision(result))
            yield Changes(after, ())


def _ended(result: Object, prefix: str) -> CompactedError | RegistryRefusedError:
    """Why etcd cancelled a watch."""
    if int(result.get("compact_revision", 0)):
        return CompactedError(f"etcd's history of {prefix} was compacted up to {result['compact_revision']}")
    # An invalid token and a missing permission look alike here; a new token tells them apart.
    reason = result.get("cancel_reason") or "no reason given"
    return TokenRefusedError(
        f"etcd refused to let us watch {prefix}: {reason}",
        hint="grant the user what docs/registry.md lists for its role",
    )


async def _check_history(
    transport: EtcdTransport, prefix: str, after: int, cluster: str | None, created: Object
) -> None:
    """Make sure that what we know comes from this etcd: one that was emptied or restored would just stay silent."""
    if cluster is not None and created.get("header", {}).get("cluster_id", cluster) != cluster:
        raise CompactedError("this is another etcd cluster than before")
    if header_revision(created) >= after:
        return
    # A follower may be behind; what a quorum says is the truth.
    answer = await transport.call("/v3/kv/range", {**range_of(prefix), "limit": 1, "keys_only": True})
    if header_revision(answer) < after:
        raise CompactedError(f"etcd is at revision {header_revision(answer)}, and was at {after} before")
