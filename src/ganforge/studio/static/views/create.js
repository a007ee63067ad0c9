import { h } from "../lib/dom.js";

export const title = "create";

export async function show(place) {
  place.append(h("h1", {}, "create"));
}
