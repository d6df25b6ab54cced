// A table of many rows as one element: keyed rows, changed cells only; sorted here, filtered and paged where told.
import { animate, clock, duration, escape, isTyping, quantity, utc } from "skyrack-console/base.js";

const bar = (value, level, text) =>
  `<span class="bar ${level}"><i style="width:${(100 * Math.max(0, Math.min(1, value))).toFixed(1)}%"></i><b>${text}</b></span>`;

// How a cell of each kind is written. A value that has not been heard is null.
const kinds = {
  text: (value) => escape(value),
  id: (value) => `<span class="id">${escape(value)}</span>`,
  state: (value) => (value ? `<span class="state ${escape(value.level)}">${escape(value.text)}</span>` : ""),
  number: (value, column) => quantity(value, column.unit, column.digits),
  level: (value, column) => (value ? `<span class="${value.level}">${value.text ? escape(value.text) : escape(quantity(value.value, value.unit ?? column.unit, column.digits))}</span>` : "–"),
  ratio: (value) => (value === null ? "–" : bar(value.value, value.level, quantity(value.value, "ratio"))),
  use: (value) => (value?.of === null || value?.of === undefined ? "–"
    : bar(value.of > 0 ? value.used / value.of : 0, value.used > value.of * 1.02 ? "caution" : "plain",
      `${quantity(value.used, "watts")} / ${quantity(value.of, "watts")}`)),
  time: (value) => (value ? `<time title="${new Date(value * 1000).toISOString()}">${utc(value)}</time>` : "–"),
  age: (value) => (value === null ? "never" : `<span data-since="${value}">${duration(clock.now() - value)}</span>`),
  until: (value) => (value === null ? "–" : `<span data-until="${value}">${value <= clock.now() ? "now" : duration(value - clock.now())}</span>`),
  progress: (value) => (value === null ? "" : bar(value, "plain", quantity(value, "ratio"))),
  stages: (value) => `<ol class="stages">${value.map((stage) =>
    `<li class="${stage.level}" title="${escape(stage.title)}">${escape(stage.text)}</li>`).join("")}</ol>`,
  actions: (value) => value.map((action) =>
    `<button class="mini" data-action="${escape(action.name)}"${action.why ? ` disabled title="${escape(action.why)}"` : ""}>${escape(action.text)}</button>`).join(""),
};

const plain = (value) => (value && typeof value === "object" ? value.value ?? value.used ?? value.text ?? "" : value);

// Kinds that say nothing without the name of their column: where rows are cards, it stands before them.
const LABELLED = ["ratio", "use", "level", "number", "age", "until"];

class Grid {
  constructor(root, { columns, rows, empty, label }, emit) {
    Object.assign(this, { root, columns, emit, empty, rows: new Map(), order: [], sort: null, at: null });
    root.innerHTML = `<div class="sr-scroll"><table aria-label="${escape(label)}"><thead><tr></tr></thead><tbody></tbody></table></div><div class="sr-empty" hidden></div>`;
    this.body = root.querySelector("tbody");
    columns.forEach((column, index) => {
      const cell = document.createElement("th");
      cell.scope = "col"; cell.className = this.side(column);
      if (column.hint) cell.title = column.hint;
      if (column.sortable) {
        cell.innerHTML = `<button>${escape(column.title)}</button>`;
        cell.firstChild.addEventListener("click", () => this.sortBy(index, cell));
      } else cell.textContent = column.title;
      root.querySelector("thead tr").append(cell);
    });
    root.addEventListener("keydown", (event) => this.key(event));
    root.addEventListener("click", (event) => {
      const button = event.target.closest("[data-action]");
      if (button) this.emit("act", { action: button.dataset.action, key: button.closest("tr").dataset.key });
    });
    root.addEventListener("focusin", (event) => { const row = event.target.closest("tbody tr"); if (row) this.rest(row); });
    this.stop = animate(1, () => this.tick());
    this.replace(rows);
  }

  side(column) { return `${["number", "level", "age", "until"].includes(column.kind) ? "right" : ""} ${column.class ?? ""}`; }

  // All rows, in their order.
  replace(rows) {
    const seen = new Set(rows.map((row) => row.key));
    for (const [key, row] of this.rows) if (!seen.has(key)) { row.element.remove(); this.rows.delete(key); }
    this.order = rows.map((row) => row.key);
    this.update(rows);
    this.arrange();
  }

  // Some rows, in place; others stay.
  update(rows) {
    for (const row of rows) {
      let known = this.rows.get(row.key);
      if (!known) {
        known = { element: document.createElement("tr"), written: [] };
        known.element.dataset.key = row.key; known.element.tabIndex = -1;
        for (const column of this.columns) { const cell = document.createElement("td"); cell.className = this.side(column); if (LABELLED.includes(column.kind)) cell.dataset.label = column.title; known.element.append(cell); }
        this.rows.set(row.key, known);
        if (!this.order.includes(row.key)) this.order.push(row.key);
      }
      known.cells = row.cells;
      known.element.className = row.level ?? "";
      this.columns.forEach((column, index) => {
        let text = kinds[column.kind](row.cells[index], column);
        if (index === 0 && row.href) text = `<a href="${escape(row.href)}" tabindex="-1">${text}</a>`;
        if (known.written[index] !== text) { known.element.children[index].innerHTML = text; known.written[index] = text; }
      });
    }
    this.tell();
  }

  tell() {
    const note = this.root.querySelector(".sr-empty");
    note.hidden = this.rows.size > 0;
    this.root.querySelector("thead").hidden = this.rows.size === 0;
    if (!note.hidden && note.innerHTML !== this.empty) note.innerHTML = this.empty;
  }

  arrange() {
    const keys = [...this.order];
    if (this.sort) {
      const { index, sign } = this.sort;
      const value = (key) => plain(this.rows.get(key).cells[index]);
      keys.sort((a, b) => {
        const x = value(a), y = value(b);
        if (x === y) return 0;
        if (x === null || x === undefined) return 1;
        if (y === null || y === undefined) return -1;
        return sign * (typeof x === "string" ? x.localeCompare(y, "en", { numeric: true }) : x - y);
      });
    }
    let before = null;
    for (const key of keys) {
      const row = this.rows.get(key).element;
      if (row.parentNode !== this.body || row.previousSibling !== before) this.body.insertBefore(row, before ? before.nextSibling : this.body.firstChild);
      before = row;
    }
    const current = this.at && this.rows.get(this.at)?.element;
    this.rest(current || this.body.firstElementChild, true);
  }

  sortBy(index, cell) {
    const sign = this.sort?.index === index ? -this.sort.sign : 1;
    this.sort = this.sort?.index === index && sign === 1 ? null : { index, sign };
    for (const other of cell.parentNode.children) other.removeAttribute("aria-sort");
    if (this.sort) cell.setAttribute("aria-sort", sign === 1 ? "ascending" : "descending");
    this.arrange();
  }

  // One row is in the order of Tab; the arrows go from row to row.
  rest(row, quiet = false) {
    if (!row) return;
    for (const other of this.body.querySelectorAll("tr[tabindex='0']")) if (other !== row) other.tabIndex = -1;
    row.tabIndex = 0;
    if (!quiet) this.at = row.dataset.key;
  }

  key(event) {
    if (isTyping(event.target) || event.ctrlKey || event.metaKey || event.altKey) return;
    const row = event.target.closest("tbody tr");
    if (!row) return;
    const go = { ArrowDown: row.nextElementSibling, j: row.nextElementSibling, ArrowUp: row.previousElementSibling, k: row.previousElementSibling,
      Home: this.body.firstElementChild, End: this.body.lastElementChild }[event.key];
    if (go) { event.preventDefault(); go.focus(); go.scrollIntoView({ block: "nearest" }); }
    if (event.key === "Enter" && event.target === row) row.querySelector("a")?.click();
  }

  tick() {
    for (const cell of this.body.querySelectorAll("[data-since]")) cell.textContent = duration(clock.now() - Number(cell.dataset.since));
    for (const cell of this.body.querySelectorAll("[data-until]")) {
      const until = Number(cell.dataset.until);
      cell.textContent = until <= clock.now() ? "now" : duration(until - clock.now());
    }
  }
}

export default {
  template: '<div class="sr-grid" ref="root"></div>',
  props: { columns: Array, rows: Array, empty: String, label: String },
  mounted() { this.grid = new Grid(this.$refs.root, this, (name, value) => this.$emit(name, value)); },
  unmounted() { this.grid.stop(); },
  methods: {
    replace(rows) { this.grid.replace(rows); },
    update(rows) { this.grid.update(rows); },
  },
};
