// The heatmap: a table of lifts that can be sorted and searched, and above it all of it at a glance.
const ROWS = 50;
const { domain: EDGES, range: SHADES } = data.charts.overview.encoding.color.scale;  // one scale for table and overview
const shade = (lift) => /--(\w+)/.exec(SHADES[EDGES.filter((edge) => lift >= 1000 * edge).length])[1];
let heat = null;

function readHeat() {
  const { scores, tasks } = world;
  const cells = new Map();
  of(scores, (row) => scores.adapter[row] >= 0).forEach((row) => {
    if (!cells.has(scores.adapter[row])) cells.set(scores.adapter[row], new Array(tasks.name.length).fill(-1));
    cells.get(scores.adapter[row])[scores.task[row]] = row;
  });
  const rows = [...cells].map(([adapter, found]) => ({
    adapter, found, best: Math.max(...found.map((row) => row < 0 || scores.lift[row] === null ? -Infinity : scores.lift[row])),
    won: found.filter((row) => row >= 0 && scores.chosen[row]).length,
  }));
  return { rows, order: { by: "best", direction: -1 }, shown: ROWS };
}

const heatValue = (row) => {
  if (heat.order.by === "adapter") return called(row.adapter);
  if (heat.order.by === "best") return row.best === -Infinity ? null : row.best;
  return row.found[heat.order.by] < 0 ? null : world.scores.lift[row.found[heat.order.by]];
};

function foundRows() {
  const wanted = at("heat-adapters").value.trim();
  const rows = heat.rows.filter((row) => matches(called(row.adapter), wanted));
  return rows.sort((a, b) => compare(heatValue(a), heatValue(b), heat.order.direction) || called(a.adapter).localeCompare(called(b.adapter), "en"));
}

const foundTasks = () => range(world.tasks.name.length).filter((task) => matches(world.tasks.name[task], at("heat-tasks").value.trim()));

function heatCell(row) {
  if (row < 0) return make("td", { className: "untried" }, "–");
  const lift = world.scores.lift[row];
  const star = world.scores.chosen[row] ? "★ " : "";
  return make("td", { className: lift === null ? "untried" : shade(lift), title: `on ${world.scores.lift_n[row]} examples` }, star + signed(lift));
}

function heatHead(by, label, className) {
  const sorted = heat.order.by === by ? heat.order.direction : 0;
  return heading(label, { className, title: label }, sorted, () => {
    heat.order = { by, direction: sorted ? -sorted : by === "adapter" ? 1 : -1 };
    drawHeat();
    at("heat").querySelector("th[aria-sort] button").focus();
  });
}

function drawHeatTable(rows, tasks) {
  const heads = [heatHead("adapter", "adapter", ""), heatHead("best", "best lift", "number"), ...tasks.map((task) => heatHead(task, world.tasks.name[task], "task"))];
  const body = rows.slice(0, heat.shown).map((row) => make("tr", {},
    make("th", { scope: "row" }, toCard(row.adapter)),
    make("td", {}, row.best === -Infinity ? "–" : signed(row.best)),
    ...tasks.map((task) => heatCell(row.found[task]))));
  const table = at("heat");
  table.className = tasks.length > 16 ? "wide" : "";
  table.replaceChildren(make("caption", {}, "Lift over the base model, adapters by tasks"), make("thead", {}, make("tr", {}, ...heads)), make("tbody", {}, ...body));
}

function drawOverview(rows, tasks) {
  const cells = [];
  rows.forEach((row, place) => tasks.forEach((task) => {
    const found = row.found[task];
    if (found >= 0 && world.scores.lift[found] !== null) cells.push({ place, task: world.tasks.name[task], lift: world.scores.lift[found] / 1000 });
  }));
  at("overview-says").textContent = cells.length ? `${count(cells.length)} tried pairs at a glance: a line a task, a column an adapter, in the order of the table below.` : "";
  return draw(at("overview"), "overview", cells, { renderer: "canvas", says: `Heatmap of ${count(cells.length)} lifts; the table below has the numbers.` });
}

let overviewDue = 0;
function drawHeat() {
  const rows = foundRows();
  const tasks = foundTasks();
  drawHeatTable(rows, tasks);
  at("heat-count").textContent = `${many(rows.length, "adapter", "adapters")}, ${many(tasks.length, "task", "tasks")}`;
  moreButton(at("heat-more"), rows.length, heat.shown, ROWS, () => { heat.shown += ROWS; drawHeat(); });
  clearTimeout(overviewDue);
  overviewDue = setTimeout(() => drawOverview(rows, tasks), 150);
}

function startHeat() {
  for (const id of ["heat-adapters", "heat-tasks"]) at(id).addEventListener("input", () => { heat.shown = ROWS; drawHeat(); });
}
