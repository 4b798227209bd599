"use strict";
// The page: takes what the plugin sends, and has it drawn.

const SIGNS = { problem: "✕", unknown: "?", note: "–" };
// The plugin says at least each four seconds that it has looked.
const OLD = 10e3;
let problems = null;

function take(view) {
  const isFirst = !state.view;
  state.view = view;
  state.ahead = Date.now() - view.now;
  // n2 before n10.
  view.status.nodes.sort((a, b) => a.name.localeCompare(b.name, "en", { numeric: true }));
  colours(view.status.nodes);
  shorten(view.status.addresses);
  const moved = note(view);
  state.heard = view.now;
  draw();
  // How soon that is, a test asks.
  if (isFirst) performance.mark("drawn");
  tell(view, moved);
  if (state.supposed?.plan) askSupposed(false);
}

function draw() {
  drawHeader();
  drawMap();
  drawFindings();
  drawPools();
  drawMoves();
  drawTable();
  drawOne();
}

function drawHeader() {
  const { status, version } = state.view;
  const of = (severity) => status.findings.filter((one) => one.severity === severity).length;
  const [bad, unknown] = [of("problem"), of("unknown")];
  const verdict = bad ? `✕ ${counted(bad, "problem")}` : unknown ? `? ${unknown} unknown` : "● all is well";
  put($("verdict"), verdict);
  className($("verdict"), `badge ${bad ? "bad" : unknown ? "warn" : "good"}`);
  document.title = `${bad ? `(${bad}) ` : ""}FerroLB`;
  put($("where"), status.configuration?.source.split("/")[0] ?? "");
  put($("version"), `kubectl-ferrolb ${version}`);
  const live = status.nodes.filter((node) => node.state === "live").length;
  const answered = status.addresses.filter((one) => ["announced", "of_node", "twice"].includes(one.state)).length;
  facts($("counts"), [
    ["nodes live", `${live} of ${status.nodes.length}`], ["addresses announced", `${answered.toLocaleString("en")} of ${status.addresses.length.toLocaleString("en")}`],
    ["Services", status.services.toLocaleString("en")], ["wait", status.waiting || ""],
  ]);
}

// How old it is.
function drawFresh() {
  if (state.isSnapshot) return put($("fresh"), `snapshot of ${new Date(state.view.now).toISOString().slice(0, 19).replace("T", " ")} UTC`);
  if (!state.view) return put($("fresh"), "asking the daemons…");
  const old = now() - state.heard;
  put($("fresh"), old < OLD ? `live, ${clock(now())} UTC` : `as of ${clock(state.heard)} UTC, ${age(old)} ago`);
}

function drawFindings() {
  const { findings } = state.view.status;
  const isNote = (one) => one.severity === "note";
  const bad = findings.filter((one) => !isNote(one));
  const notes = findings.filter(isNote);
  $("well").hidden = bad.length > 0;
  drawAll($("findings"), bad);
  drawAll($("notes-list"), notes);
  $("notes").hidden = !notes.length;
  put($("notes-head"), counted(notes.length, "note"));
}

function drawAll(list, findings) {
  keep(list, findings, (one) => one.severity + one.what, (one) => {
    const item = make("li", one.severity);
    const body = make("div", "body");
    const line = make("p");
    item.told = make("span", "ago");
    line.append(make("span", "", one.what), " ", item.told);
    body.append(line, ...remedies(one));
    const sign = make("span", "sign", SIGNS[one.severity]);
    label(sign, "aria-label", one.severity);
    sign.setAttribute("role", "img");
    item.append(sign, body);
    return item;
  }, (item, one) => put(item.told, one.since ? `for ${since(one.since)}` : ""));
}

// A remedy is a command, perhaps with words behind it, or words.
function remedies({ next, reason }) {
  const all = [];
  const [, run, rest] = /^(kubectl [\w .:\/=@-]+)(.*)$/.exec(next ?? "") ?? [];
  if (run) all.push(command(run.trim()));
  const words = run ? rest.replace(/^[,;:]\s*/, "") : next;
  if (words) all.push(make("p", "hint", words));
  if (reason && !run?.includes("explain")) all.push(command(`kubectl ferrolb explain ${word(reason)}`));
  return all;
}

function drawPools() {
  const { pools, daemons } = state.view.status;
  // One that does not lead knows the pools, and not what is in use.
  const isKnown = daemons.some((one) => one.leads);
  keep($("pools-list"), pools, (pool) => pool.name, (pool) => {
    const item = make("li", "pool");
    const top = make("div", "top");
    item.fill = make("span", "fill");
    top.append(make("span", "name", pool.name), item.fill);
    item.share = make("div", "share");
    item.share.setAttribute("role", "meter");
    item.share.append(make("b"));
    item.about = make("p", "hint");
    item.append(top, item.share, item.about);
    return item;
  }, (item, { name, used, total, free, ranges, firstFree, protocol, autoAssign }) => {
    const full = isKnown && total > 0 && free === 0;
    className(item, full ? "pool full" : "pool");
    const all = total >= 1e15 ? "very many" : total.toLocaleString("en");
    put(item.fill, isKnown ? `${used.toLocaleString("en")} of ${all}${full ? ", FULL" : ""}` : `${all}, use unknown: no leader`);
    const part = total ? Math.min(100, (used / total) * 100) : 0;
    item.share.firstChild.style.width = `${used ? Math.max(1, part) : 0}%`;
    label(item.share, "aria-label", `${name}: addresses in use`);
    for (const [key, value] of [["min", 0], ["max", total], ["now", used]]) attribute(item.share, `aria-value${key}`, value);
    put(item.about, [listed(ranges, 3), isKnown && firstFree.length ? `next ${firstFree.join(", ")}` : "", protocol === "layer2" ? "" : protocol, autoAssign ? "" : "on request only"].filter(Boolean).join(" · "));
  });
}

function drawMoves() {
  $("still").hidden = moves.length > 0 || state.isSnapshot;
  $("changes").hidden = state.isSnapshot;
  keep($("moves"), moves.slice(0, 50), (move) => move.time + move.address, (move) => {
    const item = make("li");
    const time = make("time", "", clock(move.time));
    item.append(time, make("code", "", move.address), make("span", "", `${move.from} → ${move.to}`));
    return item;
  });
}

// For who does not see: what is new.
function tell(view, moved) {
  const bad = view.status.findings.filter((one) => one.severity === "problem").map((one) => one.what);
  const isNew = problems === null ? [] : bad.filter((one) => !problems.includes(one));
  const words = [];
  if (problems !== null && problems.length && !bad.length) words.push("all is well again");
  if (isNew.length) words.push(`${counted(bad.length, "problem")}: ${listed(isNew, 3)}`);
  if (moved.length > 3) words.push(`${counted(moved.length, "address")} moved`);
  else words.push(...moved.map((one) => `${one.address} from ${one.from} to ${one.to}`));
  problems = bad;
  if (words.length) say(words.join(". "));
}

function trouble(text) {
  $("trouble").hidden = !text;
  document.body.classList.toggle("old", Boolean(text));
  if (text) put($("trouble-text"), text);
}

const asOf = () => (state.view ? `What is shown is of ${clock(state.heard)}. ` : "");

function listen() {
  const feed = new EventSource("feed");
  feed.addEventListener("picture", (event) => {
    trouble(null);
    take(JSON.parse(event.data));
    drawFresh();
  });
  feed.addEventListener("still", (event) => {
    const { taken } = JSON.parse(event.data);
    if (taken) state.heard = taken;
  });
  feed.addEventListener("trouble", (event) => trouble(asOf() + JSON.parse(event.data).error));
  feed.addEventListener("error", () => trouble(asOf() + "The plugin does not answer: is kubectl ferrolb dashboard still running?"));
}

function begin() {
  let waiting = null;
  $("scroll").addEventListener("scroll", () => (waiting ??= requestAnimationFrame(() => {
    waiting = null;
    drawLines();
  })), { passive: true });
  addEventListener("resize", () => state.view && drawLines());
  $("find").addEventListener("input", () => { state.find = $("find").value; if (state.view) drawTable(); });
  $("only").addEventListener("change", () => { state.only = $("only").checked; if (state.view) drawTable(); });
  $("span").addEventListener("change", () => { state.span = $("span").value * 1000; if (state.view) drawLines(); });
  $("one-end").addEventListener("click", () => choose(state.address));
  $("whatif-end").addEventListener("click", endSupposed);
  $("config-form").addEventListener("submit", tryConfig);
  $("config-file").addEventListener("change", takeFile);
  addEventListener("keydown", (event) => event.key === "Escape" && state.supposed && endSupposed());
  const kept = $("picture").textContent.trim();
  if (kept) {
    state.isSnapshot = true;
    document.body.classList.add("kept");
    $("config").hidden = true;
    put($("map-hint"), "");
    take(JSON.parse(kept));
    drawFresh();
    return;
  }
  drawFresh();
  listen();
  setInterval(() => {
    drawFresh();
    if (!state.view || document.hidden) return;
    drawMap();
    drawFindings();
    drawLines();
  }, 1000);
}

begin();
