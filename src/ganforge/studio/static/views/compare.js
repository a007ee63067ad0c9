// Runs next to one another: samples at the same step, curves over one another, settings and scores.
import { get } from "../lib/api.js";
import { chart } from "../lib/charts.js";
import { clear, command, h } from "../lib/dom.js";
import { gridAddress } from "../lib/runs.js";

export const title = "Compare";

export async function show(place, { query }) {
  const names = (query.runs ?? "").split(",").filter(Boolean);
  if (names.length < 2) {
    place.append(h("h1", {}, "Compare runs"), h("p", {}, "Choose two to six runs in the list, then press Compare."), h("a", { class: "button", href: "#/runs" }, "To the runs"));
    return;
  }
  const found = await get(`/compare?${names.map((name) => `runs=${encodeURIComponent(name)}`).join("&")}`);
  // Step 0 alone would show untrained networks: then each shows its newest.
  const common = found.runs.map((run) => run.grids).reduce((left, right) => left.filter((step) => right.includes(step)));
  const shared = common.some((step) => step > 0) ? common : [];
  const slider = h("input", { type: "range", min: 0, max: Math.max(shared.length - 1, 0), value: String(Math.max(shared.length - 1, 0)), "aria-label": "Step of the samples" });
  const said = h("span", { class: "quiet" });
  const figures = found.runs.map((run) => ({ run, image: h("img", { class: "pixels grid", alt: "" }), caption: h("figcaption") }));
  const draw = () => {
    const step = shared[Number(slider.value)];
    said.textContent = step === undefined ? "No step after the first has samples of all runs: each shows its newest." : `step ${step.toLocaleString("en")}`;
    for (const { run, image, caption } of figures) {
      const own = step ?? run.grids.at(-1);
      caption.textContent = own === undefined ? `${run.name}: no samples yet` : `${run.name}, step ${own.toLocaleString("en")}`;
      image.hidden = own === undefined;
      if (own !== undefined) { image.src = gridAddress(run.name, own); image.alt = `Samples of ${caption.textContent}`; }
    }
  };
  slider.addEventListener("input", draw);
  const charts = found.charts.map((each) => chart(each)), table = h("section");
  place.append(h("h1", {}, `Compare ${names.length} runs`),
    h("h2", {}, "Samples"), h("div", { class: "row" }, shared.length > 1 ? slider : null, said),
    h("div", { class: "compared" }, ...figures.map(({ run, image, caption }) => h("figure", {}, h("a", { href: `#/run/${encodeURIComponent(run.name)}` }, run.name), h("div", { class: "frame" }, image), caption))),
    h("h2", {}, "Scores"), table,
    h("h2", {}, "Settings that differ"), found.differences.length ? grid(["", ...names], found.differences.map((row) => [row.name, ...row.values])) : h("p", {}, "None."),
    h("h2", {}, "Curves"), h("div", { class: "charts" }, ...charts),
    h("h2", {}, "The same in a terminal"), command(`ganforge compare ${names.map((name) => `${found.folder}/${name}`).join(" ")}`));
  const { rows, shared: protocol, missing } = found.scores;
  clear(table, rows.length ? grid(["score", ...names, "protocol"], rows.map((row) => [row.name, ...row.cells, row.differs])) : null,
    protocol ? h("p", { class: "quiet" }, `All scores: ${protocol}`) : null,
    missing.length ? h("div", {}, h("p", {}, rows.length ? "Not evaluated yet:" : "Fewer than two of them are evaluated; these commands score them:"), ...missing.map((line) => command(line))) : null);
  draw();
  charts.forEach((figure, index) => figure.redraw(found.charts[index]));
  return () => charts.forEach((figure) => figure.end());
}

const grid = (head, rows) => h("div", { class: "scroll card", tabIndex: 0, role: "region", "aria-label": "Table" }, h("table", {}, h("thead", {}, h("tr", {}, ...head.map((cell) => h("th", { scope: "col" }, cell)))), h("tbody", {}, ...rows.map(([first, ...cells]) => h("tr", {}, h("th", { scope: "row" }, first), ...cells.map((cell) => h("td", {}, cell)))))));
