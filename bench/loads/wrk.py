"""wrk, for requests as many as a proxy can take: one thread, connections that are kept, the next when answered."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Final

from bench.head import SAME, VARIED, browser_head
from bench.stage import Command, Stage, first_line
from tests.rig.programs import resolve

INSTALL: Final = "apt-get install wrk"
_SCRIPT: Final = """\
local head = %s
local varied = %s
if varied then
  local count, format = 0, string.format
  function request()
    count = count + 1
    return (format(head, count, count, count))
  end
else
  function request() return head end
end
function done(summary, latency)
  local errors = summary.errors
  local failed = errors.connect + errors.read + errors.write + errors.status + errors.timeout
  print(string.format('{"count": %%d, "seconds": %%f, "failed": %%d, "p50": %%f, "p99": %%f}',
    summary.requests, summary.duration / 1e6, failed, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
"""


@dataclass(frozen=True)
class Answered:
    """What one run came to; times in milliseconds."""

    count: int
    seconds: float
    failed: int
    p50: float
    p99: float


def version() -> str:
    """As it tells it. Raises FileNotFoundError when it is not on this machine."""
    return " ".join(first_line([resolve("wrk"), "-v"]).split()[:2])


def drive(stage: Stage, port: int, *, varied: bool, connections: int, seconds: int) -> Answered:
    """Send the same request over and over, or each with another path and cookie."""
    script = stage.subfolder("wrk") / "load.lua"
    head = browser_head(VARIED if varied else SAME)
    # A JSON string is a Lua one, as long as it is ASCII.
    text = json.dumps(head.replace("%", "%%").replace("{n}", "%d") if varied else head.replace("{n}", "4711"))
    script.write_text(_SCRIPT % (text, str(varied).lower()))
    url = f"http://127.0.0.1:{port}/"
    argv: Command = ["wrk", "-t", "1", "-c", str(connections), "-d", f"{seconds}s", "--latency", "-s", script, url]
    return Answered(**json.loads(stage.run(argv, timeout=seconds * 2 + 30).strip().splitlines()[-1]))
