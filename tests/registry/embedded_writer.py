"""A process that writes to an embedded registry until it is killed, and says what was acknowledged: a part of a test.

`python -m tests.registry.embedded_writer FILE NAME` counts its own key up, and one that all writers share by
compare-and-set; after each answered commit it prints its count.
"""

import asyncio
import sys

from gogeta.registry.embedded import EmbeddedStore
from gogeta.registry.store import Guard, Put


async def write(path: str, name: str) -> None:
    store = EmbeddedStore(path, timeout=10)
    own, shared = f"/own/{name}", "/shared"
    mine = await store.get(own)
    count = int(mine.value) if mine else 0
    while True:
        total = await store.get(shared)
        guard = Guard(shared, total.revision if total else 0)
        value = str((int(total.value) if total else 0) + 1).encode()
        # One commit: either both counted or neither.
        result = await store.commit([Put(shared, value), Put(own, str(count + 1).encode())], [guard])
        if result.happened:
            count += 1
            sys.stdout.write(f"{count}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(write(sys.argv[1], sys.argv[2]))
