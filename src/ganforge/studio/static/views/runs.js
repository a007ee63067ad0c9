// The list of runs, with their live state; two or more can be chosen to be compared.
import { clear, h } from "../lib/dom.js";
import { actions, badge, gridAddress, poll, progress } from "../lib/runs.js";
import { date } from "../lib/text.js";

export const title = "Runs";
const TICK = "Compare: tick two";

export async function show(place) {
  const list = h("ul", { class: "runs" }), compare = h("button", { type: "button", disabled: true }, TICK);
  const filter = h("input", { type: "search", placeholder: "Filter by name, system or data", "aria-label": "Filter runs" });
  const count = h("p", { class: "quiet", "aria-live": "polite" }, "Reading the runs.");
  const chosen = new Set(), cards = new Map();
  let all = { runs: [], jobs: {} };
  compare.addEventListener("click", () => { location.hash = `#/compare?runs=${[...chosen].map(encodeURIComponent).join(",")}`; });
  filter.addEventListener("input", () => draw());
  place.append(
    h("div", { class: "row" }, h("h1", { class: "grow" }, "Runs"), h("a", { class: "button primary", href: "#/new" }, "New training"), compare),
    h("div", { class: "row" }, filter), count, list);

  function card(run) {
    const box = h("input", { type: "checkbox", "aria-label": `Compare ${run.name}` });
    box.checked = chosen.has(run.name);
    box.addEventListener("change", () => {
      if (box.checked) chosen.add(run.name); else chosen.delete(run.name);
      compare.disabled = chosen.size < 2 || chosen.size > 6;
      compare.textContent = chosen.size > 6 ? "Compare: at most six" : chosen.size > 1 ? `Compare ${chosen.size}` : chosen.size ? "Compare: tick one more" : TICK;
    });
    const grid = run.grid === null || run.grid === undefined
      ? h("div", { class: "thumb none", "aria-hidden": "true" })
      : h("img", { class: run.values === "points" ? "thumb points" : "thumb", src: gridAddress(run.name, run.grid), alt: "", loading: "lazy" });
    return h("li", { class: "card run-row" }, grid,
      h("div", { class: "grow" },
        h("div", { class: "row" }, box, h("a", { href: `#/run/${encodeURIComponent(run.name)}`, class: "name" }, run.name), badge(run.state, Boolean(run.why) && run.state !== "unreadable")),
        h("div", { class: "quiet" }, [run.system && `${run.system} on ${run.data}`, run.score, date(run.changed)].filter(Boolean).join(" · ")),
        run.steps && !["packaged", "imported"].includes(run.state) ? progress(run) : null,
        run.why ? h("p", { class: run.state === "unreadable" ? "problem" : "warning" }, run.why) : null,
        actions(run, () => polled.again())));
  }
  function draw() {
    const text = filter.value.toLowerCase();
    const shown = all.runs.filter((run) => `${run.name} ${run.system} ${run.data}`.toLowerCase().includes(text));
    const starting = Object.entries(all.jobs).filter(([name, job]) => (job.working || job.error) && !all.runs.some((run) => run.name === name));
    count.textContent = all.runs.length || starting.length ? `${shown.length} of ${all.runs.length} runs in ${all.folder}` : "";
    const focused = document.activeElement?.closest?.("li.run-row")?.dataset.name;
    const items = [
      ...starting.map(([name, job]) => h("li", { class: "card run-row" }, h("div", { class: "thumb none" }), h("div", { class: "grow" },
        h("b", {}, name), " ", badge(job.working ? "starting" : "failed"), h("p", { class: job.error ? "problem" : "quiet" }, job.error || "Opens the data and builds the networks.")))),
      ...shown.map((run) => {
        const key = JSON.stringify([run, chosen.has(run.name)]), kept = cards.get(run.name);
        if (kept && kept.key === key) return kept.item;
        if (kept && run.name === focused && kept.state === run.state) { refresh(kept.item, run); return kept.item; }
        const item = card(run);
        item.dataset.name = run.name;
        cards.set(run.name, { key, item, state: run.state });
        return item;
      }),
    ];
    if (items.length !== list.children.length || items.some((item, index) => list.children[index] !== item)) clear(list, items);
    if (!items.length) clear(list, h("li", { class: "card" }, h("h2", {}, text ? "No run has that in its name" : "No runs yet"),
      h("p", {}, text ? "Change the filter." : "A run is a folder with everything about one training: its settings, log, samples and weights."),
      text ? null : h("div", { class: "row" }, h("a", { class: "button", href: "#/new?system=dcgan&data=mnist" }, "Train digits (MNIST)"), h("a", { class: "button", href: "#/new" }, "Train on my images"), h("a", { class: "button", href: "#/play" }, "Watch a small one"))));
  }
  function refresh(item, run) {  // without taking the focus away
    item.querySelector("progress")?.replaceWith(progress(run)[0]);
    const text = item.querySelector("small");
    if (text) text.textContent = progress(run)[1].textContent;
  }
  const polled = poll(2, (found) => { all = found; draw(); });
  await polled.first;
  return polled.end;
}
