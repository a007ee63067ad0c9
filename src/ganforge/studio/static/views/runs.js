import { get } from "../lib/api.js";
import { h } from "../lib/dom.js";

export const title = "Runs";

export async function show(place) {
  const { runs } = await get("/runs");
  place.append(h("h1", {}, "Runs"), h("ul", {}, ...runs.map((run) => h("li", {}, h("a", { href: `#/run/${run.name}` }, run.name)))));
}
