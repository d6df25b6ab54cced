// The constellation over the Earth: one SVG, moved on between messages. Satellites are reached by mouse and by Tab.
import { animate, clock, escape } from "skyrack-console/base.js";
import { land } from "skyrack-console/land.js";
import { arrange } from "skyrack-console/labels.js";
import * as sky from "skyrack-console/sky.js";

const SVG = "http://www.w3.org/2000/svg";
const make = (name, attributes, parent) => {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  parent?.append(made);
  return made;
};

class WorldMap {
  constructor(root, scene) {
    this.root = root; this.marks = new Map(); this.scene = { satellites: [] }; this.picked = "";
    const grid = Array.from({ length: 11 }, (_, i) => `M${(i + 1) * 300} 0V1800`).join("") +
      Array.from({ length: 5 }, (_, i) => `M0 ${(i + 1) * 300}H3600`).join("");
    const svg = make("svg", { viewBox: "0 0 3600 1800", role: "group", "aria-label": "Map of the constellation" }, root);
    make("path", { d: land, class: "land" }, svg);
    make("path", { d: grid, class: "graticule" }, svg);
    this.night = make("path", { class: "night" }, svg);
    this.sun = make("g", { class: "sun" }, svg);
    make("circle", { r: 5 }, this.sun);
    this.relays = make("path", { class: "relays" }, svg);
    this.tracks = make("path", { class: "track" }, svg);
    this.past = make("path", { class: "track past" }, svg);
    this.links = { optical: make("path", { class: "link optical" }, svg), antenna: make("path", { class: "link antenna" }, svg) };
    this.stations = make("g", {}, svg);
    this.satellites = make("g", {}, svg);
    this.svg = svg;
    this.observer = new ResizeObserver(() => this.resize());
    this.observer.observe(root);
    this.push(scene);
    this.stop = animate(12, () => this.move());
  }

  close() { this.stop(); this.observer.disconnect(); }

  resize() {
    this.scale = 3600 / (this.root.clientWidth || 900);
    for (const station of this.stations.children) this.put(station, station.point);
    this.move();
  }

  put(mark, [x, y]) { mark.setAttribute("transform", `translate(${x.toFixed(1)} ${y.toFixed(1)}) scale(${this.scale.toFixed(3)})`); }

  push(scene) {
    const before = this.scene.stations;
    this.scene = { ...this.scene, ...scene };
    this.scale ??= 3600 / (this.root.clientWidth || 900);
    if (this.scene.stations && this.scene.stations !== before) this.place();
    const seen = new Set();
    for (const satellite of this.scene.satellites) { seen.add(satellite.name); this.mark(satellite); }
    for (const [name, mark] of this.marks) if (!seen.has(name)) { mark.remove(); this.marks.delete(name); }
    this.move(true);
  }

  place() {
    this.stations.replaceChildren();
    for (const station of this.scene.stations) {
      const mark = make("g", { class: "station" }, this.stations);
      mark.point = sky.xy([station.latitude, station.longitude]); mark.name = station.name;
      mark.innerHTML = `<path d="M0-5L5 4H-5Z"/><text x="8" y="4">${escape(station.name)}</text>`;
      this.put(mark, mark.point);
    }
  }

  mark(satellite) {
    let mark = this.marks.get(satellite.name);
    if (!mark) {
      mark = make("a", { href: satellite.href, tabindex: "0" }, this.satellites);
      mark.innerHTML = `<circle class="halo" r="11"/><circle class="dot" r="5"/><text x="9" y="-7">${escape(satellite.name)}</text><title></title>`;
      const pick = (name) => { this.picked = name; this.move(true); };
      mark.addEventListener("pointerenter", () => pick(satellite.name));
      mark.addEventListener("pointerleave", () => pick(""));
      mark.addEventListener("focus", () => pick(satellite.name));
      mark.addEventListener("blur", () => pick(""));
      this.marks.set(satellite.name, mark);
    }
    mark.setAttribute("class", `satellite ${satellite.level}${satellite.lit === false ? " dark" : ""}${this.marks.size > 12 ? " many" : ""}`);
    mark.setAttribute("aria-label", `${satellite.name}: ${satellite.summary}`);
    mark.querySelector("title").textContent = `${satellite.name}\n${satellite.summary}`;
  }

  move(full = false) {
    const { sky: heaven, satellites, relays } = this.scene;
    if (!heaven) return;
    const now = clock.now(), points = new Map();
    const sun = sky.sun(heaven, now);
    if (full || Math.abs(now - (this.shaded ?? -1e9)) > 20) {
      this.shaded = now;
      this.night.setAttribute("d", sky.night(...sun));
      this.put(this.sun, sky.xy(sun));
      this.drawTracks(now);
    }
    for (const satellite of satellites) {
      const mark = this.marks.get(satellite.name);
      if (!satellite.body) { mark?.setAttribute("visibility", "hidden"); continue; }
      mark?.removeAttribute("visibility");
      const point = sky.xy(sky.ground(sky.at(satellite.body, satellite.time, now), heaven, now));
      points.set(satellite.name, point);
      if (mark) this.put(mark, point);
    }
    let dots = "";
    for (const relay of relays ?? []) {
      const point = sky.xy(sky.ground(sky.at(relay.body, relay.time, now), heaven, now));
      points.set(relay.name, point);
      dots += `M${point[0].toFixed(0)} ${point[1].toFixed(0)}h.01`;
    }
    this.relays.setAttribute("d", dots);
    this.name(points);
    for (const station of this.scene.stations ?? []) points.set(station.name, sky.xy([station.latitude, station.longitude]));
    for (const kind of ["optical", "antenna"]) {
      const lines = (this.scene.links ?? []).filter((link) => link.kind === kind && points.has(link.a) && points.has(link.b))
        .map((link) => sky.line([points.get(link.a), points.get(link.b)]));
      this.links[kind].setAttribute("d", lines.join(""));
    }
  }

  name(points) {
    const pixels = ([x, y]) => [x / this.scale, y / this.scale], wanted = [];
    if (this.marks.size <= 12) {
      for (const [name, mark] of this.marks) if (points.has(name)) wanted.push({ text: mark.querySelector("text"), name, at: pixels(points.get(name)) });
    }
    for (const mark of this.stations.children) wanted.push({ text: mark.querySelector("text"), name: mark.name, at: pixels(mark.point) });
    arrange(wanted, 3600 / this.scale, 1800 / this.scale);
  }

  drawTracks(now) {
    const { satellites, sky: heaven } = this.scene;
    const chosen = satellites.filter((satellite) => satellite.body &&
      (satellites.length <= 4 ? !this.picked || satellite.name === this.picked : satellite.name === this.picked));
    this.tracks.setAttribute("d", chosen.map((s) => sky.track(s.body, s.time, heaven, now, now + sky.period(s.body))).join(""));
    this.past.setAttribute("d", chosen.map((s) => sky.track(s.body, s.time, heaven, now - sky.period(s.body) / 3, now)).join(""));
  }
}

export default {
  template: '<div class="sr-map" ref="root"></div>',
  props: { scene: Object },
  mounted() {
    if (this.scene.clock) clock.set(...this.scene.clock);
    this.view = new WorldMap(this.$refs.root, this.scene);
  },
  unmounted() { this.view.close(); },
  methods: {
    push(scene) { if (scene.clock) clock.set(...scene.clock); this.view.push(scene); },
  },
};
