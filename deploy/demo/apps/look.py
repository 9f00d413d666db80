"""How the demo's applications look: one page around what each has to say."""

from __future__ import annotations

from string import Template
from typing import Final

_PAGE: Final = Template("""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">
<title>$title</title><style>
:root{color-scheme:light dark;--ink:#1c2430;--soft:#5c6878;--paper:#f6f7f9;--card:#fff;--line:#e3e7ed;--go:#2f6fed}
@media(prefers-color-scheme:dark){:root{--ink:#e8ecf2;--soft:#98a4b3;--paper:#11151b;--card:#1a2029;--line:#2a323e}}
*{box-sizing:border-box}
body{margin:0;min-height:100vh;display:grid;place-items:center;background:var(--paper);color:var(--ink);
font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",sans-serif;padding:1.5rem}
main{background:var(--card);border:1px solid var(--line);border-radius:14px;padding:2.2rem 2.4rem;max-width:34rem;
width:100%}
h1{font-size:1.3rem;line-height:1.3;margin:0 0 .6rem;font-weight:650}
p{margin:.4rem 0;color:var(--soft)} b{color:var(--ink);font-weight:600}
ul{list-style:none;margin:1.2rem 0;padding:0;height:11rem;overflow:auto;border:1px solid var(--line);border-radius:8px}
li{padding:.35rem .8rem;overflow-wrap:anywhere} li+li{border-top:1px solid var(--line)} li i{color:var(--soft)}
form{display:flex;gap:.6rem}
input,button{font:inherit;color:inherit;border:1px solid var(--line);border-radius:8px;padding:.5rem .8rem;
background:none}
input{flex:1;min-width:0} button{background:var(--go);border-color:var(--go);color:#fff;cursor:pointer}
</style></head>
<body><main><h1>$title</h1>
$body
</main></body></html>
""")


def page(title: str, body: str) -> str:
    """A whole HTML document; both arguments are HTML already."""
    return _PAGE.substitute(title=title, body=body)
