import { h } from "../lib/dom.js";

export const title = "compare";

export async function show(place) {
  place.append(h("h1", {}, "compare"));
}
