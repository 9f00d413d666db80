"""Our own pages as templates, and the script that keeps the starting page live. Plain text; ``theme.py`` judges it.

The script needs nothing but the page: it listens to progress on the host the page came from, shows what it hears, and
asks for the very address again when the application is ready. Of several tabs on the same application one listens and
tells the others, because a browser has only six connections to a host.
"""

from __future__ import annotations

from typing import Final

PROGRESS_PATH: Final = "/.well-known/gogeta/progress"
"""Where the starting page listens. Such a request is ours only while the tenant is not up."""

STYLE: Final = """
:root{color-scheme:light dark;--ink:#17202c;--soft:#586576;--faint:#8a95a5;--paper:#eef1f6;--glow:#dfe8fb;--card:#fff;
--line:#e2e7ee;--go:#2563eb;--good:#15803d;--shade:0 1px 2px #17202c0d,0 12px 40px #17202c14}
@media(prefers-color-scheme:dark){:root{--ink:#e9eef5;--soft:#9aa7b8;--faint:#6c7889;--paper:#0d1117;--glow:#15213a;
--card:#161c25;--line:#28313e;--go:#6ea0ff;--good:#4ade80;--shade:0 1px 2px #0006,0 12px 40px #0006}}
*{box-sizing:border-box}
body{margin:0;min-height:100vh;min-height:100dvh;display:grid;place-items:center;padding:1.25rem;color:var(--ink);
background:radial-gradient(60rem 32rem at 50% -6rem,var(--glow),transparent) var(--paper);
font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",sans-serif}
main{width:100%;max-width:29rem;background:var(--card);border:1px solid var(--line);border-radius:18px;
padding:2.1rem 2.25rem 1.6rem;box-shadow:var(--shade)}
@media(max-width:30rem){main{padding:1.6rem 1.4rem 1.3rem}}
h1{font-size:1.35rem;line-height:1.3;letter-spacing:-.01em;font-weight:650;margin:0 0 .5rem;overflow-wrap:anywhere;
text-wrap:balance}
p{margin:0;color:var(--soft);text-wrap:pretty}
.bar{height:6px;border-radius:3px;background:var(--line);overflow:hidden;margin:1.5rem 0 .7rem}
.bar i{display:block;height:100%;width:34%;border-radius:3px;background:var(--go);
animation:pass 1.5s cubic-bezier(.5,.1,.5,.9) infinite}
.bar[data-known] i{animation:none;transition:width 1.1s linear}
@keyframes pass{from{transform:translateX(-110%)}to{transform:translateX(310%)}}
.outlook{font-size:.9rem;min-height:1.4em}
ol{list-style:none;margin:1.4rem 0 0;padding:1.1rem 0 0;border-top:1px solid var(--line);display:grid;gap:.6rem;
font-size:.95rem}
li{position:relative;display:flex;align-items:center;gap:.7rem;color:var(--faint)}
li::before{content:"";flex:none;width:1.05rem;height:1.05rem;border-radius:50%;border:2px solid var(--line)}
li span{margin-left:auto;font-variant-numeric:tabular-nums;font-size:.88rem;color:var(--soft)}
li[data-state=now]{color:var(--ink);font-weight:550}
li[data-state=now] span{font-weight:400}
li[data-state=now]::before{border-color:var(--go);border-right-color:transparent;animation:turn .9s linear infinite}
li[data-state=done]{color:var(--soft)}
li[data-state=done]::before{border-color:var(--good);background:var(--good)}
li[data-state=done]::after{content:"";position:absolute;left:.36rem;top:calc(50% - .38rem);width:.32rem;height:.58rem;
border:solid var(--card);border-width:0 2px 2px 0;transform:rotate(42deg)}
@keyframes turn{to{transform:rotate(1turn)}}
.id{font:12px/1.4 ui-monospace,SFMono-Regular,Menlo,monospace;color:var(--faint);margin-top:1.5rem;
overflow-wrap:anywhere}
.again:empty{display:none}
.again{margin-top:.9rem;padding-top:.9rem;border-top:1px solid var(--line)}
[data-stage=failed] .bar,[data-stage=failed] ol,[data-stage=stopped] .bar,[data-stage=stopped] ol{display:none}
[data-stage=failed] .outlook,[data-stage=stopped] .outlook{margin-top:.9rem}
@media(prefers-reduced-motion:reduce){.bar i{animation:none;width:100%;opacity:.45}.bar[data-known] i{opacity:1;
transition:none}li[data-state=now]::before{animation:none;border-right-color:var(--go)}}
""".strip()

_TOP: Final = f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width,initial-scale=1"><meta name="robots" content="noindex">
<title>{{{{heading}}}}</title>
<style>{STYLE}</style>
</head>
"""

STARTING: Final = f"""{_TOP}<body><main>
<h1 data-gogeta="heading">{{{{heading}}}}</h1>
<p role="status" data-gogeta="text">{{{{text}}}}</p>
<div class="bar" role="progressbar" aria-label="Progress" data-gogeta="bar"><i></i></div>
<p class="outlook" data-gogeta="outlook">{{{{outlook}}}}</p>
<ol>
<li data-gogeta="queued" data-state="{{{{queued_state}}}}">Waiting for its turn<span>{{{{queued_time}}}}</span></li>
<li data-gogeta="started" data-state="{{{{started_state}}}}">Starting<span>{{{{started_time}}}}</span></li>
<li data-gogeta="ready" data-state="{{{{ready_state}}}}">Getting ready<span>{{{{ready_time}}}}</span></li>
</ol>
<p class="id">Request {{{{request_id}}}}</p>
</main></body></html>
"""

ERROR: Final = f"""{_TOP}<body><main>
<h1>{{{{heading}}}}</h1>
<p>{{{{text}}}}</p>
<p class="again">{{{{outlook}}}}</p>
<p class="id">Request {{{{request_id}}}}</p>
</main></body></html>
"""

_STEPS: Final = frozenset(f"{step}_{part}" for step in ("queued", "started", "ready") for part in ("state", "time"))
STARTING_PLACEHOLDERS: Final = _STEPS | {
    "heading",
    "host",
    "text",
    "outlook",
    "stage",
    "ahead",
    "percent",
    "request_id",
    "retry_after",
}
ERROR_PLACEHOLDERS: Final = frozenset({"heading", "text", "outlook", "status", "code", "request_id", "retry_after"})

SCRIPT: Final = """
(() => {
  "use strict";
  const SILENCE = 20000;
  const kinds = ["progress", "ready", "failed", "again"];
  const me = Math.random();
  let source = null, leaving = false, over = false, heard = Date.now(), latest = null;
  const tabs = window.BroadcastChannel ? new BroadcastChannel("gogeta-progress") : null;

  const parts = (name) => document.querySelectorAll('[data-gogeta="' + name + '"]');
  const put = (name, text) => parts(name).forEach((part) => { part.textContent = text; });

  // The very address again, with its query and fragment, in the place of this page in the history.
  const leave = () => {
    if (leaving) return;
    leaving = true;
    if (source) source.close();
    location.reload();
  };
  // Nothing more is to be heard. Nobody is waiting behind a tab that is not looked at: it wakes nothing.
  const leaveWhenSeen = () => {
    over = true;
    if (source) source.close();
    if (document.hidden) document.addEventListener("visibilitychange", leaveWhenSeen, {once: true});
    else leave();
  };

  const show = (kind, data) => {
    if (data.stage) document.documentElement.dataset.stage = data.stage;
    if (data.heading) { put("heading", data.heading); document.title = data.heading; }
    put("text", data.text);
    put("outlook", data.outlook);
    for (const step of data.steps || []) {
      parts(step.name).forEach((part) => {
        part.dataset.state = step.state;
        const time = part.querySelector("span");
        if (time) time.textContent = step.time;
      });
    }
    parts("bar").forEach((bar) => {
      const known = typeof data.percent === "number";
      bar.toggleAttribute("data-known", known);
      if (known) bar.setAttribute("aria-valuenow", data.percent);
      else bar.removeAttribute("aria-valuenow");
      if (bar.firstElementChild) bar.firstElementChild.style.width = known ? data.percent + "%" : "";
    });
  };

  const take = (kind, text) => {
    heard = Date.now();
    if (leaving || (over && kind !== "ready")) return;
    if (kind === "ready") { leave(); return; }
    if (kind === "again") { leaveWhenSeen(); return; }
    const data = JSON.parse(text);
    show(kind, data);
    if (kind === "failed") {
      over = true;
      if (source) source.close();
      setTimeout(leaveWhenSeen, data.retry_after * 1000 + 500);
    }
  };

  const listen = () => {
    if (source || leaving || over) return;
    source = new EventSource("PATH");
    for (const kind of kinds) {
      source.addEventListener(kind, (event) => {
        latest = {kind, text: event.data, from: me};
        if (tabs) tabs.postMessage(latest);
        take(kind, event.data);
      });
    }
    // Closed for good: the application answers by now, or there are too many listeners. Asking again tells.
    source.onerror = ({target}) => {
      if (target.readyState === EventSource.CLOSED) setTimeout(leaveWhenSeen, 500 + Math.random() * 1500);
    };
  };

  addEventListener("pageshow", (event) => { if (event.persisted) leave(); });
  if (!window.EventSource) { setTimeout(leave, 2000); return; }
  if (tabs) {
    tabs.onmessage = ({data}) => {
      if (!data) return;
      if (data.kind === "ask") { if (source && latest) tabs.postMessage(latest); }
      else if (data.kind === "bye") {
        const before = heard;
        setTimeout(() => { if (heard === before) listen(); }, Math.random() * 500);
      }
      else if (kinds.includes(data.kind)) {
        // Two that began to listen at the same time: one is enough.
        if (source && data.from < me) { source.close(); source = null; }
        take(data.kind, data.text);
      }
    };
    addEventListener("pagehide", () => { if (source) tabs.postMessage({kind: "bye"}); });
    const asked = heard;
    tabs.postMessage({kind: "ask"});
    setTimeout(() => { if (heard === asked) listen(); }, 50 + Math.random() * 250);
  } else listen();
  setInterval(() => {
    if (over || Date.now() - heard < SILENCE) return;
    heard = Date.now();
    if (source) leaveWhenSeen();
    else listen();
  }, 1000);
})();
""".strip().replace("PATH", PROGRESS_PATH)
