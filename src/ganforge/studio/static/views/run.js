import { h } from "../lib/dom.js";

export const title = "run";

export async function show(place) {
  place.append(h("h1", {}, "run"));
}
