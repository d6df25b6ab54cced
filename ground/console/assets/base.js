// What every part of the console shares: mission time between two messages, and how things are written.

// Mission time runs on in the browser at the run's rate; every message from the ground sets it right.
export const clock = {
  mission: 0, rate: 1, at: performance.now(),
  set(mission, rate) { this.mission = mission; this.rate = rate; this.at = performance.now(); },
  now() { return this.mission + ((performance.now() - this.at) / 1000) * this.rate; },
};

const entities = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" };
export const escape = (text) => String(text ?? "").replace(/[&<>"']/g, (found) => entities[found]);

export const utc = (seconds) => new Date(seconds * 1000).toISOString().slice(11, 19);
export const utcDate = (seconds) => new Date(seconds * 1000).toISOString().slice(0, 10);

export function duration(seconds) {
  const s = Math.abs(seconds);
  if (s < 1) return "0 s";
  if (s < 100) return `${Math.round(s)} s`;
  if (s < 5400) return `${Math.round(s / 60)} min`;
  if (s < 172800) return `${(s / 3600).toFixed(1)} h`;
  return `${Math.round(s / 86400)} d`;
}

export function quantity(value, unit, digits) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  if (unit === "ratio") return `${(value * 100).toFixed(digits ?? 0)} %`;
  const short = { watts: "W", celsius: "°C", bytes: "B", joules: "J", seconds: "s", volts: "V", amperes: "A" };
  const sign = short[unit] ?? unit ?? "";
  const scaled = ["W", "B", "J"].includes(sign);
  for (const [factor, prefix] of [[1e9, "G"], [1e6, "M"], [1e3, "k"]]) {
    if (scaled && Math.abs(value) >= factor * 10) return `${(value / factor).toFixed(1)} ${prefix}${sign}`;
  }
  const fixed = digits ?? (Math.abs(value) >= 100 || Number.isInteger(value) ? 0 : 1);
  return `${value.toFixed(fixed)}${sign ? " " + sign : ""}`;
}

// A part of the page in which somebody types keeps its keys.
export const isTyping = (target) =>
  target instanceof Element && Boolean(target.closest("input, textarea, select, [contenteditable=true], [role=listbox]"));

// Calls back at most so often a second, and not while nobody looks.
export function animate(perSecond, step) {
  let last = 0, handle = 0;
  const turn = (at) => {
    handle = requestAnimationFrame(turn);
    if (at - last >= 1000 / perSecond - 4) { last = at; step(); }
  };
  handle = requestAnimationFrame(turn);
  return () => cancelAnimationFrame(handle);
}
