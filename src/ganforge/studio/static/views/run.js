// One run: how it stands, its samples through training, its curves, scores, settings and commands.
import { follow, get } from "../lib/api.js";
import { chart } from "../lib/charts.js";
import { clear, command, h } from "../lib/dom.js";
import { actions, badge, gridAddress, progress } from "../lib/runs.js";
import { short, words } from "../lib/text.js";

export const title = "Run";
/** The least time between two readings of a whole run while it trains: each costs its training a little. */
const SECONDS_BETWEEN_READINGS = 5;
const HEALTHY = "No warning so far. No warning does not mean good samples: these checks find training failures, not image quality.";

export async function show(place, { path: [name] }) {
  let run = await get(`/runs/${encodeURIComponent(name)}`), live = true, busy = false, waiting = 0, due = 0, readAt = Date.now();
  document.title = `${name} · ganforge studio`;
  const head = h("div", {}), facts = h("p", { class: "quiet" }), steps = h("div"), state = h("div", { class: "state", "aria-live": "polite" });
  const samples = timeline(name, run.values === "points"), diagnosis = h("div", { class: "card" }), curves = h("div", { class: "charts" }), small = h("div", { class: "charts" });
  const scores = h("section"), rest = h("section");
  const drawn = new Map();
  place.append(head, state,
    h("div", { class: "columns" }, samples.element, h("div", {}, h("h2", {}, "Diagnosis"), diagnosis, h("h2", {}, "Curves"), curves)),
    h("details", {}, h("summary", {}, "All other curves"), small), scores, rest);

  function draw() {
    clear(head, h("div", { class: "row" }, h("h1", {}, name), badge(run.state, Boolean(run.diagnosis?.length))), facts);
    facts.textContent = [run.system && `${run.system} on ${run.data}`, ...(run.facts ?? [])].filter(Boolean).join(" · ");
    clear(steps, run.state === "running" ? progress(run) : null);
    clear(state, steps, actions(run, load),
      run.job?.working && run.state !== "running" ? h("p", { class: "quiet" }, `At work: ${run.job.command}`) : null,
      run.job?.error ? h("p", { class: "problem" }, run.job.error) : null);
    clearTimeout(waiting);
    if (run.job?.working && run.state !== "running") waiting = setTimeout(load, 2000);
    samples.set(run.grids, run.state === "running");
    const lines = run.diagnosis ?? [];
    clear(diagnosis, lines.length ? h("ul", {}, ...lines.map((line) => h("li", { class: "warning" }, line))) : h("p", {}, HEALTHY),
      (run.notes ?? []).length ? h("details", {}, h("summary", {}, `${run.notes.length} notes`), h("ul", {}, ...run.notes.map((note) => h("li", {}, note)))) : null,
      lines.length ? h("p", {}, h("a", { href: `#/new?like=${encodeURIComponent(name)}` }, "Clone it and change this"), " · ", h("a", { href: "#/play" }, "See failures and cures in the playground")) : null);
    for (const [where, charts] of [[curves, run.charts?.large ?? []], [small, run.charts?.small ?? []]]) {
      for (const each of charts) {
        if (drawn.has(each.title)) drawn.get(each.title).redraw(each);
        else { const figure = chart(each); drawn.set(each.title, figure); where.append(figure); figure.redraw(each); }
      }
    }
    if (!drawn.size) clear(curves, h("p", { class: "quiet" }, "The first numbers come after some steps."));
    else curves.querySelector("p")?.remove();
    drawScores();
    drawRest();
  }
  function drawScores() {
    const found = run.evaluations?.first;
    clear(scores, h("h2", {}, "Scores"),
      found ? [h("div", { class: "card scroll" }, h("table", {}, h("thead", {}, h("tr", {}, h("th", {}, "score"), h("th", {}, "value"), h("th", {}, "protocol"), h("th", {}, "note"))),
        h("tbody", {}, ...found.rows.map((row) => h("tr", {}, h("td", {}, words(row.name)), h("td", {}, h("b", {}, row.value === null ? "not finite" : short(row.value)), row.spread === null ? "" : ` ± ${short(row.spread)}`, ` ${row.unit}`), h("td", {}, row.protocol), h("td", {}, row.note)))))),
        found.shared ? h("p", { class: "quiet" }, `All scores, where nothing else is said: ${found.shared}.`) : null]
      : [h("p", {}, run.state === "running" ? "Not evaluated yet. When the training has ended or is stopped, press Evaluate, or type:" : "Not evaluated yet. Press Evaluate above, or type:"), command(`ganforge evaluate ${run.path}`)]);
  }
  function drawRest() {
    const open = new Set([...rest.querySelectorAll("details[open] > summary")].map((summary) => summary.textContent));
    const part = (heading, body) => h("details", { open: open.has(heading) }, h("summary", {}, heading), body);
    clear(rest, h("h2", {}, "More"),
      part("Commands", h("div", {}, ...(run.commands ?? []).map(([what, text]) => h("div", {}, h("small", {}, what), command(text))))),
      part("Settings", h("div", { class: "columns" }, ...(run.settings ?? []).map(([heading, rows]) => h("div", {}, h("h3", {}, heading), pairs(rows))))),
      part("Cost", pairs(run.cost ?? [])),
      run.job ? part("Output of the command", h("pre", { tabIndex: 0 }, run.job.output || run.job.command)) : null,
      h("p", { class: "quiet" }, run.versions ? `Trained with ${run.versions}.` : ""));
  }
  async function load() {
    if (!live) return;
    if (busy) { loadSoon(); return; }
    busy = true;
    clearTimeout(due);
    due = 0;
    try { run = await get(`/runs/${encodeURIComponent(name)}`); if (live) draw(); } finally { busy = false; readAt = Date.now(); }
  }
  function loadSoon() {
    due ||= setTimeout(load, Math.max(0, readAt + SECONDS_BETWEEN_READINGS * 1000 - Date.now()));
  }
  draw();
  if (["packaged", "imported"].includes(run.state)) return () => { live = false; };
  let before = null;
  const end = follow(`/runs/${encodeURIComponent(name)}/events`, (row) => {
    const changed = before && ["state", "step", "grid", "score"].some((key) => row[key] !== before[key]);
    if (changed && row.state === "running" && before.state === "running") {
      clear(steps, progress(row));
      loadSoon();
    } else if (changed) load();
    before = row;
  });
  const redraw = () => draw();
  addEventListener("themechange", redraw);
  return () => { live = false; clearTimeout(waiting); clearTimeout(due); end(); removeEventListener("themechange", redraw); for (const figure of drawn.values()) figure.end(); };
}

const pairs = (rows) => h("div", { class: "scroll" }, h("table", {}, ...rows.map(([name, value]) => h("tr", {}, h("th", {}, name), h("td", {}, value)))));

/** The sample grids of a run with a slider through training; follows the newest until it is moved. */
function timeline(name, arePoints) {
  const image = h("img", { class: arePoints ? "grid" : "pixels grid", alt: "" }), caption = h("figcaption", {}, "Samples appear here while it trains.");
  const slider = h("input", { type: "range", min: 0, max: 0, value: "0", "aria-label": "Samples through training", hidden: true });
  const play = h("button", { type: "button", class: "quiet", hidden: true }, "Play");
  let steps = [], followed = true, timer = 0;
  const draw = () => {
    const step = steps[Number(slider.value)];
    if (step === undefined) return;
    image.src = gridAddress(name, step);
    image.alt = `Samples at step ${step.toLocaleString("en")}`;
    slider.setAttribute("aria-valuetext", image.alt);
    caption.textContent = image.alt;
  };
  slider.addEventListener("input", () => { followed = Number(slider.value) === steps.length - 1; draw(); });
  play.addEventListener("click", () => {
    clearInterval(timer);
    let index = 0;
    timer = setInterval(() => { slider.value = String(index); draw(); if (++index >= steps.length) clearInterval(timer); }, 250);
  });
  const element = h("figure", { class: "timeline" }, h("h2", {}, "Samples"), h("div", { class: "frame" }, image), h("div", { class: "row" }, slider, play), caption);
  return {
    element,
    set(found) {
      if (!found?.length || found.join() === steps.join()) return;
      steps = found;
      slider.max = String(steps.length - 1);
      if (followed) slider.value = slider.max;
      slider.hidden = play.hidden = steps.length < 2;
      draw();
    },
  };
}
