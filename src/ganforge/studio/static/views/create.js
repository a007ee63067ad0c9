// Create: a gallery of models, and for each the controls that its kind of system has.
import { get } from "../lib/api.js";
import { h } from "../lib/dom.js";

export const title = "Create";

const TOOLS = {
  latents: ["latents.js", "Samples, sliders, interpolation, arithmetic"], text: ["latents.js", "Images from words"],
  draw: ["draw.js", "Draw, and it is coloured in"], enlarge: ["enlarge.js", "Enlarge photos"], complete: ["complete.js", "Complete half an image"],
};

export async function show(place, { path, query }) {
  if (path[0]) return model(place, path[0], query);
  const { models } = await get("/create");
  const shipped = models.filter((each) => each.shipped), own = models.filter((each) => !each.shipped);
  place.append(
    h("h1", {}, "Create with a trained model"),
    h("p", { class: "quiet" }, "They run on this machine: nothing is uploaded anywhere."),
    own.length ? h("section", { "aria-labelledby": "own-models" }, h("h2", { id: "own-models" }, "Your runs"), h("div", { class: "gallery" }, ...own.map(card))) : null,
    h("section", { "aria-labelledby": "shipped-models" }, h("h2", { id: "shipped-models" }, "Models that came with the package"), h("div", { class: "gallery" }, ...shipped.map(card))),
    own.length ? null : h("p", { class: "quiet" }, "Models of yours join them: ", h("a", { href: "#/new" }, "train one on your own images"), "."),
  );
}

function card(model) {
  const name = model.name.replace("pretrained:", "");
  const image = model.thumbnail
    ? h("img", { src: `/api/create/${encodeURIComponent(model.name)}/thumbnail`, alt: "", loading: "lazy", class: model.width < 64 ? "pixels" : "" })
    : h("div", { class: `no-thumbnail ${model.tools[0]}` });
  return h("a", { class: "card model", href: `#/create/${encodeURIComponent(model.name)}` },
    h("div", { class: "thumbnail" }, image),
    h("div", { class: "about" }, h("strong", {}, name),
      h("span", { class: "what" }, model.tools.map((tool) => TOOLS[tool][1]).join("; ")),
      h("small", { class: "quiet" }, [`${model.system} on ${model.data}`, `${model.width}×${model.height}`, model.score].filter(Boolean).join(" · "))));
}

async function model(place, name, query) {
  const waiting = h("p", { class: "quiet", role: "status" }, "Loading the model …");
  place.append(h("h1", {}, name.replace("pretrained:", "")), waiting);
  const about = await get(`/create/${encodeURIComponent(name)}`);
  waiting.remove();
  place.querySelector("h1").remove();
  place.append(h("header", { class: "model-head" },
    h("div", {}, h("a", { href: "#/create", class: "back" }, "All models"), h("h1", {}, name.replace("pretrained:", ""))),
    h("p", { class: "quiet" }, [`${about.system}: ${about.purpose}`, `${about.width}×${about.height}`, about.score, `step ${about.step.toLocaleString("en")}`].filter(Boolean).join(" · "))));
  if (!about.tools.length) return void place.append(h("p", {}, `A run of ${about.system} makes no images to play with here.`));
  const module = await import(`./create/${TOOLS[about.tools[0]][0]}`);
  return module.show(place, about, { api: `/create/${encodeURIComponent(name)}`, hash: `#/create/${encodeURIComponent(name)}`, query });
}
