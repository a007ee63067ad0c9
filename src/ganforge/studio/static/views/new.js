// A new training: data, a look at them, a system, its form, and the command that starts it.
import { get, post } from "../lib/api.js";
import { clear, command, h, notice } from "../lib/dom.js";
import { quoted, words } from "../lib/text.js";

export const title = "New training";

export async function show(place, { query }) {
  const known = await get("/systems");
  const data = h("input", { name: "data", value: query.data ?? "", autocomplete: "off", spellcheck: false, placeholder: "my_images, photos.zip, mnist ...", required: true, "aria-describedby": "data-help" });
  data.setAttribute("list", "data-names");
  const system = h("select", { name: "system" }, h("option", { value: "auto" }, "the one that suits the data best"),
    ...known.systems.map((each) => h("option", { value: each.name, selected: each.name === query.system }, `${each.name}: ${each.for}`)));
  const paper = h("small", {}, " ");
  const look = h("section", { class: "look", "aria-live": "polite" }), form = h("section", { class: "form" });
  const prepare = h("button", { type: "submit", class: "primary" }, "Check the data");
  let options = {}, described = null, like = query.like ?? "";
  const first = h("form", { class: "card" }, 
    h("div", { class: "columns" },
      h("div", { class: "field" }, h("label", {}, "Data", data), h("datalist", { id: "data-names" }, ...known.data.map((each) => h("option", { value: each.name }, each.what))),
        h("small", { id: "data-help" }, "A folder or .zip of images on the studio's machine, or a name such as mnist or emoji.")),
      h("div", { class: "field" }, h("label", {}, "System", system), paper)), prepare);
  const nameSystem = () => { paper.textContent = known.systems.find((each) => each.name === system.value)?.paper ?? "Chosen by the number, size, labels and captions of the images."; };
  system.addEventListener("change", nameSystem);
  nameSystem();
  place.append(...[h("h1", {}, like ? `New training like ${like}` : "New training"), like ? await advice(like) : first, look, form].filter(Boolean));
  first.addEventListener("submit", (event) => { event.preventDefault(); options = { data: data.value.trim() }; begin(); });

  async function begin() {
    prepare.disabled = true;
    clear(form);
    if (!like) clear(look, h("p", { class: "quiet" }, "Reading the images. Large folders take a while."));
    try {
      if (!like) {
        const found = await post("/check", options);
        drawCheck(found);
        if (found.problems.length) return;
        clear(form, h("p", { class: "quiet" }, "Choosing values for these images."));
      }
      await describe();
    } catch (error) {
      clear(look, h("p", { class: "problem", role: "alert" }, error.message));
    } finally { prepare.disabled = false; }
  }
  function drawCheck(found) {
    const kinds = [["problem", found.problems], ["warning", found.warnings]];
    clear(look, h("h2", {}, found.problems.length ? "These data cannot be used yet" : "What training will see"),
      h("div", { class: "columns" },
        found.thumbnails ? h("img", { class: "pixels grid", src: found.thumbnails, alt: "Some of the training images" }) : null,
        h("div", {}, ...kinds.flatMap(([kind, lines]) => lines.map((line) => h("p", { class: kind }, line))),
          h("details", { open: !found.thumbnails }, h("summary", {}, "What was found"), h("pre", { tabIndex: 0 }, found.lines.join("\n"))))));
  }
  async function describe() {
    described = await post("/form", { system: like ? "auto" : system.value, data: options, like });
    drawForm();
  }
  function drawForm() {
    const name = h("input", { name: "run-name", value: query.name ?? described.name, pattern: "[A-Za-z0-9][A-Za-z0-9._\\-]{0,99}", required: true });
    const start = h("button", { type: "submit", class: "primary" }, "Start training"), shown = h("div");
    const groups = described.groups.map((group) => ({ ...group, inputs: group.fields.map(input) }));
    const own = h("form", {},
      h("h2", {}, `${described.system}: ${described.summary}`), described.why.map((line) => h("p", { class: "quiet" }, line)),
      h("div", { class: "card" },
        h("div", { class: "field" }, h("label", {}, "Name of the run", name)),
        h("div", { class: "fields" }, ...groups.flatMap((group) => group.inputs).filter((each) => each.field.place !== null)
          .sort((left, right) => left.field.place - right.field.place).map((each) => each.element))),
      ...groups.map((group) => h("details", { class: "card" }, h("summary", {}, `More options: ${group.title.toLowerCase()}`),
        h("div", { class: "fields" }, ...group.inputs.filter((each) => each.field.place === null).map((each) => each.element)))),
      shown, h("div", { class: "row start" }, start));
    const wordsNow = () => [described.system, "--data", described.groups.length ? dataName() : "", ...groups.flatMap((group) => group.inputs.flatMap((each) => each.words()))];
    const dataName = () => options.data ?? described.data;
    const draw = () => clear(shown, command(`ganforge train ${wordsNow().map(quoted).join(" ")} --run ${quoted(`${described.folder}/${name.value}`)}`));
    own.addEventListener("input", draw);
    own.addEventListener("submit", async (event) => {
      event.preventDefault();
      start.disabled = true;
      try {
        await post(`/runs/${encodeURIComponent(name.value)}/start`, { words: wordsNow() });
        start.textContent = "Opening the data";
        await arrive(name.value);
      } catch (error) { notice(error.message, { error: true }); start.disabled = false; start.textContent = "Start training"; }
    });
    clear(form, own);
    draw();
  }
  if (query.data) options = { data: query.data };
  if (like || query.data) begin();
}

/** What the diagnosis of the run `name` says to change, if it says something. */
async function advice(name) {
  const { diagnosis } = await get(`/runs/${encodeURIComponent(name)}`);
  return diagnosis?.length ? h("div", { class: "card" }, h("h2", {}, `What went wrong in ${name}`), h("ul", {}, ...diagnosis.map((line) => h("li", { class: "warning" }, line)))) : null;
}

/** Wait until the run folder is there, then show it; or say why it is not. */
async function arrive(name) {
  for (let tries = 0; tries < 600; tries++) {
    const { runs, jobs } = await get("/runs");
    const run = runs.find((each) => each.name === name);
    if (run && run.state !== "not started") return void (location.hash = `#/run/${encodeURIComponent(name)}`);
    if (jobs[name]?.error) throw new Error(jobs[name].error);
    if (!location.hash.startsWith("#/new")) return;
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
}

const NUMBERS = { integer: "[0-9]+", number: "[0-9]*\\.?[0-9]+(e-?[0-9]+)?" };

/** The input of a field: its element, and the words that it adds to the command. */
function input(field) {
  const id = `field-${field.name}`, start = field.value ?? field.default;
  const text = (value) => (value === null || value === undefined ? "" : Array.isArray(value) ? value.join(" ") : String(value));
  let box;
  if (field.type === "boolean") box = h("input", { type: "checkbox", id, checked: Boolean(start) });
  else if (field.choices.length && field.type !== "array") {
    box = h("select", { id }, field.optional ? h("option", { value: "" }, "none") : null, ...field.choices.map((choice) => h("option", { value: choice, selected: choice === text(start) }, choice)));
  } else box = h("input", { id, type: "text", inputmode: ["integer", "number"].includes(field.type) ? "decimal" : null, value: text(start), placeholder: field.optional ? "none" : null, autocomplete: "off", pattern: NUMBERS[field.type] ?? null, title: NUMBERS[field.type] ? `a number, such as ${text(field.default) || 1}` : null });
  box.setAttribute("aria-describedby", `${id}-help`);
  const label = h("label", { for: id }, words(field.name));
  const reason = field.reason ? h("small", { class: "reason" }, `${text(field.default)}: ${field.reason}`) : null;
  const help = h("small", { id: `${id}-help` }, field.help, reason);
  return {
    field,
    element: h("div", { class: field.type === "boolean" ? "field check" : "field" }, field.type === "boolean" ? [h("div", { class: "row" }, box, label)] : [label, box], help),
    words() {
      if (field.type === "boolean") {
        return box.checked === Boolean(field.default) ? [] : [box.checked ? field.option : field.option.replace("--", "--no-")];
      }
      const value = box.value.trim();
      if (value === text(field.default) || (value === "" && field.optional)) return [];
      return [field.option, ...(field.type === "array" ? value.split(/[\s,]+/) : [value])];
    },
  };
}
