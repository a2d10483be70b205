// One task: its bracket and the scores with their errors. And all tasks: the map, quality against evaluations.
const DRAWN_SCORES = 20;

function fillTasks() {
  at("task-name").replaceChildren(...world.tasks.name.map((task, number) => make("option", { value: number }, task)));
}

function drawTask() {
  const task = Number(at("task-name").value || 0);
  if (!world.tasks.name.length) { at("task-says").textContent = "There are no tasks."; return; }
  sayTask(task);
  drawBracket(task);
  drawPaths(task);
  drawScores(task);
}

function sayTask(task) {
  const { tasks } = world;
  const published = tasks.adapter[task] < 0 ? "the base model itself, as no adapter helps" : called(tasks.adapter[task]);
  at("task-says").replaceChildren(
    ...(tasks.description[task] ? [name(tasks.description[task]), " "] : []),
    `Metric ${tasks.metric[task] || "unknown"}, ${count(tasks.examples[task])} validation examples. Published: `, name(published),
    ...(tasks.format[task] || tasks.base_format[task] ? [", asked in ", askedIn(tasks.format[task]), ", the base in ", askedIn(tasks.base_format[task])] : []),
    `, score ${thousandths(tasks.score[task])} ± ${thousandths(tasks.error[task])} on ${count(tasks.n[task])} examples that did not choose it, `,
    `lift ${signed(tasks.lift[task])} ± ${thousandths(tasks.lift_error[task])}, over the majority answer ${signed(tasks.over_majority[task])}, `,
    `over shuffled targets ${signed(tasks.over_shuffled[task])}. Standing: ${tasks.status[task] || "unknown"}.`,
    ...(tasks.empty[task] === null ? [] : [` Of these answers ${count(tasks.empty[task])} say nothing and ${count(tasks.cut[task])} are cut; of the base's own ${count(tasks.base_empty[task])} and ${count(tasks.base_cut[task])}.`]));
}

function drawBracket(task) {
  const { rungs } = world;
  const rows = of(rungs, (row) => rungs.task[row] === task);
  const bars = rows.flatMap((row) => [
    { rung: rungs.rung[row], fate: "went on", adapters: rungs.kept[row] },
    { rung: rungs.rung[row], fate: "dropped", adapters: rungs.adapters[row] - rungs.kept[row] }]);
  draw(at("bracket"), "bracket", bars);
  dataTable(at("bracket-table"), "The bracket; the base model takes part", [
    { label: "rung", className: "number", value: (row) => rungs.rung[row], show: (row) => rungs.rung[row] },
    { label: "met it", className: "number", value: (row) => rungs.adapters[row], show: (row) => count(rungs.adapters[row]) },
    { label: "went on", className: "number", value: (row) => rungs.kept[row], show: (row) => count(rungs.kept[row]) },
    { label: "examples so far", className: "number", value: (row) => rungs.n[row], show: (row) => count(rungs.n[row]) },
  ], rows);
}

const between = (mean, error) => ({ mean: real(mean), low: real(mean - (error || 0)), high: real(mean + (error || 0)) });

function drawPaths(task) {
  const { paths } = world;
  const rows = of(paths, (row) => paths.task[row] === task && paths.mean[row] !== null);
  draw(at("paths"), "paths", rows.map((row) => ({ rung: paths.rung[row], adapter: called(paths.adapter[row]), n: paths.n[row], ...between(paths.mean[row], paths.error[row]) })));
}

function drawScores(task) {
  const { scores, whys } = world;
  const why = new Map(of(whys, (row) => whys.task[row] === task).map((row) => [whys.adapter[row], whys.why[row]]));
  const formats = formatsBy("adapter", (row) => world.formats.task[row] === task);
  const asked = (row) => formats.get(scores.adapter[row]) || "";
  const rows = of(scores, (row) => scores.task[row] === task);
  rows.sort((a, b) => scores.chosen[b] - scores.chosen[a] || scores.rung[b] - scores.rung[a] || scores.mean[b] - scores.mean[a]);
  const columns = [
    { label: "adapter", value: (row) => called(scores.adapter[row]), show: (row) => toCard(scores.adapter[row]) },
    ...["mean", "error", "lift", "lift_error"].map((field, place) => ({
      label: ["score", "± s.e.", "lift", "± s.e."][place], className: "number",
      value: (row) => scores[field][row], show: (row) => (field === "lift" ? signed : thousandths)(scores[field][row]) })),
    ...["lift_n", "n", "empty", "cut", "rung"].map((field) => ({ label: { lift_n: "n of lift" }[field] || field, className: "number", value: (row) => scores[field][row], show: (row) => count(scores[field][row]) })),
    ...(formats.size ? [{ label: "asked in", value: asked, show: (row) => askedIn(asked(row)) }] : []),
    { label: "outcome", className: "told", value: (row) => scores.chosen[row], show: (row) => (scores.chosen[row] ? "published. " : "") + (why.get(scores.adapter[row]) || "") },
  ];
  dataTable(at("scores-table"), `Scores on the examples that chose, all ${count(rows.length)} that were tried`, columns, rows, { size: ROWS, more: at("scores-more"), drawn: drawTop });
}

function drawTop(rows) {
  const { scores } = world;
  const base = rows.filter((row) => scores.adapter[row] < 0);
  const top = [...new Set([...rows.slice(0, DRAWN_SCORES), ...base])].filter((row) => scores.mean[row] !== null);
  const kind = (row) => scores.adapter[row] < 0 ? "base alone" : scores.chosen[row] ? "published" : "tried";
  draw(at("scores"), "scores", top.map((row) => ({ adapter: called(scores.adapter[row]), kind: kind(row), n: scores.n[row], ...between(scores.mean[row], scores.error[row]) })));
  at("scores-says").textContent = rows.length > top.length ? `The first ${count(top.length)} of the table below (± s.e.)` : "The scores of the table below (± s.e.)";
}

function drawMap() {
  const { tasks } = world;
  const rows = range(tasks.name.length).filter((task) => tasks.point[task]);
  const shares = tasks.shares.length ? ` They show ${tasks.shares.join(" + ")} per cent of what sets the tasks apart.` : "";
  at("map-says").textContent = `The ${count(rows.length)} tasks along the two directions in which their embeddings differ most (PCA): near tasks read alike.${shares}`;
  draw(at("map-chart"), "map", rows.map((task) => ({ number: String(task + 1), task: tasks.name[task], x: real(tasks.point[task][0]), y: real(tasks.point[task][1]), lift: real(tasks.lift[task]) })));
  dataTable(at("map-table"), "Numbers of the map", [
    { label: "no.", className: "number", value: (task) => task, show: (task) => task + 1 },
    { label: "task", value: (task) => tasks.name[task], show: (task) => name(tasks.name[task]) },
    { label: "first", className: "number", value: (task) => tasks.point[task][0], show: (task) => signed(tasks.point[task][0]) },
    { label: "second", className: "number", value: (task) => tasks.point[task][1], show: (task) => signed(tasks.point[task][1]) },
    { label: "lift", className: "number", value: (task) => tasks.lift[task], show: (task) => signed(tasks.lift[task]) },
  ], rows);
}

function drawQuality() {
  const { quality } = world;
  const rows = range(quality.rung.length);
  const last = rows.length - 1;
  at("quality-says").textContent = last < 0 ? "No race was run." : `After each rung: how good the leaders of that moment are known to be now, on the examples that chose, which flatter. After ${count(quality.evaluations[last])} evaluations their mean lift is ${signed(quality.lift[last])}.`;
  draw(at("quality-chart"), "quality", rows.map((row) => ({ rung: quality.rung[row], evaluations: quality.evaluations[row], lift: real(quality.lift[row]) })));
  dataTable(at("quality-table"), "Leaders' lift by evaluations", [
    { label: "rung", className: "number", value: (row) => quality.rung[row], show: (row) => quality.rung[row] },
    { label: "evaluations so far", className: "number", value: (row) => quality.evaluations[row], show: (row) => count(quality.evaluations[row]) },
    { label: "mean lift of the leaders", className: "number", value: (row) => quality.lift[row], show: (row) => signed(quality.lift[row]) },
  ], rows);
}

function drawEvaluations() {
  if (!at("evaluation-chart")) return;
  const lines = data.evaluations.filter((line) => line.share !== null);
  draw(at("evaluation-chart"), "evaluations", lines.map((line) => ({
    system: `${line.router} + ${line.composition}`, setting: line.setting, share: real(line.share), low: real(line.low), high: real(line.high) })));
}

function drawFunnel() {
  document.querySelectorAll("[data-chart=funnel]").forEach((node) => {
    const holder = node.closest("[data-base]");
    if (holder.hidden) return;
    const rows = [...holder.querySelectorAll("table.funnel tbody tr")];
    draw(node, "funnel", rows.map((row) => ({ stage: row.cells[0].textContent, adapters: Number(row.cells[1].textContent) })));
  });
}
