// Keeps an open page fresh. The server's page says everything, in its words; this script asks for the same page when something happened, and takes over
// what differs: never what somebody is typing into, never the focus. Without it the page can be read, and 'Sync now' works as a form.
"use strict";
(() => {
  const body = document.body;
  const one = (selector, within = document) => within.querySelector(selector);
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const said = (name) => one(`#said-${name}`)?.content.cloneNode(true);

  // ── Signing in by the link `/#token=…`: a fragment is in no log and in no history ──────────────────────────────────────────────────────
  const token = new URLSearchParams(location.hash.slice(1)).get("token");
  if (token) {
    history.replaceState(null, "", location.pathname);
    const form = document.createElement("form");
    form.method = "post";
    form.action = "/session";
    form.hidden = true;
    const field = document.createElement("input");
    field.name = "token";
    field.value = token;
    form.append(field);
    body.append(form);
    form.submit();
    return;
  }
  // A link from another site comes without the cookie (SameSite=Strict); a page of ours asks with it.
  if (one("#sign-in") && !new URLSearchParams(location.search).has("refused")) {
    fetch(location.pathname).then((response) => response.ok && location.replace(location.pathname)).catch(() => {});
  }
  if (!("live" in body.dataset)) return;

  // ── News and trouble, in regions that screen readers speak ──────────────────────────────────────────────────────────────────────────────
  const news = one("#news");
  let quiet = 0;
  const tell = (content, place) => {
    // What stands in sight already is spoken only.
    const box = place?.getBoundingClientRect();
    news.classList.toggle("unseen", Boolean(box && box.height && box.top >= 0 && box.bottom <= innerHeight));
    news.replaceChildren(content);
    clearTimeout(quiet);
    quiet = setTimeout(() => news.replaceChildren(), 12_000);
  };
  const tellText = (text, place) => {
    const line = document.createElement("p");
    line.textContent = text;
    tell(line, place);
  };
  let trouble = "";
  const meet = (name) => {
    if (name === trouble) return;
    const was = trouble;
    trouble = name;
    one("main").classList.toggle("stale", ["expired", "refused", "database", "service"].includes(name));
    one("#trouble").replaceChildren(...(name ? [said(name) ?? ""] : []));
    if (!name && (was === "database" || was === "service")) tell(said("back"));
    if (name === "expired") keepWords();
  };

  // ── What was typed survives the end of a session ────────────────────────────────────────────────────────────────────────────────────────
  const fields = () => all("form[data-sync] input[name=reason]");
  const keepWords = () => {
    for (const field of fields()) if (field.value) sessionStorage.setItem(field.id, field.value);
  };
  for (const field of fields()) {
    const kept = sessionStorage.getItem(field.id);
    if (!kept) continue;
    sessionStorage.removeItem(field.id);
    field.value = kept;
    const details = field.closest("details");
    if (details) details.open = true;
  }

  // ── Taking over what differs ────────────────────────────────────────────────────────────────────────────────────────────────────────────
  const asked = new Map(); // mentor → where its request's outcome is told
  const told = new Map(); // mentor → that outcome
  const early = new Set(); // mentors whose outcome came before the list knew
  const take = (old, fresh) => {
    if (old.innerHTML === fresh.innerHTML) return;
    const focus = old.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
    old.replaceChildren(...fresh.childNodes);
    if (old.classList.contains("banner")) old.className = fresh.className;
    if (focus) all("a", old).find((link) => link.getAttribute("href") === focus)?.focus();
  };
  const takeParts = (old, fresh) => {
    for (const part of all("[data-part]", fresh)) {
      const mine = one(`[data-part="${part.dataset.part}"]`, old);
      if (mine && !part.closest("article")) take(mine, part);
    }
  };
  const takeCard = (old, fresh) => {
    if (old.dataset.version === fresh.dataset.version) return;
    old.className = fresh.className;
    old.dataset.version = fresh.dataset.version;
    for (const part of all("[data-part]", fresh)) {
      const mine = one(`[data-part="${part.dataset.part}"]`, old);
      if (mine) take(mine, part);
    }
  };
  const settle = (card) => {
    if (card.classList.contains("settled")) return;
    const hadFocus = card.contains(document.activeElement);
    card.classList.add("settled");
    const line = document.createElement("div");
    line.className = "told";
    line.append(told.get(card.dataset.mentor) ?? said("settled"));
    one(".badge", card)?.remove();
    one(".facts", card).replaceChildren(line);
    one("details", card)?.remove();
    if (hadFocus) card.focus();
  };
  const place = (mine, before, card) => (before ? before.after(card) : mine.prepend(card));
  const follower = (mine, before) => {
    let next = before ? before.nextElementSibling : mine.firstElementChild;
    while (next?.classList.contains("settled")) next = next.nextElementSibling;
    return next;
  };
  const takeRows = (mine, fresh) => {
    const old = new Map(all("article", mine).map((card) => [card.dataset.mentor, card]));
    let before = null;
    for (const card of all("article", fresh)) {
      const have = old.get(card.dataset.mentor);
      old.delete(card.dataset.mentor);
      if (have && !have.classList.contains("settled")) {
        takeCard(have, card);
        if (follower(mine, before) !== have && !have.contains(document.activeElement)) place(mine, before, have);
        before = have;
        continue;
      }
      have?.remove();
      card.classList.add("new");
      place(mine, before, card);
      before = card;
    }
    for (const [mentor, card] of old) {
      if (asked.has(mentor) || told.has(mentor) || card.contains(document.activeElement)) settle(card);
      else if (!card.classList.contains("settled")) card.remove();
    }
  };
  const takeOver = (fresh) => {
    takeParts(document, fresh);
    const rows = one("#rows");
    if (rows && one("#rows", fresh)) takeRows(rows, one("#rows", fresh));
    Object.assign(body.dataset, fresh.body.dataset);
    setClock();
  };

  // ── Asking for the page: soon after news, slower while there is much, and by itself now and then ────────────────────────────────────────
  const ALONE_MS = 15_000, SOON_MS = 150, LATEST_MS = 4_000, PATIENCE_MS = 10_000, AGAIN_MS = 2_000;
  let timer = 0, pace = SOON_MS, last = 0, busy = false, again = false;
  const soon = () => {
    const now = performance.now();
    pace = now - last < 2 * pace + 1_000 ? Math.min(LATEST_MS, pace * 2) : SOON_MS;
    plan(Math.max(SOON_MS, last + pace - now));
  };
  const plan = (wait) => {
    clearTimeout(timer);
    timer = setTimeout(refresh, wait);
  };
  const ask = (path, options = {}) =>
    fetch(path, { ...options, headers: { "X-Page-Part": "1", ...options.headers }, signal: AbortSignal.timeout(PATIENCE_MS) });
  const page = async (text) => new DOMParser().parseFromString(text, "text/html");
  const refresh = async () => {
    if (busy) {
      again = true;
      return;
    }
    busy = true;
    try {
      const response = await ask(location.pathname + location.search);
      last = performance.now();
      if (response.status === 401) meet("expired");
      else if (response.status === 403) meet("refused");
      else if (response.status === 503) meet("database");
      else if (!response.ok) meet("service");
      else {
        const fresh = await page(await response.text());
        if ("trouble" in body.dataset) return location.reload();
        takeOver(fresh);
        await outcomes();
        meet("");
        if (isMine && !stream) listen();
      }
    } catch {
      meet("service");
    } finally {
      busy = false;
      const isAway = ["database", "service"].includes(trouble) || "trouble" in body.dataset;
      plan(again ? SOON_MS : isAway || asked.size ? AGAIN_MS : ALONE_MS);
      again = false;
    }
  };
  const outcomes = async () => {
    for (const [mentor, path] of [...asked]) {
      const response = await ask(path);
      if (!response.ok) continue;
      const outcome = one("p", await page(await response.text()));
      if (outcome.dataset.state === "waiting") continue;
      const card = one(`article[data-mentor="${mentor}"]`);
      if (outcome.dataset.state === "done" && card && one("details", card) && !early.delete(mentor)) {
        early.add(mentor); // the list still shows it as open: ask for both once more, so that they agree
        again = true;
        continue;
      }
      asked.delete(mentor);
      told.set(mentor, outcome);
      if (card) one(".told, .answer", card)?.replaceChildren(outcome);
      tellText(outcome.textContent, outcome);
    }
  };

  // ── The stream: one for all visible pages of this browser, which opens only six connections to a host ───────────────────────────────────
  const NAME = "hlf-sync-stream";
  const others = "BroadcastChannel" in window ? new BroadcastChannel(NAME) : null;
  let stream = null, failures = 0, leave = null, isMine = false;
  const showLive = () => one("#live")?.replaceChildren(said("live"));
  const hear = () => {
    others?.postMessage("news");
    soon();
  };
  others?.addEventListener("message", (event) => (event.data === "news" || trouble === "expired") && soon());
  const listen = () => {
    const from = body.dataset.event ? `?last_event_id=${encodeURIComponent(body.dataset.event)}` : "";
    const mine = new EventSource(body.dataset.stream + from);
    stream = mine;
    for (const name of ["pending", "resolved", "reset", "verdict"]) mine.addEventListener(name, hear);
    mine.onopen = () => {
      failures = 0;
      showLive();
    };
    mine.onerror = () => {
      if (mine.readyState === EventSource.CLOSED && stream === mine) stream = null;
      plan(Math.min(ALONE_MS, SOON_MS * 2 ** failures++));
    };
  };
  const follow = async () => {
    if (!body.dataset.stream || document.hidden || leave) return;
    if (!navigator.locks) {
      isMine = true;
      if (!stream) listen();
      return;
    }
    const waiting = new AbortController();
    leave = () => waiting.abort();
    navigator.locks
      .request(NAME, { signal: waiting.signal }, () => new Promise((done) => {
        leave = done;
        isMine = true;
        listen();
      }))
      .catch(() => {});
    const { held } = await navigator.locks.query();
    if (held.some((lock) => lock.name === NAME)) showLive();
  };
  const hush = () => {
    stream?.close();
    stream = null;
    leave?.();
    leave = null;
    isMine = false;
  };
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) return hush();
    follow();
    plan(0);
  });
  addEventListener("pageshow", (event) => {
    if (!event.persisted) return;
    follow();
    plan(0);
  });
  addEventListener("online", () => plan(0));
  addEventListener("pagehide", hush);

  // ── 'Sync now' ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────
  document.addEventListener("submit", async (event) => {
    const form = event.target;
    if (!("sync" in form.dataset)) return;
    event.preventDefault();
    const button = one("button", form), slot = one(".answer", form);
    if (button.getAttribute("aria-disabled") === "true") return;
    button.setAttribute("aria-disabled", "true");
    slot.replaceChildren(said("sending"));
    try {
      const response = await ask(form.action, { method: "POST", body: new URLSearchParams(new FormData(form)) });
      if (response.status === 401) {
        slot.replaceChildren();
        meet("expired");
        return;
      }
      const taken = one("p[data-state]", await page(await response.text()));
      if (!taken) throw new Error("no answer of ours");
      slot.replaceChildren(taken);
      tellText(taken.textContent, taken);
      if (!response.ok) return;
      told.delete(form.closest("article").dataset.mentor);
      asked.set(form.closest("article").dataset.mentor, response.headers.get("location"));
      form.elements.reason.value = "";
      form.elements.key.value = crypto.randomUUID?.() ?? String(Math.random()).slice(2) + Date.now();
      soon();
    } catch {
      slot.replaceChildren(said("away"));
      plan(SOON_MS);
    } finally {
      button.removeAttribute("aria-disabled");
    }
  });
  document.addEventListener("click", (event) => event.target.closest("[data-keep]") && keepWords());

  // ── Time passes ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────
  const spoken = new Intl.RelativeTimeFormat(document.documentElement.lang);
  // The server's own units (page/words.py, Babel): one and a half of each before it is used.
  const SECONDS = { year: 31_536_000, month: 2_592_000, week: 604_800, day: 86_400, hour: 3_600, minute: 60 };
  const UNITS = [...Object.entries(SECONDS).map(([unit, length]) => [unit, length, 1.5 * length]), ["second", 1, 0]];
  let ahead = 0;
  const setClock = () => {
    ahead = Number(body.dataset.now) - Date.now();
  };
  const tick = () => {
    const now = Date.now() + ahead;
    for (const place of all("[data-ago]")) {
      const seconds = (Date.parse(place.dataset.ago) - now) / 1_000;
      const [unit, length] = UNITS.find(([, , from]) => Math.abs(seconds) >= from);
      const isDue = "due" in place.dataset && seconds <= 0;
      const text = isDue ? place.dataset.due : spoken.format(Math.round(seconds / length), unit);
      if (place.textContent !== text) place.textContent = text;
    }
    const left = Number(body.dataset.expires) - now;
    if (!body.dataset.expires) return;
    if (left <= 0) meet("expired");
    else if (left < 120_000 && !trouble) meet("expires-soon");
  };
  if (body.dataset.now) {
    setClock();
    setInterval(tick, 1_000);
  }
  others?.postMessage("signed in");
  follow();
  plan("trouble" in body.dataset ? AGAIN_MS : ALONE_MS);
})();
