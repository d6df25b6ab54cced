// The bar over every page: where one can go, mission time and rate, the link, alarms, who is here; and the keys.
import { animate, clock, escape, isTyping, utc, utcDate } from "skyrack-console/base.js";

const PLACES = [["o", "", "Overview"], ["s", "satellites", "Satellites"], ["j", "jobs", "Jobs"], ["c", "commands", "Commands"], ["e", "events", "Events"]];
const KEYS = [["g then o, s, j, c, e", "go to overview, satellites, jobs, commands, events"], ["n", "submit a job"], ["/", "search in the table"],
  ["↑ ↓ or j k", "from row to row of a table"], ["Enter", "open the row"], ["Esc", "close what is open"], ["t", "light, dark"], ["?", "these keys"]];

class Topbar {
  constructor(root, { prefix, instance, person, path }, emit) {
    Object.assign(this, { root, prefix, emit, leader: -1e9 });
    const icon = '<svg viewBox="0 0 24 24" aria-hidden="true"><path d="M12 3l9 5-9 5-9-5z"/><path d="M3 12.5l9 5 9-5M3 17l9 5 9-5" /></svg>';
    root.innerHTML = `<a class="skip" href="#main">Skip to the page</a>
      <a class="brand" href="${prefix}/" aria-label="Skyrack, overview">${icon}<b>Skyrack</b><span>${escape(instance)}</span></a>
      <nav aria-label="Pages">${PLACES.map(([key, place, name]) => `<a href="${prefix}/${place}" data-place="${place}" title="g ${key}">${name}<em></em></a>`).join("")}</nav>
      <span class="grow"></span>
      <a class="alarms" href="${prefix}/events" hidden></a>
      <span class="link"></span>
      <span class="time" aria-label="Mission time"><b></b><span></span></span><span class="rate"></span>
      <span class="person" title="${escape(person.role)}">${escape(person.name)}</span>
      <button class="icon theme" aria-label="Light or dark (t)" title="Light or dark (t)">◐</button>
      <button class="icon help" aria-label="Keys (?)" title="Keys (?)">?</button>
      <dialog aria-label="Keys"><h2>Keys</h2><dl>${KEYS.map(([key, text]) => `<dt>${key.split(" ").map((word) => ["then", "or"].includes(word) ? ` ${word} ` : `<kbd>${escape(word.replace(",", ""))}</kbd>`).join("")}</dt><dd>${text}</dd>`).join("")}</dl>
      <p>You are ${escape(person.name)}, ${escape(person.role)}. ${escape(person.may)}</p><form method="dialog"><button class="primary">Close</button></form></dialog>`;
    this.find = (selector) => root.querySelector(selector);
    this.find(".theme").addEventListener("click", () => this.theme());
    this.find(".help").addEventListener("click", () => this.help());
    this.key = (event) => this.onKey(event);
    document.addEventListener("keydown", this.key);
    this.here(path);
    this.stop = animate(5, () => this.tick());
    window.Quasar?.Dark?.set(document.documentElement.dataset.theme === "dark");
  }

  close() { this.stop(); document.removeEventListener("keydown", this.key); }

  here(path) {
    const first = path.split(/[/?#]/)[1] ?? "", place = first === "sequences" ? "commands" : first;
    for (const link of this.root.querySelectorAll("nav a")) {
      if (link.dataset.place === place) link.setAttribute("aria-current", "page"); else link.removeAttribute("aria-current");
    }
  }

  sync(status) {
    clock.set(status.mission, status.rate);
    this.find(".rate").textContent = `${status.rate.toFixed(status.rate % 1 ? 1 : 0)}×`;
    this.find(".rate").title = "Mission seconds in a second";
    const link = this.find(".link");
    link.className = `link ${status.connected ? "nominal" : "critical"}`;
    link.innerHTML = `<i></i><span>${status.connected ? `${status.reachable} of ${status.satellites} in contact` : "broker away"}</span>`;
    link.title = status.connected ? "The ground is connected to its broker" : "The ground has no connection to its broker; it tries again by itself";
    const alarms = this.find(".alarms");
    alarms.hidden = !status.alarms;
    alarms.className = `alarms ${status.alarm_level}`;
    alarms.textContent = `${status.alarms} alarm${status.alarms === 1 ? "" : "s"}`;
    document.title = `${status.alarms ? `(${status.alarms}) ` : ""}Skyrack`;
    const open = this.find('nav a[data-place="jobs"] em');
    open.textContent = status.jobs_open || "";
    this.tick();
  }

  tick() {
    const now = clock.now();
    if (!clock.mission) return;
    this.find(".time b").textContent = utc(now);
    this.find(".time span").textContent = `${utcDate(now)} UTC`;
  }

  theme() {
    const theme = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
    document.documentElement.dataset.theme = theme;
    localStorage.setItem("skyrack-theme", theme);
    window.Quasar?.Dark?.set(theme === "dark");
  }

  help() { const dialog = this.find("dialog"); if (dialog.open) dialog.close(); else dialog.showModal(); }

  onKey(event) {
    if (isTyping(event.target) || event.ctrlKey || event.metaKey || event.altKey || document.querySelector(".q-dialog")) return;
    if (performance.now() - this.leader < 1500) {
      const place = PLACES.find(([key]) => key === event.key);
      this.leader = -1e9;
      if (place) { event.preventDefault(); this.find(`nav a[data-place="${place[1]}"]`).click(); return; }
    }
    if (event.key === "g") this.leader = performance.now();
    else if (event.key === "?") this.help();
    else if (event.key === "t") this.theme();
    else if (event.key === "n") { event.preventDefault(); this.emit("submit"); }
    else if (event.key === "/") {
      const search = document.querySelector("input.sr-search, .sr-search input");
      if (search) { event.preventDefault(); search.focus(); search.select(); }
    }
  }
}

export default {
  template: '<header class="sr-top" ref="root"></header>',
  props: { prefix: String, instance: String, person: Object, path: String, status: Object },
  mounted() { this.bar = new Topbar(this.$refs.root, this, (name) => this.$emit(name)); this.bar.sync(this.status); },
  unmounted() { this.bar.close(); },
  methods: { sync(status) { this.bar.sync(status); }, here(path) { this.bar.here(path); } },
};
