// Arithmetic with tiles: A - B + C, of means of several images, with an amount.
import { h } from "../../lib/dom.js";
import { newest, paint } from "./pixels.js";
import { combine, words } from "./points.js";
import { takesTiles, tile } from "./tile.js";

const SLOTS = [["a", "A", "Start from"], ["b", "B", "take away"], ["c", "C", "and add"]];

export function sums(page) {
  const { state, about } = page;
  const slots = SLOTS.map(([name, letter, what]) => {
    const tiles = h("div", { class: "slot-tiles" });
    const place = h("div", { class: "slot", role: "group", "aria-label": `${letter}: ${what}` },
      h("div", { class: "slot-head" }, h("strong", {}, letter), " ", h("span", { class: "quiet" }, what)), tiles,
      h("button", { type: "button", class: "quiet", "aria-label": `Put the image here: ${letter}`, onclick: () => put(name, page.current()) }, "Put the image here"));
    takesTiles(place, (point) => put(name, point));
    return { name, letter, tiles, place, shown: "" };
  });
  const set = (parts) => state.change({ sums: { ...state.get().sums, ...parts } });
  const put = (name, point) => set({ [name]: [...state.get().sums[name], point] });
  const canvas = h("canvas", { class: "pixels", width: about.width, height: about.height, role: "img" });
  const out = h("output"), amount = h("input", { type: "range", min: "0", max: "2", step: "0.05", id: "amount", oninput: () => state.change({ sums: { ...state.get().sums, amount: +amount.value } }, "amount") });
  const use = h("button", { type: "button", class: "primary", onclick: () => page.take(result()) }, "Make it the image");
  const element = h("div", {},
    h("p", { class: "quiet help" }, "Drop samples into A, B and C. Several in one slot count as their mean, which is steadier than a single image."),
    h("div", { class: "slots" }, slots[0].place, h("span", { class: "sign", "aria-hidden": "true" }, "−"), slots[1].place, h("span", { class: "sign", "aria-hidden": "true" }, "+"), slots[2].place,
      h("span", { class: "sign", "aria-hidden": "true" }, "="),
      h("div", { class: "slot result" }, h("div", { class: "slot-head" }, h("strong", {}, "Result")), h("div", { class: "frame small" }, canvas), use)),
    h("label", { class: "slider" }, h("span", {}, "How much"), amount, out),
    h("button", { type: "button", class: "quiet", onclick: () => set({ a: [], b: [], c: [], amount: 1 }) }, "Clear"));
  const drawn = newest((point) => page.render.now(point), (image, point) => {
    paint(canvas, image);
    canvas.dataset.shows = JSON.stringify(point);
    canvas.setAttribute("aria-label", `Result: ${words(point)}`);
  }, page.problem);
  function result() {
    const { a, b, c, amount: much } = state.get().sums;
    const { terms: _, ...given } = a[0];
    return { terms: combine(...[a, b, c].map((list) => list.map((point) => point.terms)), much), ...given };
  }
  let filled = false, asked = "";
  return {
    element,
    update(now) {
      if (!filled && !now.sums.a.length && !now.sums.b.length && !now.sums.c.length) {
        filled = true;
        const fresh = now.samples.slice(0, 3).map((each) => page.point(each.terms));
        return void queueMicrotask(() => state.touch({ sums: { a: [fresh[0]], b: [fresh[1]], c: [fresh[2]], amount: 1 } }));
      }
      filled = true;
      for (const slot of slots) {
        const points = now.sums[slot.name], key = JSON.stringify(points);
        if (key === slot.shown) continue;
        slot.shown = key;
        slot.tiles.replaceChildren(...points.map((point, index) => {
          const without = () => set({ [slot.name]: points.filter((_, each) => each !== index) });
          return tile(page, point, { label: `${slot.letter}: `, onclick: () => page.take(point), keys: { Delete: without, Backspace: without },
            more: [h("button", { type: "button", class: "pin", title: "Remove", "aria-label": `Remove image ${index + 1} from ${slot.letter}`, onclick: without }, "×")] });
        }));
      }
      amount.value = now.sums.amount;
      out.textContent = now.sums.amount.toFixed(2);
      use.disabled = !now.sums.a.length;
      if (!now.sums.a.length) { asked = ""; canvas.width = canvas.width; return; }
      const point = result(), key = JSON.stringify(point);
      if (key !== asked) { asked = key; drawn(point); }
    },
  };
}
