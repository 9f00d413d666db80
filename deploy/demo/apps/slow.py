"""The demo's slow application: five seconds pass before it listens, as with many a large one."""

from __future__ import annotations

import time

from site_of_one_page import serve

SECONDS = 5.0

if __name__ == "__main__":
    time.sleep(SECONDS)
    serve("A site that takes five seconds to start")
