// Charts as the reports of runs have them: data of `ganforge.reporting.charts.chart_of`, drawn by uPlot.
import { h } from "./dom.js";
import { short } from "./text.js";

const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

/** A figure with a chart; call its `redraw(chart)` with new data, `remove()` to end it. */
export function chart(first) {
  const place = h("div", { class: "plot", role: "img" });
  const step = h("span", { class: "step" });
  const legend = h("div", { class: "legend" });
  const title = h("b");
  const toggle = h("button", { type: "button", class: "quiet", hidden: true }, "log");
  const figure = h("figure", { class: "chart" }, h("div", { class: "heading" }, title, step, toggle), legend, place);
  let data = first, plot = null, look = "", logarithmic = false, observer = null;

  const few = (line) => line.values.filter((value) => value !== null).length < 3;
  const labels = () => [...legend.querySelectorAll("b")];
  function options() {
    const width = Math.max(place.clientWidth, 120);
    return {
      width, height: Math.round(Math.min(300, Math.max(150, width / 2.2))), legend: { show: false },
      cursor: { y: false, drag: { x: true, y: false } },
      scales: { x: { time: false }, y: logarithmic ? { distr: 3 } : { range: () => data.data.range } },
      axes: [0, 1].map((side) => ({
        stroke: style("quiet"), font: "12px system-ui, sans-serif", grid: { stroke: style("line"), width: 1 },
        ticks: { show: false }, size: side ? 52 : 28, values: (self, ticks) => ticks.map(short),
      })),
      series: [{}, ...data.data.lines.map((line) => {
        const colour = style(data.legend[line.curve].colour);
        return { stroke: line.faint ? colour + "60" : colour, width: line.faint ? 1 : 2, spanGaps: true,
                 dash: data.legend[line.curve].dash, points: { show: few(line), size: 5, fill: colour } };
      })],
      hooks: { setCursor: [(self) => {
        const index = self.cursor.idx;
        step.textContent = index === null || index === undefined ? "" : `step ${data.data.steps[index]?.toLocaleString("en")}`;
        data.data.lines.forEach((line) => {
          if (!line.faint) labels()[line.curve].textContent = short(index === null || index === undefined ? data.legend[line.curve].newest : line.values[index]);
        });
      }] },
    };
  }
  function draw() {
    if (!place.clientWidth) return;  // folded away: drawn when it is opened
    const shown = (value) => (logarithmic && !(value > 0) ? null : value);  // 0 has no logarithm
    const values = [data.data.steps, ...data.data.lines.map((line) => line.values.map(shown))];
    const before = look;
    look = JSON.stringify([place.clientWidth, logarithmic, style("quiet"), data.data.lines.map((line) => [line.curve, line.faint, few(line)])]);
    if (plot && look === before) { plot.setData(values); return; }
    if (plot) plot.destroy();
    plot = new uPlot(options(), values, place);
  }
  function redraw(next) {
    data = next;
    title.textContent = data.title;
    place.setAttribute("aria-label", `${data.title} over steps; newest: ${data.legend.map((entry) => `${entry.name} ${short(entry.newest)}`).join(", ")}`);
    legend.replaceChildren(...data.legend.map((entry) => h("span", { "data-colour": entry.colour }, h("i"), `${data.legend.length > 1 ? entry.name : "newest"} `, h("b", {}, short(entry.newest)))));
    toggle.hidden = !data.data.lines.every((line) => line.values.every((value) => value === null || value >= 0)) || !data.data.lines.some((line) => line.values.some((value) => value > 0));
    draw();
  }
  toggle.addEventListener("click", () => { logarithmic = !logarithmic; toggle.textContent = logarithmic ? "linear" : "log"; draw(); });
  observer = new ResizeObserver(() => { if (!plot || Math.abs(plot.width - place.clientWidth) > 2) draw(); });
  observer.observe(place);
  redraw(first);
  figure.redraw = redraw;
  figure.end = () => { observer.disconnect(); if (plot) plot.destroy(); };
  return figure;
}
