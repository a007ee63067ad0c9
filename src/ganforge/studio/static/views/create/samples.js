// The grid of samples: redraw those that are not pinned, or draw neighbours of the image.
import { h } from "../../lib/dom.js";
import { near, randomSeed, same, seed } from "./points.js";
import { takesTiles, tile } from "./tile.js";

export function samples(page) {
  const { state, about } = page, grid = h("div", { class: "samples" });
  const redraw = (make) => state.change({ samples: state.get().samples.map((each) => (each.pinned ? each : { terms: make() })) });
  const out = h("output"), variety = h("input", {
    type: "range", min: "0.3", max: "3.1", step: "0.1", id: "truncation",
    oninput: () => state.change({ truncation: +variety.value > 3 ? null : +variety.value }, "truncation") });
  const much = h("input", { type: "range", min: "0.05", max: "0.9", step: "0.05", id: "variation", oninput: () => state.touch({ variation: +much.value }) });
  const element = h("section", { "aria-label": "Samples" },
    h("div", { class: "row bar-of-samples" }, h("h2", {}, "Samples"),
      h("button", { type: "button", onclick: () => redraw(() => seed(randomSeed())) }, "Redraw"),
      h("button", { type: "button", onclick: () => redraw(() => near(state.get().terms, state.get().variation, about.gaussian)) }, "More like the image"),
      h("label", { class: "inline" }, "how different ", much),
      about.truncates && h("label", { class: "inline" }, "truncation ", variety, " ", out)),
    grid, h("p", { class: "quiet hint" }, "Click a sample to show it, pin it to keep it when the others are redrawn, drag it into a path or a sum. Keys on a sample: P pins, A adds it to the path."));
  takesTiles(element, (point) => state.change({ samples: [{ ...point, pinned: true }, ...state.get().samples.slice(0, -1)] }));
  let shown = [];

  const strip = ({ pinned: _, ...point }) => point;
  function pin(index) {
    const list = [...state.get().samples], each = list[index];
    list[index] = each.pinned ? { terms: each.terms } : { ...page.point(each.terms), pinned: true };
    state.change({ samples: list });
  }
  const addToPath = (point) => { const { path } = state.get(); state.change({ tab: "path", path: { ...path, points: [...path.points, point] } }); };

  function cells(now) {
    if (!about.text || now.prompts.length < 2) return now.samples.map((each, index) => ({ index, pinned: each.pinned, point: each.pinned ? strip(each) : page.point(each.terms) }));
    const columns = 12;
    return now.prompts.flatMap((text, prompt) => now.samples.slice(0, columns).map((each, index) =>
      ({ index, prompt, pinned: each.pinned && prompt === now.active, point: each.pinned && prompt === now.active ? strip(each) : page.point(each.terms, prompt) })));
  }
  function make(cell, current) {
    const label = cell.prompt === undefined ? `Sample ${cell.index + 1}: ` : "";
    return tile(page, cell.point, {
      label, current, onclick: () => page.take(cell.point), keys: { p: () => pin(cell.index), a: () => addToPath(cell.point) },
      more: [h("button", { type: "button", class: "pin", "aria-pressed": cell.pinned ? "true" : "false", "aria-label": `Pin sample ${cell.index + 1}`, title: cell.pinned ? "Unpin" : "Pin", onclick: () => pin(cell.index) }, "⚲")],
    });
  }
  return {
    element,
    update(now) {
      out.textContent = now.truncation === null ? "off" : now.truncation.toFixed(1);
      variety.value = now.truncation ?? 3.1;
      much.value = now.variation;
      const at = JSON.stringify(page.current());
      const next = cells(now).map((cell) => ({ ...cell, key: JSON.stringify([cell.point, cell.pinned ?? false]), current: JSON.stringify(cell.point) === at }));
      const focused = [...grid.children].findIndex((child) => child.contains(document.activeElement)), onPin = document.activeElement?.classList.contains("pin");
      next.forEach((cell, index) => {
        const before = shown[index];
        if (before && before.key === cell.key && before.index === cell.index) {
          if (before.current !== cell.current) { const show = grid.children[index].querySelector(".show"); if (cell.current) show.setAttribute("aria-current", "true"); else show.removeAttribute("aria-current"); }
          return;
        }
        const made = make(cell, cell.current), old = grid.children[index];
        if (old && before && same(before.point, cell.point)) made.querySelector("canvas").replaceWith(old.querySelector("canvas"));
        if (old) old.replaceWith(made); else grid.append(made);
      });
      while (grid.children.length > next.length) grid.lastChild.remove();
      if (focused >= 0 && !grid.contains(document.activeElement)) grid.children[focused]?.querySelector(onPin ? ".pin" : ".show")?.focus({ preventScroll: true });
      shown = next;
    },
  };
}
