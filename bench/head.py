"""The request heads of the loads: what a browser sends, in one place, so that every load sends the same."""

from __future__ import annotations

from typing import Final

from bench.stage import HOST

_FIELDS: Final = (
    f"Host: {HOST}",
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36",
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8",
    "Accept-Language: en-GB,en;q=0.9,de;q=0.8",
    "Accept-Encoding: gzip, deflate, br, zstd",
    f"Referer: http://{HOST}/projects/overview?sort=changed",
    "Sec-Fetch-Mode: navigate",
    "Upgrade-Insecure-Requests: 1",
    "Cookie: session=7f3b2c1d9e8a4f60b5c4d3e2f1a09876; theme=dark; seen={n}; consent=necessary",
)

SAME: Final = "/"
VARIED: Final = "/varied/{n}/page?item={n}"


def browser_head(target: str, *, method: str = "GET", more: tuple[str, ...] = ()) -> str:
    """A head of nine fields and about 600 bytes; ``{n}`` in it stands for what a varied load counts."""
    return "\r\n".join([f"{method} {target} HTTP/1.1", *_FIELDS, *more, "", ""])


def plain_head(target: str = SAME) -> bytes:
    """The same for those who send nothing that varies."""
    return browser_head(target).replace("{n}", "4711").encode()
