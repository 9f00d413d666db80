// Keeps a page as it would be if it were loaded now. Everything works without it, too.
"use strict";
(() => {
  const live = document.querySelector("[data-live]");
  const connection = document.getElementById("connection");

  // ---- appearance
  const theme = document.getElementById("theme");
  const dark = () =>
    (document.documentElement.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
  const kept = localStorage.getItem("theme");
  if (kept === "dark" || kept === "light") document.documentElement.dataset.theme = kept;
  const name = () => { theme.textContent = dark() ? "Light" : "Dark"; };
  if (theme) {
    theme.hidden = false;
    name();
    theme.addEventListener("click", () => {
      const wanted = dark() ? "light" : "dark";
      document.documentElement.dataset.theme = wanted;
      localStorage.setItem("theme", wanted);
      name();
    });
  }

  // ---- what must be asked before
  document.addEventListener("submit", (event) => {
    const question = event.target.dataset.confirm;
    if (question && !confirm(question)) event.preventDefault();
  });

  // ---- the keyboard
  document.addEventListener("keydown", (event) => {
    const typing = /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName);
    const search = document.getElementById("q");
    if (event.key === "/" && !typing && search) {
      event.preventDefault();
      search.focus();
      search.select();
    }
    if ((event.key === "ArrowDown" || event.key === "ArrowUp") && (!typing || event.target === search)) {
      const links = [...document.querySelectorAll("tbody th a")];
      const at = links.indexOf(document.activeElement);
      const next = event.key === "ArrowDown" ? at + 1 : at - 1;
      if (links[next] && (at >= 0 || event.target === search)) {
        event.preventDefault();
        links[next].focus();
      } else if (event.key === "ArrowUp" && at === 0 && search) {
        event.preventDefault();
        search.focus();
      }
    }
  });

  if (!live) return;

  // ---- the part that changes
  let running = false;
  let again = false;
  const refresh = async () => {
    if (running) { again = true; return; }
    running = true;
    try {
      do {
        again = false;
        const answer = await fetch(location.href, { headers: { "X-Part": "live" }, cache: "no-store" });
        if (answer.redirected || answer.status === 401) { location.reload(); return; }
        if (answer.status === 404) { location.assign("/"); return; }
        if (answer.ok) show(await answer.text());
      } while (again);
    } catch {
      // The stream's own state tells that nobody answers.
    } finally {
      running = false;
    }
  };
  const show = (text) => {
    const focused = live.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
    live.innerHTML = text;
    if (focused) {
      const link = [...live.querySelectorAll("a")].find((each) => each.getAttribute("href") === focused);
      if (link) link.focus({ preventScroll: true });
    }
  };

  const search = document.getElementById("search");
  if (search) {
    let waiting;
    search.addEventListener("input", () => {
      clearTimeout(waiting);
      waiting = setTimeout(() => {
        const asked = new URLSearchParams(new FormData(search));
        if (!asked.get("q")) asked.delete("q");
        history.replaceState(null, "", `/?${asked}`);
        refresh();
      }, 120);
    });
  }

  // ---- news
  // The first one shows at once; a storm of them costs ten refreshes a second at the most.
  let due;
  let last = 0;
  const soon = () => {
    if (due) return;
    due = setTimeout(() => { due = undefined; last = Date.now(); refresh(); }, Math.max(0, last + 100 - Date.now()));
  };
  const only = live.dataset.tenant;
  const news = new EventSource("/api/v1/events");
  const heard = (event) => {
    if (!only || event.type === "reset" || JSON.parse(event.data).name === only) soon();
  };
  for (const kind of ["tenant", "removed", "reset"]) news.addEventListener(kind, heard);
  let lost;
  news.addEventListener("open", () => {
    clearTimeout(lost);
    // What changed after the page was made and before the stream began, or while it was away, is in no event.
    soon();
    connection.hidden = true;
  });
  news.addEventListener("error", () => {
    clearTimeout(lost);
    lost = setTimeout(() => {
      connection.textContent = "No news: this page may be out of date.";
      connection.hidden = false;
    }, 3000);
  });

  // ---- what it writes
  // The stream ends with the start that is read; the next one is looked for when the tenant changes.
  const logs = document.getElementById("logs");
  if (logs) {
    const MOST = 1000;
    const state = document.getElementById("logs-state");
    let reading;
    const read = () => {
      if (reading) return;
      reading = new EventSource(logs.dataset.url);
      reading.addEventListener("open", () => {
        logs.textContent = "";
        logs.hidden = false;
        state.textContent = "";
      });
      reading.addEventListener("line", (event) => {
        const atEnd = logs.scrollTop + logs.clientHeight >= logs.scrollHeight - 8;
        logs.append(JSON.parse(event.data) + "\n");
        while (logs.childNodes.length > MOST) logs.firstChild.remove();
        if (atEnd) logs.scrollTop = logs.scrollHeight;
      });
      const over = (words) => {
        reading.close();
        reading = undefined;
        state.textContent = words;
      };
      reading.addEventListener("end", () => over("It does not run."));
      reading.addEventListener("error", () => over("No lines can be had now."));
    };
    read();
    news.addEventListener("tenant", (event) => {
      const told = JSON.parse(event.data);
      if (told.name === only && told.was !== told.state) read();
    });
  }
  // Times grow older by themselves.
  setInterval(soon, 30000);
})();
