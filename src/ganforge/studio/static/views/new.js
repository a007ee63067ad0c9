import { h } from "../lib/dom.js";

export const title = "new";

export async function show(place) {
  place.append(h("h1", {}, "new"));
}
