// Drawings by Vega-Lite. Colours are the style's own variables, so SVG follows the theme and the printer by itself.
const INK = { labelColor: "var(--ink)", titleColor: "var(--muted)" };
const CONFIG = {
  background: null,
  font: "system-ui, sans-serif",
  aria: false,
  view: { stroke: null },
  text: { color: "var(--ink)" },
  axis: { ...INK, gridColor: "var(--line)", domainColor: "var(--muted)", tickColor: "var(--muted)", titleFontWeight: "normal", labelFontSize: 11 },
  legend: { ...INK, labelFontSize: 11, titleFontWeight: "normal" },
};

const views = new Map();

function resolved(value) {
  if (Array.isArray(value)) return value.map(resolved);
  if (value && typeof value === "object") return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, resolved(one)]));
  const named = typeof value === "string" && /^var\((--[\w-]+)\)$/.exec(value);
  return named ? getComputedStyle(document.documentElement).getPropertyValue(named[1]).trim() : value;
}

// Where a drawing has a line a thing, its height follows their number.
function tall({ usermeta }, rows) {
  return usermeta ? { height: usermeta.step * new Set(rows.map((row) => row[usermeta.by])).size } : {};
}

// A canvas knows no variables: it gets the colours of the moment, and is drawn again when the theme turns.
async function draw(node, chart, rows, options = {}) {
  const renderer = options.renderer || "svg";
  const spec = { ...data.charts[chart], ...tall(data.charts[chart], rows), data: { name: "rows", values: rows }, ...(options.spec || {}) };
  const fit = renderer === "canvas" ? resolved : (value) => value;
  const embedded = { ast: true, actions: false, renderer, defaultStyle: false, tooltip: { disableDefaultStyle: true }, config: fit(CONFIG) };
  const before = views.get(node);
  if (before) before.finalize();
  if (rows.length === 0) { node.replaceChildren(); views.delete(node); return; }
  if (options.says) node.setAttribute("aria-label", options.says);
  views.set(node, await window.vegaEmbed(node, fit(spec), embedded));
  [...node.children].forEach((drawn) => drawn.setAttribute("aria-hidden", "true"));  // the node says what it shows
  node.dataset.drawn = getComputedStyle(document.documentElement).colorScheme;
}
