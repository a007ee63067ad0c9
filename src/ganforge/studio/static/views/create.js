// Create: a gallery of models, and for each the controls that its kind of system has.
import { get } from "../lib/api.js";
import { command, h } from "../lib/dom.js";
import { quoted } from "../lib/text.js";

export const title = "Create";

const TOOLS = {
  latents: ["latents.js", "Sliders, interpolation, arithmetic, your own image"], text: ["latents.js", "Images from words, and between them"],
  draw: ["draw.js", "Draw, and see it translated as you draw"], enlarge: ["enlarge.js", "Enlarge photos"], complete: ["complete.js", "Complete half an image"],
};
const SCORES = { fid: "FID", fid_to_training: "FID to training", psnr_y: "PSNR", l1: "L1" };
const scoreOf = (text) => text && text.replace(/^\S+/, (name) => SCORES[name] ?? name.replaceAll("_", " "));
const purposeOf = (model) => [model.codes && "Codes that steer it", model.classes && "Choose a class", ...model.tools.map((tool) => TOOLS[tool][1])].filter(Boolean).join("; ")
  .replace(/; [A-Z]/g, (start) => start.toLowerCase());

export async function show(place, { path, query }) {
  if (path[0]) return model(place, path[0], query);
  const { models, folder } = await get("/create");
  const shipped = models.filter((each) => each.shipped), own = models.filter((each) => !each.shipped);
  place.append(...[
    h("h1", {}, "Create with a trained model"),
    h("p", { class: "quiet" }, "They run on this machine: nothing is uploaded anywhere."),
    own.length ? h("section", { "aria-labelledby": "own-models" }, h("h2", { id: "own-models" }, "Your runs"), h("div", { class: "gallery" }, ...own.map(card))) : null,
    h("section", { "aria-labelledby": "shipped-models" }, h("h2", { id: "shipped-models" }, "Models that came with the package"), h("div", { class: "gallery" }, ...shipped.map(card))),
    own.length ? null : h("p", { class: "quiet" }, "Models of yours join them: ", h("a", { href: "#/new" }, "train one on your own images"), "."),
    models.some((each) => each.tools.includes("complete")) ? null : h("section", { "aria-labelledby": "half" }, h("h2", { id: "half" }, "Half an image, completed"),
      h("p", { class: "quiet" }, "This needs a run of pixelcnn, and none is here yet. One on black and white digits takes about 20 minutes on one core:"),
      command(`ganforge train pixelcnn --data mnist --binarise static --steps 3000 --run ${quoted(`${folder}/pixelcnn-digits`)}`)),
  ].filter(Boolean));
}

function card(model) {
  const name = model.name.replace("pretrained:", "");
  const image = model.thumbnail
    ? h("img", { src: `/api/create/${encodeURIComponent(model.name)}/thumbnail`, alt: "", loading: "lazy", class: model.width < 64 ? "pixels" : "" })
    : h("div", { class: `no-thumbnail ${model.tools[0]}` });
  return h("a", { class: "card model", href: `#/create/${encodeURIComponent(model.name)}` },
    h("div", { class: "thumbnail" }, image),
    h("div", { class: "about" }, h("strong", {}, name),
      h("span", { class: "what" }, purposeOf(model)),
      h("small", { class: "quiet" }, [`${model.system} on ${model.data}`, `${model.width}×${model.height}`, scoreOf(model.score)].filter(Boolean).join(" · "))));
}

async function model(place, name, query) {
  const waiting = h("p", { class: "quiet", role: "status" }, "Loading the model …");
  place.append(h("h1", {}, name.replace("pretrained:", "")), waiting);
  const about = await get(`/create/${encodeURIComponent(name)}`);
  waiting.remove();
  place.querySelector("h1").remove();
  place.append(h("header", { class: "model-head" },
    h("div", {}, h("a", { href: "#/create", class: "back" }, "All models"), h("h1", {}, name.replace("pretrained:", ""))),
    h("p", { class: "quiet" }, [`${about.system} on ${about.data}`, `${about.width}×${about.height}`, scoreOf(about.score), `step ${about.step.toLocaleString("en")}`].filter(Boolean).join(" · "))));
  if (!about.tools.length) return void place.append(h("p", {}, `A run of ${about.system} makes no images to play with here.`));
  const module = await import(`./create/${TOOLS[about.tools[0]][0]}`);
  return module.show(place, about, { api: `/create/${encodeURIComponent(name)}`, hash: `#/create/${encodeURIComponent(name)}`, query });
}
