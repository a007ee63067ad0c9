// The settings next to the panels: the game as a diagram with its numbers, then what all panels share and what is the chosen one's.
import { command, h } from "../../lib/dom.js";
import { short } from "../../lib/text.js";
import { field, layersField } from "./settings.js";

const FIRST = 4;
const PHASES = { discriminator: "D was updated: its map has changed.", generator: "G was updated: its points have moved." };

function flow(view, panel) {
  const discriminator = panel.discriminator, lossOfCritic = "critic_loss";
  const gLoss = h("b"), dLoss = h("b"), gradient = h("b"), caption = h("figcaption", {}), generator = h("div", { class: "box of-g" }, h("b", {}, discriminator ? "G" : "decoder")), critic = h("div", { class: "box of-d" }, h("b", {}, discriminator ? "D" : "encoder"));
  view.flow = (frame, phase) => {
    const losses = frame?.losses ?? {};
    gLoss.textContent = short(losses.generator_loss ?? losses.vae_loss ?? null) || "–";
    dLoss.textContent = short(losses.discriminator_loss ?? losses[lossOfCritic] ?? null) || "–";
    gradient.textContent = short(frame?.gradient ?? null) || "–";
    generator.classList.toggle("active", phase === "generator");
    critic.classList.toggle("active", phase === "discriminator");
    caption.textContent = PHASES[phase] ?? (discriminator ? "D learns to tell them apart, G to fool it." : "The encoder finds latents, the decoder makes points of them.");
  };
  return h("figure", { class: "flow", "aria-label": "How the networks are joined" },
    h("div", { class: "line" }, h("span", { class: "end" }, "noise z"), h("i", {}, "→"), generator, h("i", {}, "→"), h("span", { class: "generated" }, "● generated")),
    discriminator && h("div", { class: "line" }, h("span", { class: "end" }, h("span", { class: "generated" }, "●"), " or ", h("span", { class: "real" }, "■ real")), h("i", {}, "→"), critic, h("i", {}, "→"), h("span", {}, "which?")),
    h("div", { class: "line losses" }, discriminator && h("span", { class: "of-d-text" }, "loss of D ", dLoss), h("span", { class: "of-g-text" }, discriminator ? "loss of G " : "loss ", gLoss), h("span", {}, "gradient ", gradient)), caption);
}

export function settingsForm(view) {
  const { shared, panels, seed, steps } = view.settings, index = view.focus, panel = view.session.panels[index], loss = view.offered.losses.find(({ name }) => name === panel.loss);
  const several = panels.length > 1, setShared = (name) => (value) => view.change({ shared: { ...view.settings.shared, [name]: value } });
  const changed = (schema) => (schema.live ? null : h("span", { class: "restarts", title: "Starts again at step 0" }, "↺"));
  const fields = Object.entries(loss.schema).map(([name, schema]) => {
    const control = field(name, schema, panel.values[name] ?? null, (value) => view.setField(name, value, schema.live), { fallback: panel.values.learning_rate });
    control.firstChild.append(" ", changed(schema) ?? "");
    return control;
  });
  const node = h("div", {},
    h("h2", {}, several ? `${index + 1} ${panel.title}` : panel.title),
    flow(view, panel),
    h("div", { class: "setting" }, h("label", { for: "loss" }, "loss"), h("select", { id: "loss", onchange: (event) => view.change({ panels: panels.map((each, at) => (at === index ? { loss: event.target.value, fields: {} } : each)) }) },
      ...view.offered.losses.map(({ name, title }) => h("option", { value: name, selected: name === panel.loss }, title)))),
    ...fields.slice(0, FIRST),
    fields.length > FIRST && h("details", { open: view.moreOpen ?? false, ontoggle: (event) => { view.moreOpen = event.target.open; } }, h("summary", {}, "More"), ...fields.slice(FIRST)),
    h("h2", {}, several ? "All panels" : "Networks and noise"),
    h("div", { class: "setting wide" }, h("span", { class: "of-g-text" }, "G: hidden layers"), layersField("Generator", shared.generator_hidden, setShared("generator_hidden"))),
    h("div", { class: "setting wide" }, h("span", { class: "of-d-text" }, "D: hidden layers"), layersField("Discriminator", shared.discriminator_hidden, setShared("discriminator_hidden"))),
    ...["latent_size", "latent_distribution", "batch"].map((name) => field(name, view.offered.shared[name], shared[name], setShared(name))),
    field("seed", { type: "integer", minimum: 0, maximum: 2 ** 32 - 1, description: "Weights, order of the data and noise follow it." }, seed, (value) => view.change({ seed: value })),
    field("steps", { type: "integer", minimum: 1, maximum: 100000, description: "Length of the training, which some rates follow." }, steps, (value) => view.change({ steps: value })),
    panel.command && h("details", {}, h("summary", {}, "As a command"), command(panel.command), h("p", { class: "quiet small" }, "The same training, as long as nothing is changed or stepped by hand.")),
    h("p", { class: "quiet small" }, "↺ and all of these start again at step 0; the others change while it trains."));
  view.flow(view.frame?.panels[index] ?? null, "");
  return node;
}
