"use strict";
// What if: the plugin decides, by the code of `kubectl ferrolb plan`; the page only draws it.

let asked = 0;

async function answer(path, options) {
  const response = await fetch(path, { cache: "no-store", ...options });
  const text = await response.text();
  let data;
  try {
    data = JSON.parse(text);
  } catch {
    throw new Error(text || `${response.status}`);
  }
  if (!response.ok) throw new Error(data.error);
  return data;
}

// Another node that dies comes to those that did.
function suppose(kind, name) {
  const last = state.supposed;
  const nodes = kind === "node-down" && last?.kind === kind && last.plan
    ? [...new Set([...last.nodes, name])] : [name];
  state.supposed = { kind, nodes, plan: null, costs: [] };
  drawSupposed();
  askSupposed(true);
}

async function askSupposed(isNew) {
  const { kind, nodes } = state.supposed;
  const number = ++asked;
  const query = nodes.map((node) => `node=${encodeURIComponent(node)}`).join("&");
  let next;
  try {
    const told = await answer(`plan/${kind}?${query}`);
    next = { kind, nodes, plan: told.plan, costs: told.costs };
  } catch (error) {
    next = { kind, nodes, plan: null, costs: [], error: error.message };
  }
  // Somebody asked for something else meanwhile, or for nothing.
  if (number !== asked || !state.supposed) return;
  state.supposed = next;
  drawMap();
  drawSupposed();
  if (isNew) {
    $("whatif-head").focus({ preventScroll: true });
    say([$("whatif-head").textContent, $("whatif-sum").textContent, ...next.costs].join(". "));
  }
}

function drawSupposed() {
  const supposed = state.supposed;
  $("whatif").hidden = !supposed;
  if (!supposed) return;
  const names = supposed.nodes.join(", ");
  const verb = supposed.kind === "drain" ? "is drained" : supposed.nodes.length > 1 ? "die at once" : "dies";
  put($("whatif-head"), `What if ${names} ${verb}?`);
  put($("whatif-sum"), supposed.error ?? sum(supposed));
  texts($("whatif-costs"), [...supposed.costs, ...(supposed.plan?.notes ?? [])]);
  const text = `kubectl ferrolb plan ${supposed.kind} ${supposed.nodes.map(word).join(" ")}`;
  keep($("whatif-command"), [text], (one) => one, command);
}

function sum({ kind, plan }) {
  if (!plan) return "Asking…";
  const all = plan.addresses;
  if (!all.length) return "No address is announced there, so none moves.";
  const move = all.filter((one) => one.to && (kind !== "drain" || one.handsOver)).length;
  const stay = kind === "drain" ? all.filter((one) => one.to && !one.handsOver).length : 0;
  const silent = all.filter((one) => !one.to).length;
  const gaps = all.filter((one) => one.gap).length;
  return [
    `${counted(move, "address")} would move`, stay && `${stay} would stay until the node stops`,
    silent ? `${silent} would be announced by nobody` : "none falls silent",
    gaps && `${gaps} would lead to no pod for a while`,
  ].filter(Boolean).join(", ") + ".";
}

function endSupposed() {
  state.supposed = null;
  asked++;
  drawSupposed();
  drawMap();
  say("Back to what is");
  $("map-hint").scrollIntoView({ block: "nearest" });
}

const OUTCOMES = {
  refused: "It would be refused. What is in force would stay in force.",
  not_configured: "It has no configuration. What is in force would stay in force.",
};

async function tryConfig(event) {
  event.preventDefault();
  const box = $("config-answer");
  const text = $("config-text").value;
  if (!text.trim()) return $("config-text").focus();
  box.replaceChildren(make("p", "hint", "Asking…"));
  try {
    const { plan } = await answer("plan/config", { method: "POST", body: text, headers: { "content-type": "text/plain" } });
    box.replaceChildren(...configAnswer(plan));
  } catch (error) {
    box.replaceChildren(make("p", "loses", error.message));
  }
}

function configAnswer(plan) {
  if (plan.outcome !== "in_force") {
    const line = make("p");
    line.append(command("kubectl ferrolb validate FILE"));
    return [make("p", "loses", OUTCOMES[plan.outcome] ?? plan.outcome), make("p", "", plan.problem ?? ""), line];
  }
  const loses = plan.services.filter((one) => one.effect === "loses").length;
  const head = plan.services.length
    ? `${counted(plan.services.length, "Service")} would change${loses ? `, ${loses} of them would lose something` : ", none would lose anything"}; ${counted(plan.unchanged, "Service")} would keep what they have.`
    : `Nothing would change: ${counted(plan.unchanged, "Service")} would keep what they have.`;
  const list = make("ul");
  for (const one of plan.services.slice(0, 500)) {
    const item = make("li");
    item.append(make("span", one.effect, one.effect), " ", make("strong", "", `${one.namespace}/${one.name}`), " ", make("span", "", one.what.join("; ")));
    list.append(item);
  }
  const pools = plan.pools.map((pool) => make("li", "hint", `pool ${pool.name}: ${pool.used} of ${pool.total} in use`));
  list.append(...pools, ...plan.notes.map((text) => make("li", "hint", `note: ${text}`)));
  return [make("p", loses ? "loses" : "", head), list];
}

async function takeFile() {
  const [file] = $("config-file").files;
  if (file) $("config-text").value = await file.text();
}
