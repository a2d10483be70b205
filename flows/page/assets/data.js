// The data, and how it becomes nodes. Strings of strangers become text nodes only: nothing here writes markup.
const data = JSON.parse(document.getElementById("data").textContent);
const at = (id) => document.getElementById(id);
let world = data.bases[0];
let worldNumber = 0;

function make(tag, properties, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties || {})) {
    if (name in node) node[name] = value;
    else node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined).map((child) => child.nodeType ? child : String(child)));
  return node;
}

const name = (text) => make("bdi", {}, text);
const called = (adapter) => adapter < 0 ? "(base)" : world.adapters.name[adapter];
const thousandths = (value) => value === null || value === undefined ? "–" : (value / 1000).toFixed(3);
const signed = (value) => value === null || value === undefined ? "–" : (value < 0 ? "" : "+") + (value / 1000).toFixed(3);
const count = (value) => value === null || value === undefined ? "–" : value.toLocaleString("en");
const real = (value) => value === null || value === undefined ? null : value / 1000;
const many = (number, one, several) => `${count(number)} ${number === 1 ? one : several}`;
const range = (length) => Array.from({ length }, (_, number) => number);
const anchor = (adapter) => `adapter-${worldNumber}-${adapter}`;
const toCard = (adapter) => adapter < 0 ? "(base)" : make("a", { href: `#${anchor(adapter)}` }, name(called(adapter)));
const matches = (text, wanted) => wanted.toLowerCase().split(/\s+/).every((word) => text.toLowerCase().includes(word));
const askedIn = (format) => format ? name(format) : "task’s own";
const formatsBy = (key, test) => new Map(of(world.formats, test).map((row) => [world.formats[key][row], world.formats.format[row]]));
const of = (columns, test) => range(columns.task ? columns.task.length : 0).filter(test);
