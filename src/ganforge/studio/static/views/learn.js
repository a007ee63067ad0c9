import { h } from "../lib/dom.js";

export const title = "learn";

export async function show(place) {
  place.append(h("h1", {}, "learn"));
}
