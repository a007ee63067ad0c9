import { h } from "../lib/dom.js";

export const title = "Start";

const THINGS = [
  ["#/play", "Watch a GAN learn", "Eight clusters of points, a generator and a discriminator. Press play; then let it collapse, and cure it.", "Open the playground"],
  ["#/create", "Draw with a trained model", "Trained models come with the package: digits, clothes, emoji from words, drawings to emoji, photos enlarged.", "Choose a model"],
  ["#/new", "Train on your own images", "Name a folder. The studio checks it, suggests a system, and shows samples while it trains.", "Start a training"],
];

export async function show(place) {
  place.append(
    h("h1", {}, "Train, evaluate and use generative adversarial networks"),
    h("p", { class: "quiet" }, "Three things to try, each one click."),
    h("div", { class: "cards" }, ...THINGS.map(([href, what, why, action]) =>
      h("div", { class: "card" }, h("h2", {}, what), h("p", {}, why), h("a", { href, role: "button", class: "button" }, action)))));
}
