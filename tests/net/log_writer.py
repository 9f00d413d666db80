"""One of several processes that write to one access log: ``python -m tests.net.log_writer FILE COUNT NAME``."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable

from gogeta.core.access_record import Ending, RecordFormat
from gogeta.net.access_log import AccessLog


def note(
    log: AccessLog,
    request_id: bytes,
    *,
    ended: float = 2.0,
    target: bytes = b"/",
    fields: Iterable[tuple[bytes, bytes]] = (),
) -> None:
    """Note one ordinary exchange."""
    http11, reused, complete = True, False, Ending.COMPLETE
    asked = (b"GET", b"acme.test", target, http11, fields)
    log.note(1.0, 1.0, 1.0, ended, request_id, "acme", "::1", *asked, 200, "", complete, 0, 0, "", reused, 1)


def main() -> None:
    """Write COUNT records, and end."""
    path, count, name = sys.argv[1], int(sys.argv[2]), sys.argv[3].encode()
    log = AccessLog(path, RecordFormat("json", query=True))
    log.start()
    for number in range(count):
        note(log, b"%b-%d" % (name, number), target=b"/" + b"x" * (number * 7 % 1500))
        if number % 50 == 0:
            time.sleep(0.001)
    log.close()
    if (log.written, log.dropped) != (count, 0):
        raise SystemExit(f"{log!r}")


if __name__ == "__main__":
    main()
