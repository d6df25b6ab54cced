// A job's life: one bar an attempt, coloured by state, and the steps in words below.
import { animate, clock, duration, escape, quantity, utc } from "skyrack-console/base.js";

const FINAL = ["COMPLETED", "FAILED", "EXPIRED", "CANCELLED", "REJECTED"];

class Life {
  constructor(root, job) {
    this.root = root;
    this.push(job);
    this.stop = animate(2, () => { if (!this.job.is_final) this.bars(); });
  }

  push(job) {
    this.job = job;
    this.root.innerHTML = `<div class="bars"></div><ol class="steps">${job.steps.map((step) => `
      <li class="${step.level}${step.is_applied ? "" : " ignored"}">
        <time title="${new Date(step.time * 1000).toISOString()}">${utc(step.time)}</time>
        <span class="state ${step.level}">${escape(step.state)}</span>
        <span class="where">${escape([step.satellite, step.node].filter(Boolean).join(" · "))}</span>
        <span class="why">${escape(step.reason)}${step.is_applied ? "" : " (came too late, changed nothing)"}</span>
      </li>`).join("")}</ol>`;
    this.bars();
  }

  bars() {
    const job = this.job, steps = job.steps.filter((step) => step.is_applied);
    if (!steps.length) return;
    const start = steps[0].time, last = steps[steps.length - 1];
    const end = Math.max(job.is_final ? last.time : clock.now(), start + 1);
    const rows = new Map();
    steps.forEach((step, index) => {
      const until = steps[index + 1]?.time ?? end;
      const name = step.attempt ? `attempt ${step.attempt}` : "on the ground";
      if (!rows.has(name)) rows.set(name, { place: "", pieces: [] });
      const row = rows.get(name);
      row.place = step.satellite || row.place;
      if (!FINAL.includes(step.state) || until > step.time) row.pieces.push({ ...step, until });
      if (FINAL.includes(step.state)) row.end = step;
    });
    const wide = (seconds) => `${((100 * seconds) / (end - start)).toFixed(2)}%`;
    this.root.querySelector(".bars").innerHTML = [...rows].map(([name, row]) => `
      <div class="attempt"><span class="name">${escape(name)}${row.place ? ` · ${escape(row.place)}` : ""}</span>
      <span class="lane">${row.pieces.filter((piece) => !FINAL.includes(piece.state)).map((piece) => `<i class="${piece.level}" style="left:${wide(piece.time - start)};width:${wide(piece.until - piece.time)}"
        title="${escape(piece.state)} for ${duration(piece.until - piece.time)}"></i>`).join("")}</span>
      <span class="end">${row.end ? `<span class="state ${row.end.level}">${escape(row.end.state)}</span>` : ""}</span></div>`).join("") +
      `<div class="attempt scale"><span class="name"></span><span class="lane"><time>${utc(start)}</time><time>${utc(end)}</time></span><span class="end">${duration(end - start)}</span></div>`;
  }
}

export default {
  template: '<div class="sr-life" ref="root"></div>',
  props: { job: Object },
  mounted() { this.life = new Life(this.$refs.root, this.job); },
  unmounted() { this.life.stop(); },
  methods: { push(job) { this.life.push(job); } },
};
