// Values over mission time: panels that share one axis, night behind them, limits across them, the future dotted.
import { clock, escape, quantity, utc } from "skyrack-console/base.js";

const LEFT = 54, RIGHT = 12, TOP = 24, BOTTOM = 6, AXIS = 22;

const nice = (span, parts) => {
  const raw = span / parts, power = 10 ** Math.floor(Math.log10(raw || 1));
  return [1, 2, 2.5, 5, 10].map((f) => f * power).find((step) => step >= raw) ?? power;
};
const steps = [60, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400];

class Plot {
  constructor(root, data) {
    this.root = root; this.data = data;
    root.tabIndex = 0;
    this.observer = new ResizeObserver(() => this.draw());
    this.observer.observe(root);
    root.addEventListener("pointermove", (event) => this.look(event.offsetX));
    root.addEventListener("pointerleave", () => this.look(null));
    root.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -10, ArrowRight: 10 }[event.key];
      if (step) { event.preventDefault(); this.look(Math.max(LEFT, Math.min(this.width - RIGHT, (this.cursor ?? this.x(clock.now())) + step))); }
      if (event.key === "Escape") this.look(null);
    });
  }

  push(data) { this.data = data; this.draw(); }
  x(time) { return LEFT + ((time - this.data.start) / (this.data.end - this.data.start)) * (this.width - LEFT - RIGHT); }

  draw() {
    this.width = this.root.clientWidth;
    if (this.width < 50) return;
    const { panels, nights, start, end } = this.data, each = 118;
    const full = panels.length * each + AXIS;
    let out = "";
    const step = steps.find((s) => ((end - start) / s) * 70 <= this.width - LEFT) ?? 86400;
    panels.forEach((panel, index) => {
      const top = index * each + TOP, bottom = (index + 1) * each - BOTTOM;
      const values = panel.series.flatMap((s) => s.points.map((p) => p[1])).filter((v) => v !== null);
      let low = panel.low ?? Math.min(...values, Infinity), high = panel.high ?? Math.max(...values, -Infinity);
      if (!Number.isFinite(low) || !Number.isFinite(high)) { low = 0; high = 1; }
      if (high - low < 1e-9) high = low + 1;
      const unit = nice(high - low, 3);
      if (panel.low === undefined) low = Math.floor(low / unit) * unit;
      if (panel.high === undefined) high = Math.ceil(high / unit) * unit;
      const y = (value) => bottom - ((value - low) / (high - low)) * (bottom - top);
      panel.y = y;
      for (const [a, b] of nights) {
        const x = Math.max(LEFT, this.x(a)), w = Math.min(this.width - RIGHT, this.x(b)) - x;
        if (w > 0) out += `<rect class="eclipse" x="${x}" y="${top}" width="${w}" height="${bottom - top}"/>`;
      }
      for (let v = Math.ceil(low / unit) * unit; v <= high + unit / 1e6; v += unit) {
        out += `<path class="rule" d="M${LEFT} ${y(v).toFixed(1)}H${this.width - RIGHT}"/><text class="tick" x="${LEFT - 6}" y="${(y(v) + 3.5).toFixed(1)}" text-anchor="end">${escape(quantity(v, panel.unit))}</text>`;
      }
      for (const limit of panel.limits ?? []) {
        if (limit.value > low && limit.value < high) out += `<path class="limit ${limit.level}" d="M${LEFT} ${y(limit.value).toFixed(1)}H${this.width - RIGHT}"/>`;
      }
      let legend = LEFT;
      out += `<text class="title" x="${legend}" y="${top - 9}">${escape(panel.title)}</text>`;
      legend += panel.title.length * 8 + 16;
      panel.series.forEach((series, number) => {
        let path = "", open = false, before = null;
        for (const [time, value] of series.points) {
          if (value === null) { open = false; continue; }
          const px = this.x(time).toFixed(1), py = y(value).toFixed(1);
          if (open && series.steps) path += `H${px}V${py}`; else path += `${open ? "L" : "M"}${px} ${py}`;
          open = true; before = time;
        }
        if (series.steps && before !== null && series.until) path += `H${this.x(Math.min(series.until, end)).toFixed(1)}`;
        out += `<path class="series s${number} ${series.style ?? ""}" d="${path}"/>`;
        if (this.width > 520) {
          out += `<path class="series s${number} ${series.style ?? ""}" d="M${legend} ${top - 13}h16"/><text class="legend" x="${legend + 20}" y="${top - 9}">${escape(series.title)}</text>`;
          legend += series.title.length * 6.4 + 40;
        }
      });
    });
    for (let t = Math.ceil(start / step) * step; t < end; t += step) {
      const x = this.x(t);
      if (x > LEFT + 14 && x < this.width - 20) out += `<text class="tick" x="${x.toFixed(1)}" y="${full - 6}" text-anchor="middle">${utc(t).slice(0, 5)}</text><path class="rule" d="M${x.toFixed(1)} ${TOP}V${full - AXIS}"/>`;
    }
    const now = this.x(clock.now());
    if (now < this.width - RIGHT) out += `<path class="now" d="M${now.toFixed(1)} ${TOP - 4}V${full - AXIS}"/>`;
    this.root.innerHTML = `<svg width="${this.width}" height="${full}" role="img" aria-label="${escape(this.data.label)}">${out}<g class="cursor"></g></svg><div class="readout" hidden></div>`;
    if (this.cursor !== undefined && this.cursor !== null) this.look(this.cursor);
  }

  look(x) {
    this.cursor = x;
    const mark = this.root.querySelector(".cursor"), readout = this.root.querySelector(".readout");
    if (!mark) return;
    readout.hidden = x === null || x < LEFT || x > this.width - RIGHT;
    mark.innerHTML = readout.hidden ? "" : `<path d="M${x} ${TOP}V${this.data.panels.length * 118}"/>`;
    if (readout.hidden) return;
    const time = this.data.start + ((x - LEFT) / (this.width - LEFT - RIGHT)) * (this.data.end - this.data.start);
    const near = (series) => {
      let found = null;
      for (const point of series.points) { if (point[0] > time && (series.steps || Math.abs(point[0] - time) > Math.abs((found?.[0] ?? -1e18) - time))) break; found = point; }
      return found && (series.steps || Math.abs(found[0] - time) < (this.data.end - this.data.start) / 20) ? found[1] : null;
    };
    readout.innerHTML = `<b>${utc(time)}</b>` + this.data.panels.map((panel) => panel.series.map((series, number) => {
      const value = near(series);
      return value === null ? "" : `<span class="s${number}">${escape(series.title)} <b>${escape(quantity(value, panel.unit))}</b></span>`;
    }).join("")).join("");
    readout.style.left = x > this.width / 2 ? `${LEFT + 4}px` : "auto";
    readout.style.right = x > this.width / 2 ? "auto" : `${RIGHT + 4}px`;
  }
}

export default {
  template: '<div class="sr-plot" ref="root"></div>',
  props: { data: Object },
  mounted() { this.plot = new Plot(this.$refs.root, this.data); this.plot.draw(); },
  unmounted() { this.plot.observer.disconnect(); },
  methods: { push(data) { this.plot.push(data); } },
};
