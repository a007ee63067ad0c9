// Your image: its latents, what the model makes of them, and on with sliders from there.
import { fetchRaw } from "../../lib/api.js";
import { h } from "../../lib/dom.js";
import { paint } from "./pixels.js";
import { remake, guarded } from "./result.js";
import { chooser } from "./upload.js";

const MOST_KEPT = 8;

export function own(page) {
  const { state, about, api, signal } = page;
  const status = h("p", { class: "quiet", role: "status" }), shown = h("div", { class: "pair" });
  let file = null, busy = false;
  const choose = chooser({ api, label: "Choose an image", example: true, signal, problem: page.problem, take: guarded(project) });
  const element = h("div", {},
    h("p", { class: "quiet help" }, "The model looks for the latents whose image is nearest to yours. It can only make what it has learned: an image unlike its data comes back as the nearest thing it knows."),
    choose.element, status, shown);

  async function project(chosen) {
    if (busy) return;
    busy = true;
    file = chosen;
    status.textContent = "Looking for its latents … this takes some seconds.";
    shown.replaceChildren();
    try {
      const now = page.current(), query = new URLSearchParams({ steps: "200" });
      if (now.label !== undefined) query.set("label", now.label);
      if (now.texts) query.set("text", now.texts[0]);
      const found = await (await fetchRaw("POST", `${api}/project?${query}`, chosen, { signal })).json();
      const kept = Object.entries(state.get().own).slice(-(MOST_KEPT - 1)), name = `@${Date.now().toString(36)}`;
      state.change({ own: { ...Object.fromEntries(kept), [name]: found.latents }, terms: { [name]: 1 }, codes: {}, truncation: null });
      const canvas = h("canvas", { class: "pixels", width: about.width, height: about.height });
      paint(canvas, await page.render.image(page.current()));
      shown.replaceChildren(
        h("figure", {}, h("div", { class: "frame small" }, h("img", { class: "pixels", src: `data:image/png;base64,${found.image}`, alt: "Your image, at the size of the model" })), h("figcaption", {}, "yours")),
        h("figure", {}, h("div", { class: "frame small" }, canvas), h("figcaption", {}, `the model's, error ${found.error.toFixed(3)}`)),
        h("div", {}, h("p", {}, "It is the large image now: go on with the sliders."),
          h("div", { class: "row" }, h("button", { type: "button", class: "primary", onclick: () => state.touch({ tab: "sliders" }) }, "To the sliders"),
            h("button", { type: "button", onclick: guarded(() => remake(`${api}/recipe/upload`, { kind: "project", file: file.name ?? "", label: now.label ?? null, text: now.texts?.[0] ?? "" })) }, "How to remake it"))));
      status.textContent = "";
    } catch (error) { status.textContent = ""; throw error; } finally { busy = false; }
  }
  return { element, update() {} };
}
