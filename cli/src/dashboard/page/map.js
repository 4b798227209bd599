"use strict";
// The map: each node with its addresses; as it is, or as it would be.

const STATES = {
  live: ["●", "live"], dead: ["✕", "dead"], doubted: ["▲", "dead, say some"], restarting: ["↻", "restarts"],
  unknown: ["?", "unknown"], no_speaker: ["–", "no speaker"],
};
// Chips on the map at most: a page of 10,000 would be none.
const CHIPS = 240;
let short = (address) => address;

function colours(nodes) {
  nodes.forEach((node, number) => {
    // Far apart, and none of them red: that is for what is wrong.
    if (!hues.has(node.name)) hues.set(node.name, Math.round(40 + ((0.62 + number * 0.618) % 1) * 280));
  });
}

// Of IPv4 addresses that have three numbers in common the last one is enough.
function shorten(addresses) {
  const first = addresses.find((one) => one.address.includes("."))?.address.split(".");
  const parts = [3, 2].find((count) => first && addresses.every((one) =>
    one.address.includes(":") || one.address.startsWith(first.slice(0, count).join(".") + ".")));
  const head = parts ? first.slice(0, parts).join(".") : null;
  short = (address) => (head && address.startsWith(head + ".") ? address.slice(head.length) : address);
}

// Where each address would go: by address, from and to whom.
function supposedMoves() {
  const moves = new Map();
  const supposed = state.supposed;
  for (const one of supposed?.plan?.addresses ?? []) {
    const stays = supposed.kind === "drain" && one.to && !one.handsOver;
    moves.set(one.address, { from: one.from ?? supposed.nodes[0], to: one.to, stays, gap: one.gap });
  }
  return moves;
}

// What stands on each card.
function cards() {
  const { nodes, addresses } = state.view.status;
  const moves = supposedMoves();
  const on = new Map(nodes.map((node) => [node.name, []]));
  const nobody = [];
  for (const one of addresses) {
    const move = moves.get(one.address);
    for (const node of one.nodes) {
      const leaves = move && !move.stays && move.from === node;
      on.get(node)?.push({ one, key: one.address, how: leaves ? "leaves" : one.state, move });
    }
    if (move && !move.stays) {
      if (move.to) on.get(move.to)?.push({ one, key: one.address + " comes", how: "comes", move });
      else nobody.push({ one, key: one.address + " falls", how: "silent", move });
    }
    if (one.nodes.length === 0 && one.state !== "of_node") nobody.push({ one, key: one.address, how: one.state });
  }
  for (const service of state.view.services) {
    if (service.addresses.length) continue;
    const key = `${service.namespace}/${service.name}`;
    nobody.push({ service, key, how: "pending", move: null });
  }
  const all = nodes.map((node) => ({ node, chips: on.get(node.name) }));
  if (nobody.length) all.push({ node: null, chips: nobody });
  return all;
}

const first = (chip) => ({ comes: 0, leaves: 1, twice: 2, silent: 2, pending: 3, unknown: 4 })[chip.how] ?? 5;

function drawMap() {
  const all = cards();
  const most = Math.max(1, ...all.map((card) => card.chips.length));
  const room = Math.min(60, Math.max(8, Math.floor(CHIPS / all.length)));
  keep($("nodes"), all, (card) => card.node?.name ?? "", createCard, (element, card) => {
    const { node, chips } = card;
    const part = element.parts;
    const gone = node && state.supposed?.plan && state.supposed.nodes.includes(node.name);
    if (node) drawHead(element, node, gone);
    const bad = node ? "" : chips.some((chip) => BAD.has(chip.how) || chip.how === "pending") ? " nobody" : "";
    className(element, `node ${node?.state ?? ""}${bad}${gone ? " supposed" : ""}`);
    const here = chips.filter((chip) => chip.how !== "leaves").length;
    put(part.count, node ? counted(here, "address") : String(here));
    part.bar.style.width = `${(here / most) * 100}%`;
    const sorted = chips.length > room || state.supposed
      ? [...chips].sort((a, b) => first(a) - first(b)) : chips;
    keep(part.chips, sorted.slice(0, room), (chip) => chip.key, createChip, drawChip);
    part.more.hidden = chips.length <= room;
    put(part.more, `and ${(chips.length - room).toLocaleString("en")} more`);
  });
}

function createCard({ node }) {
  const element = make("li");
  const top = make("div", "top");
  const part = element.parts = {
    state: make("span", "state"), count: make("span", "count"), why: make("p", "why"), bar: make("b"),
    chips: make("ul", "chips"), more: make("button", "more"), acts: make("div", "acts"),
  };
  if (node) {
    part.name = make("button", "name", node.name);
    label(part.name, "title", node.name);
    part.name.addEventListener("click", () => chooseNode(node.name));
    part.sign = make("i");
    part.sign.ariaHidden = "true";
    part.word = make("span");
    part.state.append(part.sign, " ", part.word);
    top.append(part.name, part.state, part.count);
    label(part.chips, "aria-label", `addresses of ${node.name}`);
    tint(element, node.name);
  } else {
    top.append(make("strong", "", "nobody"), make("span", "state", "announces these"), part.count);
    label(part.chips, "aria-label", "addresses and Services that nobody announces");
  }
  const share = make("div", "share");
  share.ariaHidden = "true";
  share.append(part.bar);
  part.more.addEventListener("click", () => find(`node=${node?.name ?? "nobody"}`));
  part.acts.hidden = part.why.hidden = true;
  element.append(top, part.why, share, part.chips, part.more, part.acts);
  return element;
}

function drawHead(element, node, gone) {
  const part = element.parts;
  const [sign, text] = STATES[node.state] ?? ["?", node.state];
  put(part.sign, gone ? "◌" : sign);
  const suffix = [node.since ? since(node.since) : "", node.cordoned ? "cordoned" : ""].filter(Boolean).join(", ");
  const supposed = state.supposed?.kind === "drain" ? "would be drained" : "would be dead";
  put(part.word, gone ? supposed : suffix ? `${text} ${suffix}` : text);
  const why = [node.by.length ? `${listed(node.by)} say so` : "", ...node.reasons].filter(Boolean).join("; ");
  put(part.why, why);
  part.why.hidden = !why;
  const chosen = state.node === node.name;
  attribute(part.name, "aria-expanded", chosen);
  part.acts.hidden = !chosen;
  if (chosen && !part.acts.firstChild) part.acts.append(...acts(node.name));
}

// What can be asked about a node.
function acts(name) {
  if (state.isSnapshot) {
    return [command(`kubectl ferrolb explain node/${word(name)}`), command(`kubectl ferrolb plan node-down ${word(name)}`)];
  }
  const dies = make("button", "dies", "This node dies");
  dies.addEventListener("click", () => suppose("node-down", name));
  const drain = make("button", "drain", "This node is drained");
  drain.addEventListener("click", () => suppose("drain", name));
  return [dies, drain, command(`kubectl ferrolb explain node/${word(name)}`)];
}

function chooseNode(name) {
  state.node = state.node === name ? null : name;
  drawMap();
}

function createChip({ one, service }) {
  const item = make("li");
  const button = make("button", "chip");
  button.addEventListener("click", () => {
    if (one) choose(one.address, true);
    else find(`${service.namespace}/${service.name}`);
  });
  item.append(button);
  return item;
}

const HOW = { silent: "✕ ", twice: "⚠ ", unknown: "? ", comes: "+ ", pending: "… " };
const TOLD = {
  announced: "", silent: "nobody announces it, and somebody should", twice: "announced by two nodes", unknown: "not known who announces it",
  quiet: "nobody announces it, as it should be", of_node: "the node's own address", comes: "would come here", leaves: "would leave", pending: "waits for an address",
};

function drawChip(item, { one, service, how, move }) {
  const button = item.firstChild;
  className(button, `chip ${how}${one && isFresh(one.address) ? " fresh" : ""}`);
  put(button, (HOW[how] ?? "") + (one ? short(one.address) : `${service.namespace}/${service.name}`));
  tint(button, how === "announced" ? one.nodes[0] : null);
  const about = one ? `${one.address} ${listed(one.services, 3)}` : `${service.namespace}/${service.name}`;
  const why = one?.reason ?? service?.problem?.reason;
  const told = [about, move?.to === null ? "would be announced by nobody" : TOLD[how], how === "comes" ? `from ${move.from}` : "", why]
    .filter(Boolean).join(", ");
  label(button, "aria-label", told);
  label(button, "title", told);
}
