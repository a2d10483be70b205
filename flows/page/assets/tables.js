// Tables: sorting by their headings, and rows that come a page at a time.
const numeric = (text) => { const value = Number(text.replace(/[,%+]/g, "")); return text.trim() === "" || Number.isNaN(value) ? null : value; };

// Descending puts what has no value last, ascending too.
function compare(a, b, direction) {
  if (a === null || b === null) return (a === null) - (b === null);
  if (typeof a === "number" && typeof b === "number") return direction * (a - b);
  return direction * String(a).localeCompare(String(b), "en");
}

function heading(label, column, sorted, sort) {
  const cell = make("th", { scope: "col", className: column.className || "" }, make("button", { type: "button", onclick: sort, title: column.title || "" }, label));
  if (sorted) cell.setAttribute("aria-sort", sorted < 0 ? "descending" : "ascending");
  return cell;
}

// A table of the page's text: its headings become buttons.
function makeSortable(table) {
  const cells = [...table.tHead.rows[0].cells];
  cells.forEach((cell, place) => {
    const button = make("button", { type: "button" }, ...cell.childNodes);
    cell.append(button);
    button.addEventListener("click", () => {
      const direction = cell.getAttribute("aria-sort") === (cell.classList.contains("number") ? "descending" : "ascending") ? -1 : 1;
      const sign = cell.classList.contains("number") ? -direction : direction;
      const value = (row) => cell.classList.contains("number") ? numeric(row.cells[place].textContent) : row.cells[place].textContent;
      const rows = [...table.tBodies[0].rows].sort((a, b) => compare(value(a), value(b), sign));
      cells.forEach((other) => other.removeAttribute("aria-sort"));
      cell.setAttribute("aria-sort", sign < 0 ? "descending" : "ascending");
      table.tBodies[0].append(...rows);
    });
  });
}

// A table of the data: `columns` have a label, a `value` to sort by and a `show` of a row.
function dataTable(table, caption, columns, rows, options = {}) {
  const size = options.size || 1e9;
  let order = options.order || { column: -1, direction: 1 };
  let shown = size;
  const draw = () => {
    const sorted = order.column < 0 ? rows : [...rows].sort((a, b) => compare(columns[order.column].value(a), columns[order.column].value(b), order.direction));
    const heads = columns.map((column, place) => heading(column.label, column, place === order.column ? order.direction : 0, () => press(place)));
    const body = make("tbody", {}, ...sorted.slice(0, shown).map((row) => make("tr", {}, ...columns.map((column, place) =>
      make(place ? "td" : "th", { className: column.className || "", ...(place ? {} : { scope: "row" }) }, column.show(row))))));
    table.replaceChildren(make("caption", {}, caption), make("thead", {}, make("tr", {}, ...heads)), body);
    if (options.more) moreButton(options.more, sorted.length, shown, size, () => { shown += size; draw(); });
    if (options.drawn) options.drawn(sorted);
  };
  const press = (place) => {
    const first = columns[place].className === "number" ? -1 : 1;
    order = { column: place, direction: order.column === place ? -order.direction : first };
    draw();
    table.tHead.rows[0].cells[place].firstChild.focus();
  };
  draw();
}

function moreButton(button, all, shown, size, more) {
  button.hidden = all <= shown;
  button.textContent = `Show ${Math.min(size, all - shown)} more of ${all - shown}`;
  button.onclick = more;
}
