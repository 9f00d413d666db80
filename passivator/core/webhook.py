"""What a webhook says, and how it is signed: the Standard Webhooks scheme. Pure.

The body is versioned and documented in docs/webhooks.md. The signature is HMAC-SHA256 over id, time and body, so that a
receiver can tell that we said it, lately, and say so only once.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from passivator.core.transition import Transition

BODY_VERSION: Final = 1
PREFIX: Final = "whsec_"
_SHORTEST: Final = 16
_LONGEST: Final = 256
MOST_SECRETS: Final = 4


@dataclass(frozen=True, slots=True)
class Message:
    """One event, ready to be signed and sent; the same to everybody, however often."""

    id: str
    tenant: str
    revision: int
    body: bytes


def message_of(change: Transition, group: str) -> Message:
    """The message of a transition that is an event. Its id is the same wherever and whenever it is made of it."""
    event = change.event
    assert event is not None  # noqa: S101 - the caller has looked
    mark = f"{group}\n{change.tenant}\n{event}\n{change.revision}".encode()
    data: dict[str, Any] = {
        "tenant": change.tenant,
        "from": None if change.before is None else change.before.value,
        "to": change.after.value,
        "who": change.who,
        "why": change.why,
        "wake": change.wake,
        "request_id": change.request_id or None,
        "trace_id": None if change.trace is None else change.trace.trace_id,
        "phases": [{"name": phase.name, "ms": phase.ms} for phase in change.phases],
        "reason": None,
    }
    if event == "failed" and change.reason is not None:
        data["reason"] = {
            "code": change.reason.code.value,
            "message": change.reason.message,
            "failures": change.reason.failures,
            "given_up": change.reason.given_up,
            "retry_at": None if change.reason.retry_at is None else _time(change.reason.retry_at),
        }
    body = {"version": BODY_VERSION, "type": f"tenant.{event}", "timestamp": _time(change.at), "data": data}
    return Message(
        f"msg_{hashlib.sha256(mark).hexdigest()[:32]}",
        change.tenant,
        change.revision,
        json.dumps(body, separators=(",", ":")).encode(),
    )


def signed(message: Message, timestamp: int, secrets: Sequence[bytes]) -> dict[str, str]:
    """The fields of one try; ``timestamp`` is that of the try, in seconds since 1970. One signature for each secret."""
    content = f"{message.id}.{timestamp}.".encode() + message.body
    signatures = (base64.b64encode(hmac.digest(secret, content, "sha256")).decode() for secret in secrets)
    return {
        "Content-Type": "application/json",
        "webhook-id": message.id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(f"v1,{signature}" for signature in signatures),
    }


def parse_secrets(text: str) -> tuple[bytes, ...]:
    """The secrets of a file, one a line. Raises ValueError, which never shows one."""
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if not 1 <= len(lines) <= MOST_SECRETS:
        raise ValueError(f"expected one to {MOST_SECRETS} secrets, each on a line of its own, not {len(lines)}")
    secrets = []
    for number, line in enumerate(lines, 1):
        try:
            secret = base64.b64decode(line.removeprefix(PREFIX), validate=True) if line.startswith(PREFIX) else None
        except (binascii.Error, ValueError):
            raise ValueError(f"what stands behind {PREFIX} in secret {number} is not base64") from None
        secret = line.encode() if secret is None else secret
        if not _SHORTEST <= len(secret) <= _LONGEST:
            raise ValueError(f"secret {number} is {len(secret)} bytes long, expected {_SHORTEST} to {_LONGEST}")
        secrets.append(secret)
    return tuple(secrets)


def _time(milliseconds: int) -> str:
    seconds, rest = divmod(milliseconds, 1000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:03d}Z"
