"use strict";
// A lane for each address: who announced it, since the page was opened, and before that as far as Events tell.

const NODE_ASSIGNED = "nodeAssigned";
// As much as is kept of each address, and of all moves.
const PIECES = 200;
const MOVES = 100;
// Without a word for longer than this it is not known what was.
const GAP = 12e3;
const FRESH = 8e3;
const SPARE = 6;

// By address: pieces { from, to, who, how }, oldest first; the last one's `to` is null: it goes on.
const lanes = new Map();
const moves = [];
let before = 0;

const narrow = matchMedia("(max-width: 46rem)");
const height = () => (narrow.matches ? 3.9 : 2.1) * parseFloat(getComputedStyle(document.documentElement).fontSize);

function ofState(one) {
  if (one.state === "of_node") return ["the node's own", "seen"];
  if (one.nodes.length) return [one.nodes.join(", "), "seen"];
  return one.state === "unknown" ? ["unknown", "unsure"] : ["nobody", one.state === "quiet" ? "unsure" : "none"];
}

// Takes in a picture; the moves since the one before.
function note(view) {
  const time = view.now;
  const isFirst = before === 0;
  const told = isFirst ? assignments(view) : null;
  const missed = !isFirst && time - before > GAP && state.heard < time - GAP;
  const seen = new Set();
  const moved = [];
  for (const one of view.status.addresses) {
    seen.add(one.address);
    const [who, how] = ofState(one);
    let lane = lanes.get(one.address);
    if (!lane) {
      lane = isFirst ? toldOf(one, told, time) : [];
      lanes.set(one.address, lane);
    }
    const last = lane.at(-1);
    if (last && last.to === null && (last.who !== who || missed)) {
      last.to = missed ? Math.min(state.heard, time) : time;
      if (last.who !== who) moved.push({ time, address: one.address, from: last.who, to: who });
    }
    if (!last || last.to !== null) lane.push({ from: time, to: null, who, how });
    if (lane.length > PIECES) lane.splice(0, lane.length - PIECES);
  }
  for (const [address, lane] of lanes) {
    if (seen.has(address)) continue;
    const last = lane.at(-1);
    if (last.to === null) {
      last.to = time;
      moved.push({ time, address, from: last.who, to: "given back" });
    }
    if (time - last.to > 43200e3) lanes.delete(address);
  }
  before = time;
  moves.unshift(...moved.slice(0, MOVES).reverse());
  moves.length = Math.min(moves.length, MOVES);
  return moved;
}

// By Service: who announced it since when, as Events tell.
// An Event names the Service and no address: of one that has two, nobody knows which was meant.
function assignments({ events, status }) {
  const told = new Map();
  const addresses = new Map();
  for (const service of status.addresses.flatMap((one) => one.services)) {
    addresses.set(service, (addresses.get(service) ?? 0) + 1);
  }
  for (const event of events) {
    if (event.reason !== NODE_ASSIGNED || !event.node || !event.time) continue;
    const key = `${event.namespace}/${event.name}`;
    if (addresses.get(key) > 1) continue;
    if (!told.has(key)) told.set(key, []);
    told.get(key).push({ from: Date.parse(event.time), who: event.node });
  }
  return told;
}

function toldOf(one, told, until) {
  const all = one.services.flatMap((service) => told.get(service) ?? []).sort((a, b) => a.from - b.from);
  const lane = [];
  for (const { from, who } of all) {
    const last = lane.at(-1);
    if (from >= until || last?.who === who) continue;
    if (last) last.to = from;
    lane.push({ from, to: until, who, how: "told" });
  }
  return lane;
}

const isFresh = (address) => {
  const lane = lanes.get(address);
  const last = lane?.at(-1);
  return Boolean(last && lane.length > 1 && last.how === "seen" && lane.at(-2).how !== "told" && now() - last.from < FRESH);
};

// The rows: Services that wait first, then the addresses.
let rows = [];

function drawTable() {
  const wanted = state.find.toLowerCase();
  // `node=n1` is that one, and not n10.
  const [, node] = /^node=(\S+)$/.exec(wanted) ?? [];
  const has = (who, parts) => (node ? who.includes(node)
    : !wanted || [...who, ...parts].some((part) => part && part.toLowerCase().includes(wanted)));
  rows = [];
  for (const service of state.view.services) {
    const name = `${service.namespace}/${service.name}`;
    if (!service.addresses.length && has(["nobody"], [name, "pending", service.pool, service.problem?.reason])) {
      rows.push({ key: name, service, name });
    }
  }
  for (const one of state.view.status.addresses) {
    if (state.only && !BAD.has(one.state) && one.state !== "unknown") continue;
    const who = one.nodes.length ? one.nodes : ofState(one);
    if (has(who, [one.address, one.pool, one.reason, ...one.services])) rows.push({ key: one.address, one });
  }
  const all = state.view.status.addresses.length;
  put($("matches"), wanted || state.only ? `${rows.length.toLocaleString("en")} of ${counted(all, "address")}` : "");
  attribute($("table"), "aria-rowcount", rows.length + 1);
  drawLines();
}

// Only the rows that are in sight are there.
function drawLines() {
  const scroll = $("scroll");
  const row = height();
  $("lines").style.height = `${rows.length * row}px`;
  const from = Math.max(0, Math.floor(scroll.scrollTop / row) - SPARE);
  const until = Math.ceil((scroll.scrollTop + scroll.clientHeight) / row) + SPARE;
  const sight = rows.slice(from, until).map((each, place) => ({ ...each, place: from + place }));
  keep($("lines"), sight, (each) => each.key, createLine, (line, each) => drawLine(line, each, row));
  const end = now();
  put($("axis-from"), `${age(state.span)} ago`);
  put($("axis-half"), clock(end - state.span / 2));
}

function createLine({ key }) {
  const line = make("div", "line");
  line.setAttribute("role", "row");
  const part = line.parts = {
    ip: make("button", "ip"), services: make("span"), who: make("span", "who"), remark: make("span", "remark"), lane: make("span", "lane"),
  };
  const head = make("span");
  head.append(part.ip);
  part.ip.addEventListener("click", () => choose(key));
  for (const cell of [head, part.services, part.who, part.remark]) cell.setAttribute("role", "cell");
  head.setAttribute("role", "rowheader");
  const cell = make("span");
  cell.setAttribute("role", "cell");
  part.lane.setAttribute("role", "img");
  cell.append(part.lane);
  line.append(head, part.services, part.who, part.remark, cell);
  return line;
}

function drawLine(line, { one, service, name, place, key }, row) {
  const part = line.parts;
  line.style.top = `${place * row}px`;
  attribute(line, "aria-rowindex", place + 2);
  className(line, state.address === key ? "line chosen" : "line");
  put(part.ip, one ? one.address : "waits");
  label(part.ip, "aria-label", one ? `${one.address}, details` : `${name}, details`);
  const services = one ? listed(one.services, 3) : name;
  put(part.services, services);
  label(part.services, "title", services);
  const [who, how] = one ? ofState(one) : ["–", "unsure"];
  className(part.who, one ? `who ${how === "seen" ? "" : how}` : "who");
  put(part.who, who);
  const remark = one
    ? one.state === "twice" ? "announced by two" : one.state === "quiet" ? `${one.reason ?? "silent"}, as it should be` : one.reason ?? (one.since ? `for ${since(one.since)}` : "")
    : service.problem?.reason ?? "not decided yet";
  put(part.remark, remark);
  label(part.remark, "title", remark);
  drawLane(part.lane, one ? lanes.get(one.address) ?? [] : []);
}

function drawLane(lane, pieces) {
  const end = now();
  const begin = end - state.span;
  const sight = pieces.filter((piece) => (piece.to ?? end) > begin && piece.from < end);
  keep(lane, sight, (piece) => piece.from + piece.how, () => make("b"), (element, piece) => {
    const left = Math.max(0, (piece.from - begin) / state.span);
    const width = Math.min(1, ((piece.to ?? end) - begin) / state.span) - left;
    element.style.left = `${left * 100}%`;
    element.style.width = `max(5px, ${width * 100}%)`;
    className(element, piece.how);
    tint(element, piece.who.split(", ")[0]);
    put(element, width > 0.05 || sight.length === 1 ? piece.who : "");
    label(element, "title", `${clock(piece.from)} ${piece.who}${piece.how === "told" ? ", told by Events" : ""}`);
  });
  label(lane, "aria-label", sight.length
    ? sight.slice(-5).map((piece) => `from ${clock(piece.from)} ${piece.who}`).join("; ") : "nothing seen");
}

function find(text) {
  state.find = $("find").value = text;
  drawTable();
  $("addresses").scrollIntoView({ block: "start" });
  $("find").focus({ preventScroll: true });
}

// Shows one address, or a Service that waits.
function choose(key, goThere) {
  state.address = state.address === key && !goThere ? null : key;
  drawOne();
  drawTable();
  if (!state.address) return;
  const place = rows.findIndex((row) => row.key === key);
  if (goThere && place >= 0) {
    $("addresses").scrollIntoView({ block: "nearest" });
    $("scroll").scrollTop = place * height() - $("scroll").clientHeight / 2;
    drawLines();
  }
  $("one").scrollIntoView({ block: "nearest" });
  $("one-head").focus({ preventScroll: true });
}

function drawOne() {
  const key = state.address;
  const one = state.view.status.addresses.find((each) => each.address === key);
  const service = state.view.services.find((each) => `${each.namespace}/${each.name}` === key);
  $("one").hidden = !one && !service;
  if (!one && !service) return;
  put($("one-head"), key);
  const names = one ? one.services : [key];
  const trouble = state.view.services.filter((each) => names.includes(`${each.namespace}/${each.name}`) && each.problem);
  facts($("one-facts"), [
    ["Services", one && one.services.join(", ")],
    ["announced by", one && (one.nodes.join(", ") || TOLD[one.state])],
    ["why not", one?.reason], ["since", one?.since && `${one.since} (${since(one.since)})`],
    ["pool", one?.pool ?? service?.pool], ["policy", one?.policies.join(", ") ?? service?.policy],
    ["problem", trouble.map((each) => `${each.problem.reason}: ${each.problem.message}`).join("; ")],
  ]);
  const explain = names.slice(0, 3).map((name) => {
    const [namespace, service] = name.split("/");
    return `kubectl ferrolb explain -n ${word(namespace)} svc/${word(service)}`;
  });
  const other = one && state.view.status.nodes.find((node) => node.state === "live" && !one.nodes.includes(node.name));
  commands($("one-commands"), [
    ...explain,
    ...(one?.nodes.length ? [`kubectl ferrolb who ${one.address} --node ${word(one.nodes[0])}`] : []),
    ...(one && other && one.nodes.length ? [`kubectl ferrolb move ${one.address} ${word(other.name)}`] : []),
  ]);
  const told = state.view.events.filter((event) => event.kind === "Service" && names.includes(`${event.namespace}/${event.name}`));
  texts($("one-events"), told.slice(-8).reverse().map((event) =>
    `${event.time ? clock(Date.parse(event.time)) : ""} ${event.reason}: ${event.message}${event.node ? ` (${event.node})` : ""}`));
}
