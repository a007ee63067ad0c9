import { h } from "../lib/dom.js";

export const title = "play";

export async function show(place) {
  place.append(h("h1", {}, "play"));
}
