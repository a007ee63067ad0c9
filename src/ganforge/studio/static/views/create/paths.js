// Interpolation: a row of images, the animation between them, and its export.
import { fetchRaw } from "../../lib/api.js";
import { h } from "../../lib/dom.js";
import { imagesOf, newest, paint } from "./pixels.js";
import { randomSeed, seed } from "./points.js";
import { actions, downloadFile, guarded } from "./result.js";
import { takesTiles, tile } from "./tile.js";

const CALM = matchMedia("(prefers-reduced-motion: reduce)");

export function paths(page) {
  const { state, about, api, signal } = page;
  const row = h("div", { class: "path-row", role: "group", "aria-label": "Images on the path, in order" });
  const canvas = h("canvas", { class: "pixels", width: about.width, height: about.height, role: "img", "aria-label": "The animation" });
  const play = h("button", { type: "button", onclick: () => { playing = !playing; tell(); } });
  const scrub = h("input", { type: "range", min: "0", max: "1", step: "1", "aria-label": "Place on the path", oninput: () => { playing = false; at = +scrub.value; tell(); draw(); } });
  const frames = numberField("Frames", 2, 250, (value) => set({ frames: value })), rate = numberField("Frames a second", 1, 50, (value) => set({ rate: value }));
  const closed = h("input", { type: "checkbox", id: "closed", onchange: () => set({ closed: closed.checked }) });
  const status = h("p", { class: "quiet", role: "status" });
  const set = (parts) => state.change({ path: { ...state.get().path, ...parts } });
  const put = (points) => set({ points });
  const body = (form) => { const { points, ...rest } = state.get().path; return { points, own: page.render.used(points), ...rest, form }; };
  const keep = (form) => guarded(async () => {
    status.textContent = `Writing a ${form} …`;
    try { await downloadFile(`${api}/path`, body(form), `${about.name}.${form}`); status.textContent = `Saved ${about.name}.${form}.`; } catch (error) { status.textContent = ""; throw error; }
  });
  const element = h("div", {},
    h("p", { class: "quiet help" }, "Drag samples here, or add the large image. Drag within the row to change the order."),
    row,
    h("div", { class: "row" },
      h("button", { type: "button", onclick: () => put([...state.get().path.points, page.current()]) }, "Add the image"),
      h("button", { type: "button", onclick: () => put([...state.get().path.points, page.point(seed(randomSeed()))]) }, "Add a random one"),
      h("button", { type: "button", class: "quiet", onclick: () => put([]) }, "Clear")),
    h("div", { class: "preview" },
      h("div", { class: "frame small" }, canvas),
      h("div", { class: "settings" },
        h("div", { class: "row" }, play, h("div", { class: "grow" }, scrub)),
        h("div", { class: "row" }, frames.element, rate.element, h("label", { class: "inline", for: "closed" }, closed, " loop")),
        h("div", { class: "row", role: "group", "aria-label": "Download the video" }, h("span", { class: "quiet" }, "Video:"), ...["gif", "webp", ...(about.video ? ["mp4"] : [])].map((form, index) => h("button", { type: "button", class: index ? "" : "primary", onclick: keep(form) }, form.toUpperCase())),
          about.video ? null : h("small", { class: "quiet" }, "MP4 needs: pip install 'ganforge[video]'")),
        actions({ api, kind: "path", body: () => body("raw"),
                  more: [h("button", { type: "button", onclick: guarded(() => downloadFile(`${api}/path`, body("png"), `${about.name}-strip.png`)) }, "Strip as PNG")] }), status)));
  let images = [], playing = !CALM.matches, at = 0, since = 0, timer = null, asked = "", points = "";

  function tell() {
    play.textContent = playing ? "Pause" : "Play";
  }
  function draw() {
    if (!images.length) return;
    const index = Math.min(Math.floor(at), images.length - 1);
    paint(canvas, images[index]);
    canvas.dataset.frame = index;
    scrub.value = index;
  }
  let back = 1;
  function tick(time) {
    const { path } = state.get();
    if (playing && images.length > 1) {
      at += back * Math.min(0.2, (time - since) / 1000) * path.rate;
      if (path.closed) at %= images.length;
      else if (at >= images.length - 1) { at = images.length - 1; back = -1; } else if (at <= 0) { at = 0; back = 1; }
      if (at < 0) at = 0;
      draw();
    }
    since = time;
    timer = requestAnimationFrame(tick);
  }
  const fetched = newest((wanted) => fetchRaw("POST", `${api}/path`, wanted, { signal }).then(imagesOf), (made) => {
    images = made;
    scrub.max = images.length - 1;
    status.textContent = `${images.length} frames, ${(images.length / state.get().path.rate).toFixed(1)} s`;
    at = Math.min(at, images.length - 1);
    draw();
  }, (error) => { images = []; status.textContent = ""; page.problem(error); });

  function keyTile(point, index, all) {
    const move = (to) => { if (to < 0 || to >= all.length) return; const list = [...all]; list.splice(index, 1); list.splice(to, 0, point); put(list); row.querySelectorAll(".show")[to]?.focus(); };
    const without = () => put(all.filter((_, each) => each !== index));
    const made = tile(page, point, {
      label: `${index + 1} of ${all.length}: `, onclick: () => page.take(point), keys: { ArrowLeft: () => move(index - 1), ArrowRight: () => move(index + 1), Delete: without, Backspace: without },
      more: [h("button", { type: "button", class: "pin", "aria-label": `Remove image ${index + 1} from the path`, title: "Remove", onclick: without }, "×")],
    });
    made.querySelector(".show").addEventListener("dragstart", (event) => event.dataTransfer.setData("application/x-ganforge-place", String(index)));
    return takesTiles(made, (dropped, event) => insert(dropped, index, event));
  }
  function insert(point, index, event) {
    const list = [...state.get().path.points], from = event.dataTransfer.getData("application/x-ganforge-place");
    if (from !== "") list.splice(+from, 1);
    list.splice(index, 0, point);
    put(list);
  }
  takesTiles(row, (point, event) => insert(point, state.get().path.points.length, event));

  return {
    element,
    update(now) {
      if (!now.path.points.length && !points) { // something moves from the beginning
        points = "filled";
        const fresh = now.samples.slice(0, 4).map((each) => { const { pinned: _, ...point } = each; return each.pinned ? point : page.point(each.terms); });
        return void queueMicrotask(() => state.touch({ path: { ...state.get().path, points: fresh } }));
      }
      frames.input.value = now.path.frames;
      rate.input.value = now.path.rate;
      closed.checked = now.path.closed;
      const key = JSON.stringify(now.path.points);
      if (key !== points) { points = key; row.replaceChildren(...now.path.points.map(keyTile)); }
      row.classList.toggle("empty", !now.path.points.length);
      const { rate: _, ...wanted } = body("raw"), text = JSON.stringify(wanted);
      if (now.path.points.length < 2) { images = []; asked = ""; status.textContent = "Two images or more make a path."; } else if (text !== asked) { asked = text; fetched(wanted); }
      if (timer === null) { since = performance.now(); timer = requestAnimationFrame(tick); }
      tell();
    },
    hide() { cancelAnimationFrame(timer); timer = null; },
  };
}

function numberField(label, low, high, set) {
  const input = h("input", { type: "number", min: String(low), max: String(high), onchange: () => set(Math.max(low, Math.min(high, Math.round(+input.value) || low))) });
  return { input, element: h("label", { class: "inline" }, `${label} `, input) };
}
