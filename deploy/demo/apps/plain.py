"""The demo's first application: a plain site."""

from __future__ import annotations

from site_of_one_page import serve

if __name__ == "__main__":
    serve("A plain site")
