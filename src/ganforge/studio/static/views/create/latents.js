// A model that decodes latents: a large image, what moves it, and samples to choose from.
import { h, notice } from "../../lib/dom.js";
import { own as ownPanel } from "./own.js";
import { paths } from "./paths.js";
import { newest, paint, renderer } from "./pixels.js";
import { randomSeed, seed, words } from "./points.js";
import { prompts } from "./prompts.js";
import { actions, downloadFile } from "./result.js";
import { samples } from "./samples.js";
import { sliders } from "./sliders.js";
import { linkOf, stateOf, store } from "./state.js";
import { sums } from "./sums.js";

const NUM_SAMPLES = 24;
const TABS = [["sliders", "Sliders"], ["path", "Interpolate"], ["sums", "Arithmetic"], ["own", "Your image"]];

export async function show(place, about, { api, hash, query }) {
  const ended = new AbortController(), { signal } = ended;
  const first = stateOf(query, {
    terms: seed(randomSeed()), label: about.classes.length ? 0 : null, codes: {}, truncation: null,
    prompts: about.text ? (about.examples.length ? about.examples.slice(0, 3) : ["a red apple"]) : [], active: 0, other: null, share: 0,
    samples: Array.from({ length: NUM_SAMPLES }, () => ({ terms: seed(randomSeed()) })), variation: 0.3,
    method: about.system === "vae" ? "z" : "sefa", tab: "sliders",
    path: { points: [], closed: true, frames: 48, rate: 24 }, sums: { a: [], b: [], c: [], amount: 1 }, own: {},
  });
  if (!query.state) first.terms = first.samples[0].terms;
  const state = store(first, () => update());
  const page = {
    about, api, signal, state,
    render: renderer(api, () => state.get().own, signal),
    problem: (error) => { if (error.name !== "AbortError") notice(error.message, { error: true }); },
    /** The point of `terms` under the conditions of the moment. */
    point(terms, prompt = null) {
      const { label, codes, truncation, prompts: texts, active, other, share } = state.get(), point = { terms };
      if (label !== null) point.label = label;
      if (Object.keys(codes).length) point.codes = codes;
      if (truncation !== null) point.truncation = truncation;
      if (about.text) {
        const blended = prompt === null && other !== null && texts[other] !== undefined && share > 0;
        point.texts = blended ? [texts[active], texts[other]] : [texts[prompt ?? active]];
        if (blended) point.share = share;
      }
      return point;
    },
    current: () => page.point(state.get().terms),
    /** Show a point, with its conditions. */
    take(point, key = null) {
      const parts = { terms: point.terms, codes: point.codes ?? {}, truncation: point.truncation ?? null, label: point.label ?? state.get().label };
      if (point.texts?.length) {
        const texts = [...state.get().prompts];
        const places = point.texts.map((text) => (texts.includes(text) ? texts.indexOf(text) : texts.push(text) - 1));
        Object.assign(parts, { prompts: texts, active: places[0], other: places[1] ?? null, share: point.share ?? 0 });
      }
      state.change(parts, key);
    },
  };

  const canvas = h("canvas", { class: "pixels big", width: about.width, height: about.height, role: "img" });
  const caption = h("p", { class: "caption quiet", "aria-live": "polite" });
  const undo = h("button", { type: "button", class: "quiet", onclick: () => state.undo(), "aria-keyshortcuts": "Control+Z" }, "Undo");
  const redo = h("button", { type: "button", class: "quiet", onclick: () => state.redo(), "aria-keyshortcuts": "Control+Shift+Z" }, "Redo");
  const drawn = newest((point) => page.render.now(point), (image, point) => {
    paint(canvas, image);
    canvas.dataset.shows = JSON.stringify(point);
  }, page.problem);
  const body = () => { const point = page.current(); return { points: [point], own: page.render.used([point]) }; };
  const stage = h("section", { class: "stage", "aria-label": "The image" },
    h("div", { class: "frame" }, canvas), caption,
    h("div", { class: "row" }, undo, redo,
      h("button", { type: "button", class: "quiet", onclick: () => state.change({ terms: seed(randomSeed()) }) }, "New image"),
      h("button", { type: "button", class: "quiet", onclick: () => state.change({ samples: [{ ...page.current(), pinned: true }, ...state.get().samples.slice(0, -1)] }) }, "Keep")),
    actions({ api, kind: "images", body, link: () => linkOf(hash, state.get()),
              download: () => downloadFile(`${api}/download?large=true`, body(), `${about.name}.png`) }));

  const panels = { sliders: sliders(page), path: paths(page), sums: sums(page), own: ownPanel(page) };
  const tabs = TABS.map(([name, label]) => h("button", {
    type: "button", role: "tab", id: `tab-${name}`, "aria-controls": "panel", onclick: () => state.touch({ tab: name }),
    onkeydown: (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      const next = TABS[(TABS.findIndex(([each]) => each === name) + step + TABS.length) % TABS.length][0];
      state.touch({ tab: next });
      document.getElementById(`tab-${next}`).focus();
    } }, label));
  const panel = h("div", { class: "panel", id: "panel", role: "tabpanel", tabIndex: -1 });
  const grid = samples(page), words_ = about.text ? prompts(page) : null, classes = about.classes.length ? classButtons(page) : null;
  place.append(...[words_?.element, classes?.element].filter(Boolean),
    h("div", { class: "workbench" }, stage, h("section", { class: "tools", "aria-label": "What to do with it" }, h("div", { role: "tablist", class: "tabs" }, ...tabs), panel)),
    grid.element);

  let open = null;
  function update() {
    const now = state.get(), point = page.current();
    drawn(point);
    caption.textContent = words(point);
    canvas.setAttribute("aria-label", `Image of ${words(point)}`);
    undo.disabled = !state.canUndo();
    redo.disabled = !state.canRedo();
    tabs.forEach((tab, index) => { const here = TABS[index][0] === now.tab; tab.setAttribute("aria-selected", here); tab.tabIndex = here ? 0 : -1; });
    if (open !== now.tab) {
      panels[open]?.hide?.();
      open = now.tab;
      panel.replaceChildren(panels[open].element);
      panel.setAttribute("aria-labelledby", `tab-${open}`);
    }
    for (const part of [panels[open], grid, words_, classes]) part?.update(now);
  }
  const onKey = (event) => {
    if (!(event.ctrlKey || event.metaKey) || event.key.toLowerCase() !== "z" || event.target.matches("input[type=text], textarea")) return;
    event.preventDefault();
    if (event.shiftKey) state.redo(); else state.undo();
  };
  addEventListener("keydown", onKey, { signal });
  place.addEventListener("change", (event) => { if (event.target.type === "range") state.seal(); });
  update();
  return () => { ended.abort(); for (const each of Object.values(panels)) each.hide?.(); };
}

function classButtons(page) {
  const buttons = page.about.classes.map((name, number) => h("button", { type: "button", onclick: () => page.state.change({ label: number }) }, name));
  return {
    element: h("div", { class: "row classes", role: "group", "aria-label": "Class" }, h("span", { class: "quiet" }, "Class"), ...buttons),
    update(now) { buttons.forEach((button, number) => button.setAttribute("aria-pressed", number === now.label)); },
  };
}
