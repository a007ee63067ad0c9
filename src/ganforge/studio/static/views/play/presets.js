// The data to choose from, as thumbnails, and a button to draw one's own.
import { h } from "../../lib/dom.js";
import { int16, UNITS } from "./packed.js";
import { unpackDabs } from "./dabs.js";

function thumbnail(points, colours) {
  const side = 96, canvas = h("canvas", { width: side, height: side, "aria-hidden": "true" }), context = canvas.getContext("2d");
  context.fillStyle = colours.real;
  context.globalAlpha = 0.7;
  for (const [x, y] of points) context.fillRect((x / 2 + 0.5) * side - 1.3, (0.5 - y / 2) * side - 1.3, 2.6, 2.6);
  return canvas;
}

export function dataChoice(sets, settings, colours, onChoose, onDraw) {
  const pairs = (text) => { const at = int16(text); return Array.from({ length: at.length / 2 }, (_, index) => [at[2 * index] / UNITS * 1.25, at[2 * index + 1] / UNITS * 1.25]); };
  const tile = (name, label, points, pressed, what, about) => h("button", { type: "button", class: "tile", "data-name": name, title: about, "aria-pressed": String(pressed), onclick: what }, points.length ? thumbnail(points, colours) : h("span", { class: "pencil", "aria-hidden": "true" }, "✎"), h("span", {}, label));
  const own = settings.drawn ? unpackDabs(settings.drawn).map(([x, y]) => [x / 1.5, y / 1.5]) : [];
  return h("div", { class: "tiles", role: "group", "aria-label": "Data" },
    ...sets.map(({ name, about, points }) => tile(name, name, pairs(points), !settings.drawn && settings.data === name, () => onChoose(name), about)),
    tile("drawn", own.length ? "your own" : "draw", own, !!settings.drawn, onDraw, "Draw your own data, by hand or by keyboard"));
}
