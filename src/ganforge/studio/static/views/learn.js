import { get } from "../lib/api.js";
import { command, h } from "../lib/dom.js";
import { diagram } from "./learn/diagram.js";

export const title = "Learn";

export async function show(place, { path, query }) {
  if (path[0]) return lesson(place, path[0], query.part);
  const { families } = await get("/learn");
  place.append(
    h("h1", {}, "Learn"),
    h("p", { class: "quiet" }, "One lesson for each system: what it is for, how its parts hang together, its equations, and a way to try it."),
    ...families.map((family) => h("section", { class: "family", "aria-label": family.name },
      h("h2", {}, family.name),
      h("p", { class: "quiet" }, family.about),
      h("ul", { class: "lessons" }, family.systems.map((each) => h("li", {},
        h("a", { class: "card", href: `#/learn/${each.system}` }, h("b", {}, each.system), h("span", {}, each.purpose), h("small", {}, each.paper))))))),
  );
}

/** HTML of this server, made of the documentation with raw HTML off. */
const markup = (name, attributes, html) => { const element = h(name, attributes); element.innerHTML = html; return element; };

async function lesson(place, system, part) {
  const about = await get(`/learn/${encodeURIComponent(system)}`);
  document.title = `${system} · Learn · ganforge studio`;
  const link = (id, text) => h("li", {}, h("a", { href: `#/learn/${system}?part=${id}` }, text));
  const [first, ...others] = about.try;
  const sections = about.sections.map((each) => markup("section", { id: `part-${each.id}`, "aria-label": each.heading }, `<h2 tabindex="-1"></h2>${each.html}`));
  sections.forEach((section, index) => { section.querySelector("h2").textContent = about.sections[index].heading; });
  const end = diagramIn(about);
  place.append(
    h("p", { class: "trail" }, h("a", { href: "#/learn" }, "Learn"), " / ", system),
    h("h1", {}, h("span", { class: "name" }, system), " ", about.title),
    h("p", { class: "purpose" }, about.purpose[0].toUpperCase() + about.purpose.slice(1) + "."),
    h("div", { class: "row tries" },
      h("a", { class: "button primary", href: first.place }, first.label),
      others.map((each) => h("a", { class: "button", href: each.place }, each.label))),
    end.figure,
    h("div", { class: "lesson" },
      h("nav", { "aria-label": "Parts of this lesson" }, h("ul", {}, about.sections.map((each) => link(each.id, each.heading)))),
      h("article", {}, markup("div", { class: "lead quiet" }, about.lead), sections)),
  );
  for (const block of place.querySelectorAll("pre.commands")) block.replaceWith(commands(block.textContent));
  const chosen = part && document.getElementById(`part-${part}`);
  if (chosen) requestAnimationFrame(() => { chosen.scrollIntoView(); chosen.querySelector("h2").focus({ preventScroll: true }); });
  return end.end;
}

/** The diagram, down on a narrow page and along a wide one. */
function diagramIn(about) {
  const narrow = matchMedia("(max-width: 760px)");
  const frame = h("div", {});
  const draw = () => frame.replaceChildren(diagram(about.diagram, `How ${about.system} is trained`, narrow.matches));
  narrow.addEventListener("change", draw);
  draw();
  const key = (name, text) => h("span", { class: `key ${name}` }, h("i"), text);
  const figure = h("figure", { class: "diagram card" }, frame,
    h("figcaption", {}, key("flow", "what a step computes"), key("update", "what a loss changes")));
  return { figure, end: () => narrow.removeEventListener("change", draw) };
}

/** Each command of a block with a button that copies it; what follows # says what it is for. */
function commands(text) {
  const rows = text.trimEnd().replaceAll(/\\\n\s*/g, "").split("\n").map((line) => {
    const [, code, why] = line.match(/^(.*?)(?:\s{2,}#\s*(.*))?$/);
    return code.trim() && h("div", { class: "step" }, why && h("small", {}, why), command(code.trim()));
  });
  return h("div", { class: "steps" }, rows);
}
