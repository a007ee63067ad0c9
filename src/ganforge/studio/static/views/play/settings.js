// Forms for what a panel is made of: layers, noise, data order, and the fields of its loss.
import { h } from "../../lib/dom.js";
import { short, words } from "../../lib/text.js";

const SIZES = [2, 4, 8, 16, 32, 64, 128, 256, 512], MOST_LAYERS = 5;
// Ranges of sliders, in powers of ten; other numbers are typed.
const SLIDERS = { learning_rate: [-5, -0.5], discriminator_learning_rate: [-5, -0.5], final_learning_rate: [-5, -0.5], clip: [-2.5, 0.5], penalty_weight: [-2, 1.5], gamma: [-3, 1], final_gamma: [-4, 1], beta: [-2, 1] };
const NAMES = { discriminator_steps: "k: updates of D in a step", critic_steps: "k: updates of the critic in a step", learning_rate: "learning rate", discriminator_learning_rate: "learning rate of D", ema_half_life: "averaging half-life (EMA), in points", pack: "points in one input of D (PacGAN)", momentum: "momentum, beta 1", latent_size: "numbers in one latent", latent_distribution: "noise", batch: "batch" };
let counter = 0;

const named = (name) => NAMES[name] ?? words(name);
function bounds(schema) {
  const plain = schema.anyOf ? schema.anyOf.find((part) => part.type !== "null") : schema;
  return { type: plain.type, choices: plain.enum ?? (plain.const !== undefined ? [plain.const] : null), low: plain.minimum ?? plain.exclusiveMinimum, high: plain.maximum ?? plain.exclusiveMaximum, optional: !!schema.anyOf?.some((part) => part.type === "null") };
}

/** The hidden layers of a network: a choice of units for each, and buttons for one more or less. */
export function layersField(label, value, onChange) {
  const units = value.slice();
  const group = h("div", { class: "layers", role: "group", "aria-label": `${label}: hidden layers` });
  function draw() {
    const choices = (unit) => [...new Set([...SIZES, unit])].sort((a, b) => a - b).map((size) => h("option", { value: String(size), selected: size === unit }, String(size)));
    group.replaceChildren(
      ...units.map((unit, index) => h("select", { "aria-label": `${label}: units of hidden layer ${index + 1}`, onchange: (event) => { units[index] = Number(event.target.value); onChange(units.slice()); } }, ...choices(unit))),
      !units.length && h("span", { class: "quiet" }, "linear"),
      h("button", { type: "button", class: "small", "aria-label": `${label}: one hidden layer less`, disabled: !units.length, onclick: () => { units.pop(); draw(); onChange(units.slice()); } }, "−"),
      h("button", { type: "button", class: "small", "aria-label": `${label}: one hidden layer more`, disabled: units.length >= MOST_LAYERS, onclick: () => { units.push(units.at(-1) ?? 32); draw(); onChange(units.slice()); } }, "+"));
    for (const child of [...group.childNodes]) if (child.nodeName === "#text") child.remove();
  }
  draw();
  return group;
}

/** A labelled control for a field by its JSON schema; `onChange(value)` when it changed for good. */
export function field(name, schema, value, onChange, { fallback = null } = {}) {
  const id = `play-${name}-${++counter}`, { type, choices, low, high, optional } = bounds(schema);
  const label = (control, ...more) => h("div", { class: "setting" }, h("label", { for: id, title: schema.description }, named(name)), control, ...more);
  if (choices) {
    return label(h("select", { id, onchange: (event) => onChange(event.target.value) }, ...choices.map((choice) => h("option", { value: choice, selected: choice === value }, words(choice)))));
  }
  if (type === "boolean") return label(h("input", { id, type: "checkbox", checked: value === true, onchange: (event) => onChange(event.target.checked) }));
  if (SLIDERS[name]) {
    const [from, to] = SLIDERS[name], shown = h("output", { for: id });
    const say = (number) => { shown.textContent = number === null ? "as of G" : short(number); };
    const rounded = (exponent) => Number((10 ** exponent).toPrecision(2));
    say(value);
    const slider = h("input", { id, type: "range", min: String(from), max: String(to), step: "0.05", value: String(Math.log10(value || fallback || 10 ** from)),
      oninput: (event) => say(rounded(Number(event.target.value))), onchange: (event) => onChange(rounded(Number(event.target.value))) });
    slider.setAttribute("aria-valuetext", value === null ? "as of the generator" : short(value));
    slider.addEventListener("input", () => slider.setAttribute("aria-valuetext", short(rounded(Number(slider.value)))));
    return label(slider, shown);
  }
  const whole = type === "integer";
  return label(h("input", { id, type: "number", value: value === null ? "" : String(value), step: whole ? "1" : "any", min: low === undefined ? null : String(low), max: high === undefined ? null : String(high), required: !optional,
    onchange: (event) => { if (event.target.reportValidity()) onChange(event.target.value === "" ? null : Number(event.target.value)); } }));
}
