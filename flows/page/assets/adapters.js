// A card for every adapter: provenance, verdict, scores. Cards are made when they come into view, filled when opened.
const CARDS = 30;
let cards = { shown: CARDS, first: -1 };

const verdict = (adapter) => world.adapters.admitted[adapter] ? (world.tasks.adapter.includes(adapter) ? "chosen" : "admitted") : "rejected";

// Only to the hub's own https address, and only where the name is one that a hub gives.
function hubLink(adapter) {
  const [repo, ...folder] = called(adapter).split(":");
  const sha = world.adapters.sha[adapter];
  if (!data.endpoint || !/^[\w.-]+\/[\w.-]+$/.test(repo) || !/^[0-9a-f]{7,64}$/.test(sha) || called(adapter).includes("�")) return null;
  const path = folder.length ? "/" + folder.join(":").split("/").map(encodeURIComponent).join("/") : "";
  return make("a", { href: `${data.endpoint}/${repo}/tree/${sha}${path}`, rel: "noopener noreferrer", target: "_blank" }, "on the hub");
}

function facts(pairs) {
  const known = pairs.filter(([, value]) => value !== null && value !== undefined && value !== "");
  return make("dl", {}, ...known.flatMap(([label, value]) => [make("dt", {}, label), make("dd", {}, value.nodeType ? value : name(value))]));
}

const yes = (value) => value === null || value === undefined ? null : value ? "yes" : "no";

function provenance(adapter) {
  const own = (field) => world.adapters[field][adapter];
  const modules = own("modules") === null ? null : `${count(own("modules"))}${own("matched") === null ? "" : `, ${count(own("matched"))} of them in the base`}`;
  return facts([
    ["revision", own("sha")], ["page", hubLink(adapter)], ["licence", own("licence")],
    ["size", own("size") === null ? null : `${count(own("size"))} bytes`], ["weights' SHA-256", own("sha256")],
    ["names as base", own("base_named")], ["known from", own("base_source")], ["same weights as", own("duplicate_of")],
    ["kind", [own("peft_type"), own("task_type")].filter(Boolean).join(", ")], ["PEFT", own("peft_version")],
    ["rank", own("rank")], ["modules", modules], ["dtypes", own("dtypes")], ["DoRA", yes(own("dora"))], ["rsLoRA", yes(own("rslora"))],
    ["downloads", own("downloads") === null ? null : count(own("downloads"))], ["likes", own("likes") === null ? null : count(own("likes"))],
    ["prompt format", own("format")],
    ["last modified", own("last_modified")], ["gone from the hub", own("gone")], ["tags", own("tags")], ["rules", own("rules_version")],
  ]);
}

function scoresOf(adapter) {
  const { scores, whys, tasks } = world;
  const rows = of(scores, (row) => scores.adapter[row] === adapter);
  if (!rows.length) return make("p", { className: "muted" }, "It was not scored.");
  const why = new Map(of(whys, (row) => whys.adapter[row] === adapter).map((row) => [whys.task[row], whys.why[row]]));
  const formats = formatsBy("task", (row) => world.formats.adapter[row] === adapter);
  const asked = (row) => formats.get(scores.task[row]) || "";
  const table = make("table", {});
  dataTable(table, `${many(rows.length, "task", "tasks")}, on the examples that chose`, [
    { label: "task", value: (row) => tasks.name[scores.task[row]], show: (row) => name(tasks.name[scores.task[row]]) },
    { label: "score", className: "number", value: (row) => scores.mean[row], show: (row) => thousandths(scores.mean[row]) },
    { label: "± s.e.", className: "number", value: (row) => scores.error[row], show: (row) => thousandths(scores.error[row]) },
    { label: "lift", className: "number", value: (row) => scores.lift[row], show: (row) => signed(scores.lift[row]) },
    { label: "± s.e.", className: "number", value: (row) => scores.lift_error[row], show: (row) => thousandths(scores.lift_error[row]) },
    { label: "n of lift", className: "number", value: (row) => scores.lift_n[row], show: (row) => count(scores.lift_n[row]) },
    { label: "n", className: "number", value: (row) => scores.n[row], show: (row) => count(scores.n[row]) },
    ...(formats.size ? [{ label: "asked in", value: asked, show: (row) => askedIn(asked(row)) }] : []),
    { label: "outcome", className: "told", value: (row) => scores.chosen[row], show: (row) => (scores.chosen[row] ? "published. " : "") + (why.get(scores.task[row]) || "") },
  ], rows, { order: { column: 3, direction: -1 } });
  return make("div", { className: "scroll", tabIndex: 0, role: "group", "aria-label": `Scores of ${called(adapter)}` }, table);
}

function findings(adapter) {
  const found = world.adapters.findings[adapter];
  if (!found.length) return null;
  return make("ul", {}, ...found.map(([reason, evidence]) => make("li", {}, make("strong", {}, reason), ": ", name(evidence))));
}

function fillCard(adapter, body) {
  const words = world.adapters.card[adapter];
  body.replaceChildren(...[
    make("h3", {}, "Verdict"), make("p", {}, world.adapters.admitted[adapter] ? "Admitted: it can be run and fits the policy." : `Rejected: ${world.adapters.reason[adapter]}`),
    findings(adapter), make("h3", {}, "Provenance"), provenance(adapter),
    ...(words ? [make("h3", {}, "Its card says"), make("p", { className: "words" }, words)] : []),
    make("h3", {}, "Scores"), scoresOf(adapter),
  ].filter(Boolean));
}

function card(adapter) {
  const kind = verdict(adapter);
  const label = kind === "rejected" ? `rejected: ${world.adapters.reason[adapter]}` : kind;
  const body = make("div", {});
  const node = make("details", { className: "card", id: anchor(adapter) }, make("summary", {}, name(called(adapter)), " ", make("span", { className: `badge ${kind}` }, label)), body);
  node.addEventListener("toggle", () => { if (node.open && !body.firstChild) fillCard(adapter, body); });
  return node;
}

function foundCards() {
  const wanted = at("cards-find").value.trim();
  const kind = at("cards-verdict").value;
  const { adapters } = world;
  const is = (adapter) => !kind || verdict(adapter) === kind || (kind === "admitted" && adapters.admitted[adapter]);
  const text = (adapter) => [called(adapter), adapters.licence[adapter], adapters.reason[adapter], adapters.tags[adapter], adapters.card[adapter]].join(" ");
  return range(adapters.name.length).filter((adapter) => is(adapter) && matches(text(adapter), wanted));
}

function drawCards() {
  const found = foundCards();
  const rank = { chosen: 0, admitted: 1, rejected: 2 };
  found.sort((a, b) => (b === cards.first) - (a === cards.first) || rank[verdict(a)] - rank[verdict(b)] || called(a).localeCompare(called(b), "en"));
  at("cards").replaceChildren(...found.slice(0, cards.shown).map(card));
  at("cards-count").textContent = many(found.length, "adapter", "adapters");
  moreButton(at("cards-more"), found.length, cards.shown, CARDS, () => { cards.shown += CARDS; drawCards(); });
}

// An address of a card brings it to the top, opened.
function followAddress() {
  const named = /^#adapter-(\d+)-(\d+)$/.exec(location.hash);
  if (!named || !data.bases[named[1]] || !(Number(named[2]) < data.bases[named[1]].adapters.name.length)) return;
  if (Number(named[1]) !== worldNumber) setWorld(Number(named[1]));
  at("cards-find").value = "";
  at("cards-verdict").value = "";
  cards = { shown: CARDS, first: Number(named[2]) };
  drawCards();
  const node = at(anchor(cards.first));
  node.open = true;
  node.scrollIntoView();
  node.firstChild.focus();
}

function startCards() {
  for (const [id, event] of [["cards-find", "input"], ["cards-verdict", "change"]]) {
    at(id).addEventListener(event, () => { cards = { shown: CARDS, first: -1 }; drawCards(); });
  }
  addEventListener("hashchange", followAddress);
}
