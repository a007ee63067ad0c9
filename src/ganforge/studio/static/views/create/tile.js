// A small image that is a button: click shows it, drag takes it elsewhere, and keys do the same.
import { h } from "../../lib/dom.js";
import { paint } from "./pixels.js";
import { words } from "./points.js";

const TYPE = "application/x-ganforge-point";

/** A tile of `point`; `more` are further buttons on it. */
export function tile(page, point, { label = "", onclick, more = [], current = false, keys = {} } = {}) {
  const canvas = h("canvas", { class: "pixels", width: page.about.width, height: page.about.height });
  const button = h("button", {
    type: "button", class: "show", draggable: true, "aria-label": `${label}${words(point)}`, title: words(point), "aria-current": current ? "true" : null, onclick,
    onkeydown: (event) => { if (keys[event.key] && !event.ctrlKey && !event.metaKey) { keys[event.key](); event.preventDefault(); } },
    ondragstart: (event) => { event.dataTransfer.setData(TYPE, JSON.stringify(point)); event.dataTransfer.effectAllowed = "copyMove"; },
  }, canvas);
  const place = h("div", { class: "tile" }, button, ...more);
  place.classList.add("waiting");
  page.render.image(point).then((image) => { paint(canvas, image); place.classList.remove("waiting"); canvas.dataset.shows = JSON.stringify(point); },
    (error) => { if (error.name !== "AbortError") { place.classList.replace("waiting", "broken"); page.problem(error); } });
  return place;
}

/** Let tiles be dropped on an element: `take(point, event)`. */
export function takesTiles(element, take) {
  element.addEventListener("dragover", (event) => {
    if (!event.dataTransfer.types.includes(TYPE)) return;
    event.preventDefault();
    element.classList.add("over");
  });
  element.addEventListener("dragleave", () => element.classList.remove("over"));
  element.addEventListener("drop", (event) => {
    element.classList.remove("over");
    const text = event.dataTransfer.getData(TYPE);
    if (!text) return;
    event.preventDefault();
    event.stopPropagation();
    take(JSON.parse(text), event);
  });
  return element;
}
