"use strict";
// Draws every <div class="plot"> with uPlot; its data is the JSON in the <script> element inside it.
const style = (name) => getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();
const short = (value) => {
  if (value === null || value === undefined) return "";
  const size = Math.abs(value);
  for (const [unit, letter] of [[1e9, "G"], [1e6, "M"], [1e4, "k"]]) {
    if (size >= unit) return +(value / (letter === "k" ? 1e3 : unit)).toPrecision(5) + letter;
  }
  return String(+value.toPrecision(4));
};

function lines(plot, data) {
  const { ctx, bbox } = plot;
  ctx.save();
  ctx.lineWidth = devicePixelRatio;
  ctx.strokeStyle = style("axis");
  if (data.rule !== null) {
    const y = plot.valToPos(data.rule, "y", true);
    ctx.setLineDash([5, 4]);
    ctx.beginPath(); ctx.moveTo(bbox.left, y); ctx.lineTo(bbox.left + bbox.width, y); ctx.stroke();
  }
  ctx.setLineDash([1, 3]);
  for (const mark of data.marks) {
    const x = plot.valToPos(mark, "x", true);
    if (x <= bbox.left || x >= bbox.left + bbox.width) continue;
    ctx.beginPath(); ctx.moveTo(x, bbox.top); ctx.lineTo(x, bbox.top + bbox.height); ctx.stroke();
  }
  ctx.restore();
}

function chart(place) {
  const figure = place.closest("figure");
  const data = JSON.parse(place.querySelector("script").textContent);
  const entries = [...figure.querySelectorAll(".legend [data-colour]")];
  const newest = entries.map((entry) => entry.querySelector("b").textContent);
  const button = figure.querySelector("button");
  const positive = data.lines.every((line) => line.values.every((value) => value === null || value > 0));
  let plot = null, logarithmic = false;

  const options = () => ({
    width: Math.max(place.clientWidth, 120),
    height: Math.round(Math.min(320, Math.max(170, place.clientWidth / 2))),
    legend: { show: false },
    cursor: { y: false, drag: { x: true, y: false } },
    scales: {
      x: { time: false },
      y: logarithmic ? { distr: 3 } : { range: (self, low, high) => {
        const { min, max } = self.scales.x;
        const zoomed = max !== null && (min > data.steps[0] || max < data.steps[data.steps.length - 1]);
        return zoomed && low !== null ? uPlot.rangeNum(low, high, 0.05, true) : data.range;
      } },
    },
    axes: [0, 1].map((side) => ({
      stroke: style("quiet"), font: "12px system-ui, sans-serif", grid: { stroke: style("line"), width: 1 },
      ticks: { show: false }, size: side ? 52 : 28, values: (self, ticks) => ticks.map(short),
    })),
    series: [{}, ...data.lines.map((line) => {
      const colour = style(entries[line.curve].dataset.colour);
      const points = line.values.filter((value) => value !== null).length < 3;
      return { stroke: line.faint ? colour + "60" : colour, width: line.faint ? 1 : 2, spanGaps: true,
               points: { show: points, size: 5, fill: colour } };
    })],
    hooks: {
      draw: [(self) => lines(self, data)],
      setCursor: [(self) => {
        const index = self.cursor.idx;
        figure.querySelector(".step").textContent = index === null ? "" : "step " + data.steps[index].toLocaleString("en");
        data.lines.forEach((line) => {
          if (line.faint) return;
          const shown = entries[line.curve].querySelector("b");
          shown.textContent = index === null ? newest[line.curve] : short(line.values[index]);
        });
      }],
    },
  });

  const draw = () => {
    if (plot) plot.destroy();
    plot = new uPlot(options(), [data.steps, ...data.lines.map((line) => line.values)], place);
  };
  if (positive) {
    button.hidden = false;
    button.addEventListener("click", () => {
      logarithmic = !logarithmic;
      button.textContent = logarithmic ? "linear" : "log";
      draw();
    });
  }
  draw();
  return draw;
}

const charts = [...document.querySelectorAll(".plot")].map(chart);
const again = () => charts.forEach((draw) => draw());
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);
let waiting = 0;
addEventListener("resize", () => { clearTimeout(waiting); waiting = setTimeout(again, 150); });
