// Prompts: those at work, their history, examples, and what the model knows near them.
import { post } from "../../lib/api.js";
import { h } from "../../lib/dom.js";
import { newest } from "./pixels.js";

const MOST_PROMPTS = 6, MOST_HISTORY = 30;

export function prompts(page) {
  const { state, about, api, signal } = page, kept = `prompts ${api}`;
  const history = () => { try { return JSON.parse(localStorage.getItem(kept) ?? "[]"); } catch { return []; } };
  const options = h("datalist", { id: "prompt-history" });
  const input = h("input", { type: "text", id: "prompt", maxlength: "500", autocomplete: "off", placeholder: about.examples[0] ?? "" });
  input.setAttribute("list", "prompt-history");
  const chips = h("div", { class: "row chips", role: "group", "aria-label": "Prompts" }), lines = h("div", { class: "near quiet", role: "status" });
  const other = h("select", { id: "other", onchange: () => state.change({ other: other.value === "" ? null : +other.value, share: other.value === "" ? 0 : 0.5 }) });
  const share = h("input", { type: "range", min: "0", max: "1", step: "0.02", "aria-label": "From the first prompt to the second", oninput: () => state.change({ share: +share.value }, "share") });
  const blend = h("div", { class: "row blend" }, h("label", { class: "inline", for: "other" }, "blend with"), other, share);
  const use = (text, more) => {
    const clean = text.trim();
    if (!clean) return;
    const { prompts: list, active } = state.get();
    localStorage.setItem(kept, JSON.stringify([clean, ...history().filter((each) => each !== clean)].slice(0, MOST_HISTORY)));
    const at = list.indexOf(clean);
    if (at >= 0) return void state.change({ active: at, other: null, share: 0 });
    if (!more) return void state.change({ prompts: list.map((each, index) => (index === active ? clean : each)), other: null, share: 0 });
    if (list.length >= MOST_PROMPTS) return void page.problem(new Error(`${MOST_PROMPTS} prompts are shown at most: remove one first`));
    state.change({ prompts: [...list, clean], active: list.length, other: null, share: 0 });
  };
  const element = h("section", { class: "prompts", "aria-label": "Prompts" },
    h("form", { class: "row", onsubmit: (event) => { event.preventDefault(); use(input.value, false); } },
      h("label", { class: "visually-hidden", for: "prompt" }, "Prompt"), h("div", { class: "grow" }, input),
      h("button", { type: "submit", class: "primary" }, "Draw it"),
      h("button", { type: "button", onclick: () => use(input.value, true) }, "Add as another prompt")),
    options, chips, blend, lines,
    about.examples.length ? h("div", { class: "row examples", role: "group", "aria-label": "Example prompts" }, h("span", { class: "quiet" }, "Try"), ...about.examples.map((text) => h("button", { type: "button", class: "quiet", onclick: () => { input.value = text; use(text, false); } }, text))) : null);
  const known = newest((texts) => post(`${api}/prompts`, { texts }, { signal }), (said) => lines.replaceChildren(...said.lines.map((line) => h("div", {}, line))), page.problem);
  let shown = "";
  return {
    element,
    update(now) {
      share.value = now.share;
      const key = JSON.stringify([now.prompts, now.active, now.other]);
      if (key === shown) return;
      if (document.activeElement !== input) input.value = now.prompts[now.active];
      if (JSON.stringify(now.prompts) !== JSON.stringify(JSON.parse(shown || "[[]]")[0])) known(now.prompts);
      shown = key;
      options.replaceChildren(...history().map((text) => h("option", { value: text })));
      chips.hidden = now.prompts.length < 2;
      blend.hidden = now.prompts.length < 2;
      chips.replaceChildren(...now.prompts.map((text, index) => h("span", { class: "chip" },
        h("button", { type: "button", "aria-pressed": String(index === now.active), onclick: () => state.change({ active: index, other: null, share: 0 }) }, text),
        h("button", { type: "button", class: "quiet", "aria-label": `Remove the prompt ${text}`, onclick: () => {
          const left = now.prompts.filter((_, each) => each !== index);
          state.change({ prompts: left, active: Math.min(now.active, left.length - 1), other: null, share: 0 });
        } }, "×"))));
      other.replaceChildren(h("option", { value: "" }, "nothing"), ...now.prompts.map((text, index) => (index === now.active ? null : h("option", { value: String(index), selected: index === now.other }, text))).filter(Boolean));
      share.disabled = now.other === null;
    },
  };
}
