// A panel: its canvas, and in words and numbers what it shows.
import { h } from "../../lib/dom.js";
import { short } from "../../lib/text.js";
import { panelCanvas } from "./canvas.js";
import { state } from "./words.js";

const MEANINGS = { probability: "D(x)", critic: "critic", likelihood: "bound of p(x)" };

export function panelCard(panel, index, view, loss) {
  const several = view.session.panels.length > 1;
  const canvas = h("canvas", { class: "panel-canvas", role: "img", "aria-label": `${panel.title}: points, manifold and map` }), drawn = panelCanvas(canvas, view.session.real);
  const found = h("b"), good = h("b"), js = h("b"), word = h("p", { class: "word" }), meaning = h("span"), scale = h("div", { class: "scale" }, h("span", {}, "generated"), h("i", { "aria-hidden": "true" }), h("span", {}, "real"), meaning);
  const name = h("button", { type: "button", class: "quiet name", "aria-pressed": "false", "aria-keyshortcuts": String(index + 1), title: `Choose this panel: its settings and losses are shown (key ${index + 1})`, onclick: () => view.choose(index) },
    several && h("span", { class: "number", "data-colour": `c${index}` }, h("i"), String(index + 1)), " ", panel.title, panel.mark && h("small", {}, ` ${panel.mark}`));
  const element = h("article", { class: "panel card", "aria-label": panel.title, onclick: (event) => { if (several && !event.target.closest("button, a")) view.choose(index); } },
    h("header", {}, name, h("a", { href: `https://arxiv.org/abs/${loss.arxiv}`, target: "_blank", rel: "noreferrer", class: "paper" }, loss.paper),
      several && h("button", { type: "button", class: "quiet small", "aria-label": `Remove ${panel.title}`, title: "Remove this panel", onclick: () => view.removePanel(index) }, "×")),
    h("p", { class: "about quiet" }, loss.about),
    h("div", { class: "frame" }, canvas),
    h("div", { class: "facts" }, scale,
    h("dl", { class: "numbers" },
      h("div", {}, h("dt", {}, view.session.areModes ? "modes found" : "parts found"), h("dd", {}, found)),
      h("div", {}, h("dt", {}, view.session.areModes ? "on a mode" : "near data"), h("dd", {}, good)),
      h("div", {}, h("dt", {}, "JS, nats"), h("dd", {}, js))),
    word));

  function show(frame, all, layers, colours) {
    drawn.paint(frame, layers, colours);
    found.textContent = frame ? `${frame.found} of ${frame.parts}` : " ";
    good.textContent = frame ? `${Math.round(frame.good)} %` : " ";
    js.textContent = frame ? short(frame.js) : " ";
    meaning.textContent = frame ? MEANINGS[frame.heatMeaning] ?? "" : "";
    scale.hidden = frame !== null && !frame.heat;
    const { text, bad } = state(frame);
    if (word.textContent !== text) word.textContent = text;
    word.classList.toggle("problem", bad);
    element.dataset.found = frame ? String(frame.found) : "";
  }
  const mark = (chosen) => { element.classList.toggle("chosen", chosen); name.setAttribute("aria-pressed", String(chosen)); };
  return { element, show, mark };
}
