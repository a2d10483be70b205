// Everything at its place, once.
function setWorld(number) {
  worldNumber = number;
  world = data.bases[number];
  if (at("base")) at("base").value = String(number);
  document.querySelectorAll("[data-base]").forEach((node) => { node.hidden = Number(node.dataset.base) !== number; });
  heat = readHeat();
  cards = { shown: CARDS, first: -1 };
  fillTasks();
  drawFunnel();
  drawHeat();
  drawTask();
  drawMap();
  drawQuality();
  drawCards();
}

function start() {
  document.documentElement.classList.add("live");
  document.querySelectorAll("table.sortable").forEach(makeSortable);
  startTheme(() => drawHeat());
  drawEvaluations();
  if (!data.bases.length) return;
  startHeat();
  startCards();
  at("task-name").addEventListener("change", drawTask);
  if (at("base")) at("base").addEventListener("change", () => setWorld(Number(at("base").value)));
  setWorld(0);
  followAddress();
}

start();
