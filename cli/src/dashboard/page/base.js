"use strict";
// What the other files rest on. Everything that the cluster says is other people's text: it is only ever set
// as text, never as HTML, and the page's policy refuses anything else (Trusted Types).

const $ = (id) => document.getElementById(id);

// Control and format characters are shown and do not act, as on the plugin's terminal.
const shown = (text) => String(text).replace(/\s+/g, " ")
  .replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, (one) => "\\u" + one.codePointAt(0).toString(16).padStart(4, "0"));

function make(tag, name, text) {
  const element = document.createElement(tag);
  if (name) element.className = name;
  if (text !== undefined) put(element, text);
  if (tag === "button") element.type = "button";
  return element;
}

// Writes only what differs: what has not changed keeps focus, selection and place.
function put(element, text) {
  const now = shown(text);
  if (element.textContent !== now) element.textContent = now;
}

function attribute(element, name, value) {
  if (value === null || value === undefined) element.removeAttribute(name);
  else if (element.getAttribute(name) !== String(value)) element.setAttribute(name, value);
}

// For what is read aloud, or shown on hover: text of others, too.
const label = (element, name, text) => attribute(element, name, shown(text));

function className(element, name) {
  if (element.className !== name) element.className = name;
}

// Makes the children of `parent` those of `items`, and keeps the element of each key.
function keep(parent, items, key, create, update) {
  const old = parent.kept ?? new Map();
  const now = new Map();
  let place = parent.firstChild;
  for (const item of items) {
    const name = key(item);
    if (now.has(name)) continue;
    const element = old.get(name) ?? create(item);
    old.delete(name);
    now.set(name, element);
    if (update) update(element, item);
    if (element === place) place = place.nextSibling;
    else parent.insertBefore(element, place);
  }
  for (const element of old.values()) element.remove();
  parent.kept = now;
}

const texts = (parent, lines, tag = "li") =>
  keep(parent, lines, (line) => line, (line) => make(tag, "", line));

// `45s`, `2m`, `5h`, `3d`, as the plugin writes it.
function age(milliseconds) {
  const seconds = Math.max(0, Math.floor(milliseconds / 1000));
  if (seconds < 120) return seconds + "s";
  if (seconds < 7200) return Math.floor(seconds / 60) + "m";
  if (seconds < 172800) return Math.floor(seconds / 3600) + "h";
  return Math.floor(seconds / 86400) + "d";
}

// UTC, as the plugin and the daemons' logs have it.
const clock = (time) => new Date(time).toISOString().slice(11, 19);
const counted = (count, noun) => `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : noun.endsWith("s") ? "es" : "s"}`;
const listed = (names, most = 5) =>
  names.slice(0, most).join(", ") + (names.length > most ? ` and ${names.length - most} more` : "");

// Of a word in a command: what a shell would not take as it is stands in quotes.
const word = (text) => /^[\w.:\/@%+=-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;

// A command, with a button that copies it.
function command(text) {
  const box = make("span", "command");
  box.append(make("code", "", text));
  // What was shown in another form is not copied as if it were harmless.
  if (shown(text) === text) {
    const button = make("button", "", "Copy");
    label(button, "aria-label", `Copy ${text}`);
    button.addEventListener("click", () => copy(text, button));
    box.append(button);
  }
  return box;
}

async function copy(text, button) {
  try {
    await navigator.clipboard.writeText(text);
    put(button, "Copied");
    say("Copied");
  } catch {
    getSelection().selectAllChildren(button.previousSibling);
    put(button, "Selected");
    say("Selected: copy it with your keyboard");
  }
  setTimeout(() => put(button, "Copy"), 2000);
}

const commands = (parent, lines) => keep(parent, lines, (line) => line, (line) => {
  const item = make("li");
  item.append(command(line));
  return item;
});

// For screen readers, once.
const say = (text) => put($("said"), text);

// Facts in a definition list; those without a value are left out.
function facts(list, all) {
  const known = all.filter(([, value]) => value !== null && value !== undefined && value !== "");
  keep(list, known, ([name]) => name, ([name]) => {
    const pair = make("div");
    pair.append(make("dt", "", name), make("dd"));
    return pair;
  }, (pair, [, value]) => put(pair.lastChild, value));
}

// Of each node its own colour. Its name stands beside it: colours alone say nothing.
const hues = new Map();
function tint(element, node) {
  const hue = hues.get(node);
  const value = hue === undefined ? "" : `hsl(${hue} var(--tint-s) var(--tint-l))`;
  if (element.tinted !== value) {
    element.tinted = value;
    if (value) element.style.setProperty("--tint", value);
    else element.style.removeProperty("--tint");
  }
}

// What is shown, and what somebody chose.
const state = {
  view: null, // what came last
  ahead: 0, // by how much this clock is ahead of the plugin's, ms
  heard: 0, // when the plugin last said that this is how it is, by its clock
  node: null, // the node that is chosen
  address: null, // the address that is chosen
  supposed: null, // what if: { kind, nodes, plan, costs }
  find: "", only: false, span: 600e3,
  isSnapshot: false,
};

const now = () => (state.isSnapshot ? state.view.now : Date.now() - state.ahead);
const since = (time) => (time ? age(now() - Date.parse(time)) : null);
const BAD = new Set(["silent", "twice"]);
