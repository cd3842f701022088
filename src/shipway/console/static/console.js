// Three small things a page can do better with a script: the reader's own time zone, a page that
// keeps itself fresh, and a look that is remembered. Without it every page still says the same.
"use strict";

const STYLES = {
  seconds: { hour: "2-digit", minute: "2-digit", second: "2-digit" },
  hour: { hour: "2-digit", minute: "2-digit" },
  weekday: { weekday: "short", hour: "2-digit", minute: "2-digit" },
  clock: { hour: "2-digit", minute: "2-digit" },
  moment: { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" },
  date: { day: "numeric", month: "short" },
  full: { day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit" },
  day: { weekday: "long", day: "numeric", month: "long", year: "numeric" },
};

function local(text, style) {
  const at = new Date(text);
  if (style === "clock" && at.toDateString() !== new Date().toDateString()) style = "moment";
  return at.toLocaleString("en-GB", { hourCycle: "h23", ...STYLES[style] });
}

function localTimes(root) {
  for (const node of root.querySelectorAll("time[datetime]")) {
    node.textContent = local(node.dateTime, node.dataset.style || "clock");
  }
  for (const node of root.querySelectorAll("text[data-time]")) {
    node.textContent = local(node.dataset.time, node.dataset.style);
  }
}

function zone() {
  const note = document.getElementById("zone");
  if (!note) return;
  const parts = new Intl.DateTimeFormat("en-GB", { timeZoneName: "short" }).formatToParts(new Date());
  const name = parts.find((part) => part.type === "timeZoneName");
  note.textContent = `Times are in your zone (${name ? name.value : "local"}); point at one for UTC`;
}

// The page's own text from the server, compared with the last one, so that nothing moves without news.
let last = "";

function busy(main) {
  if (document.hidden || String(document.getSelection())) return true;
  const focus = document.activeElement;
  return main.contains(focus) && focus.matches("input, select, textarea");
}

async function refresh() {
  const main = document.getElementById("main");
  if (busy(main)) return;
  const answer = await fetch(location.pathname + location.search, { headers: { "shipway-fragment": "1" } });
  if (answer.status === 401) return location.reload();
  if (!answer.ok) return;
  const text = await answer.text();
  if (text === last || busy(main)) return;
  last = text;
  const fresh = new DOMParser().parseFromString(text, "text/html").getElementById("main");
  if (!fresh) return;
  const open = [...main.querySelectorAll("details")].map((node) => node.open);
  const scrolled = [...main.querySelectorAll(".scroll, pre, .tabs")].map((node) => node.scrollLeft);
  const focusable = "a, button, summary, [tabindex]";
  const focused = [...main.querySelectorAll(focusable)].indexOf(document.activeElement);
  localTimes(fresh);
  main.replaceChildren(...fresh.childNodes);
  main.querySelectorAll("details").forEach((node, i) => { node.open = open[i] || false; });
  main.querySelectorAll(".scroll, pre, .tabs").forEach((node, i) => { node.scrollLeft = scrolled[i] || 0; });
  if (focused >= 0) main.querySelectorAll(focusable)[focused]?.focus({ preventScroll: true });
}

async function keepFresh() {
  for (;;) {
    await new Promise((done) => setTimeout(done, 2000));
    try { await refresh(); } catch { /* the control plane is away: the page stays as it was */ }
  }
}

for (const choice of document.querySelectorAll("input[name=look]")) {
  choice.addEventListener("change", () => {
    document.cookie = `shipway-look=${choice.id.slice(5)}; path=/; max-age=31536000; samesite=strict`;
  });
}
localTimes(document);
zone();
if (document.body.dataset.live === "yes") keepFresh();
