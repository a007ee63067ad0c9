// Curves over steps that grow while one looks.
import { h } from "../../lib/dom.js";
import { short } from "../../lib/text.js";

const MOST = 600, EVERY = 250;
const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

// Of a logarithmic axis: whole decades, six at most; from other ends uPlot can lose count of its ticks, for ever.
function decades(self, low, high) {
  if (!(low > 0 && high > 1e-9)) return [0.1, 1];
  const top = Math.ceil(Math.log10(high) + 1e-9), bottom = Math.max(Math.floor(Math.log10(low)), top - 6, -12);
  return [10 ** Math.min(bottom, top - 1), 10 ** top];
}

/** What was measured, by panel: thinned to half whenever it grows too long. */
export class Series {
  constructor(count) { this.steps = []; this.panels = Array.from({ length: count }, () => []); }
  load({ steps, panels }) { this.steps = steps; this.panels = panels; }
  add(step, rows) {
    if (this.steps.length && this.steps.at(-1) >= step) return;
    this.steps.push(step);
    rows.forEach((row, index) => this.panels[index]?.push(row));
    if (this.steps.length > MOST) {
      const keep = (list) => list.filter((_, index) => index % 2 === 0 || index > list.length - 20);
      this.steps = keep(this.steps);
      this.panels = this.panels.map(keep);
    }
  }
  values(panel, name) { return this.panels[panel].map((row) => row[name] ?? null); }
}

/** A chart; `lines()` gives [{name, colour, values, dash}] at any time, `range(low, high)` the vertical range. */
export function curve(titleText, hint, lines, steps, { range = null, log = false, height = 148 } = {}) {
  const place = h("div", { class: "plot", role: "img" }), legend = h("div", { class: "legend" });
  const figure = h("figure", { class: "chart" }, h("div", { class: "heading" }, h("b", { title: hint }, titleText)), legend, place);
  let plot = null, last = 0, timer = 0, shape = "";

  function build(current) {
    if (plot) plot.destroy();
    const narrow = Math.max(place.clientWidth, 120);
    plot = new uPlot({
      width: narrow, height, legend: { show: false }, cursor: { show: false },
      scales: { x: { time: false }, y: log ? { distr: 3, range: decades } : { range: (self, low, high) => (range ? range(low, high) : uPlot.rangeNum(low ?? 0, high ?? 1, 0.1, true)) } },
      axes: [0, 1].map((side) => ({ stroke: style("quiet"), font: "11px system-ui, sans-serif", grid: { stroke: style("line"), width: 1 }, ticks: { show: false }, size: side ? 44 : 24, values: (self, ticks) => ticks.map((tick) => (tick === null ? "" : short(tick))), space: side ? 26 : 50 })),
      series: [{}, ...current.map((line) => ({ stroke: style(line.colour), width: 2, dash: line.dash, spanGaps: true, points: { show: false } }))],
    }, [[], ...current.map(() => [])], place);
  }
  function draw() {
    timer = 0;
    last = performance.now();
    if (!place.isConnected) return;
    const current = lines(), form = current.map((line) => line.name + line.colour).join();
    if (form !== shape || !plot || Math.abs(plot.width - place.clientWidth) > 2) { shape = form; build(current); }
    plot.setData([steps(), ...current.map((line) => (log ? line.values.map((value) => (value > 0 ? value : null)) : line.values))]);
    const newest = current.map((line) => `${line.name} ${short(line.values.findLast((value) => value !== null) ?? null)}`);
    legend.replaceChildren(...current.map((line, index) => h("span", { "data-colour": line.colour }, h("i", { class: line.dash ? "dashed" : "" }), line.short ?? newest[index])));
    place.setAttribute("aria-label", `${titleText} over steps; newest: ${newest.join(", ")}`);
  }
  figure.update = (now = false) => {
    if (now) { clearTimeout(timer); draw(); } else if (!timer) timer = setTimeout(draw, Math.max(0, EVERY - (performance.now() - last)));
  };
  figure.theme = () => { shape = ""; figure.update(true); };
  figure.end = () => { clearTimeout(timer); if (plot) plot.destroy(); };
  return figure;
}
