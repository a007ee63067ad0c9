// Sliders: directions that were found in the model, single numbers of its latents, and codes.
import { get } from "../../lib/api.js";
import { h } from "../../lib/dom.js";
import { clean, isDirection } from "./points.js";

const METHODS = [["sefa", "SeFa directions"], ["pca", "GANSpace"], ["z", "Single numbers"]];
const HELP = {
  sefa: "What the first layer reacts to most, the strongest first. Found without labels: move them to see what they mean.",
  pca: "Principal components of the first layer's activations, the strongest first.",
  z: "One number of the latent at a time: those that change the image most.",
};

export function sliders(page) {
  const { state, about, api, signal } = page, reach = about.gaussian ? 5 : 2;
  const list = h("div", { class: "sliders" }), help = h("p", { class: "quiet help" }), inputs = new Map(), found = new Map();
  const radios = METHODS.map(([name, label]) => h("button", { type: "button", onclick: () => state.touch({ method: name }) }, label));
  const codes = about.code_ranges.map((range, index) => codeControl(page, range, index));
  const moved = () => Object.keys(state.get().terms).filter(isDirection);
  const element = h("div", {},
    codes.length ? h("div", { class: "codes" }, h("h2", {}, "Codes"), ...codes.map((code) => code.element)) : null,
    h("div", { class: "row methods", role: "group", "aria-label": "What the sliders are" }, ...radios), help, list,
    h("div", { class: "row" },
      h("button", { type: "button", onclick: () => {
        const terms = { ...state.get().terms };
        for (const name of inputs.keys()) terms[name] = (Math.random() + Math.random() - 1) * reach * 0.8;
        state.change({ terms: clean(terms) });
      } }, "Surprise me"),
      h("button", { type: "button", onclick: () => {
        const terms = Object.fromEntries(Object.entries(state.get().terms).filter(([name]) => !isDirection(name)));
        state.change({ terms: clean(terms), codes: {} });
      } }, "Reset all")));
  let shown = null;

  async function fill(method) {
    shown = method;
    help.textContent = HELP[method];
    try {
      if (!found.has(method)) found.set(method, (await get(`${api}/directions?method=${method}`, { signal })).directions);
    } catch (error) { page.problem(error); return; }
    if (shown !== method) return;
    inputs.clear();
    list.replaceChildren(...found.get(method).map((each, index) => slider(method, each, index)));
    sync(state.get());
  }
  function slider(method, { name, share }, index) {
    const label = method === "z" ? `Number ${name.slice(2)}` : `Direction ${index + 1}`, out = h("output");
    const input = h("input", { type: "range", min: String(-reach), max: String(reach), step: "0.05", "aria-label": label, "data-name": name,
      oninput: () => state.change({ terms: clean({ ...state.get().terms, [name]: +input.value }) }, name),
      ondblclick: () => state.change({ terms: clean({ ...state.get().terms, [name]: 0 }) }) });
    inputs.set(name, { input, out });
    return h("label", { class: "slider", title: share === undefined ? name : `${name}: ${(100 * share).toFixed(1)} % of the whole` }, h("span", {}, label), input, out);
  }
  function sync(now) {
    for (const [name, { input, out }] of inputs) {
      const value = now.terms[name] ?? 0;
      if (+input.value !== value) input.value = value;
      out.textContent = value ? value.toFixed(2) : "0";
    }
  }
  return {
    element, moved,
    update(now) {
      radios.forEach((button, index) => button.setAttribute("aria-pressed", METHODS[index][0] === now.method));
      if (shown !== now.method) fill(now.method);
      codes.forEach((code) => code.update(now));
      sync(now);
    },
  };
}

function codeControl(page, range, index) {
  const set = (value, key) => page.state.change({ codes: { ...page.state.get().codes, [index]: value } }, key);
  const name = `Code ${index}`;
  if (range.prior === "categorical") {
    const buttons = Array.from({ length: range.count }, (_, value) => h("button", { type: "button", "aria-label": `${name}: ${value}`, onclick: () => set(value) }, String(value)));
    return {
      element: h("div", { class: "row", role: "group", "aria-label": name }, h("span", { class: "code-name" }, name), ...buttons),
      update(now) { buttons.forEach((button, value) => button.setAttribute("aria-pressed", now.codes[index] === value)); },
    };
  }
  const out = h("output"), input = h("input", { type: "range", min: String(range.low), max: String(range.high), step: "0.05", "aria-label": name, "data-code": index, oninput: () => set(+input.value, name) });
  return {
    element: h("label", { class: "slider" }, h("span", {}, name), input, out),
    update(now) { const value = now.codes[index]; input.value = value ?? 0; out.textContent = value === undefined ? "free" : value.toFixed(2); },
  };
}
