// A drawing that is translated while it is made: pen, eraser, symmetry, or an image of one's own.
import { fetchRaw } from "../../lib/api.js";
import { h, notice } from "../../lib/dom.js";
import { newest, save } from "./pixels.js";
import { actions } from "./result.js";
import { linkOf, stateOf, store } from "./state.js";
import { chooser } from "./upload.js";

const SIDE = 512, SENT = 4; // pixels of the canvas; times the size of the model's sources that is sent
const WIDTHS = [4, 8, 14, 24];
const round = (value) => Math.round(value * 10) / 10;

export async function show(place, about, { api, hash, query }) {
  const ended = new AbortController(), { signal } = ended;
  const [, height, width] = about.source_shape, tall = Math.round((SIDE * height) / width);
  const first = stateOf(query, { strokes: [], seed: 0, lines: about.uses_lines ? "thin" : "keep" });
  const state = store(first, () => update());
  const paper = h("canvas", { width: SIDE, height: tall, class: "paper", tabIndex: 0, role: "img", "aria-label": "Drawing: draw with the pointer, or upload an image" });
  const context = paper.getContext("2d");
  const result = h("img", { class: "pixels big", alt: "The translated drawing" }), blank = h("p", { class: "quiet blank" }, "Draw something: an apple, a face, a fish.");
  let tool = "pen", size = WIDTHS[1], symmetric = false, stroke = null, photo = null, file = null, address = null, answer = null;

  const toolButtons = [["pen", "Pen"], ["eraser", "Eraser"]].map(([name, label]) => h("button", { type: "button", onclick: () => { tool = name; tell(); } }, label));
  const widths = h("input", { type: "range", min: "2", max: "40", step: "1", "aria-label": "Width of the pen", oninput: () => { size = +widths.value; tell(); } });
  const mirror = h("button", { type: "button", onclick: () => { symmetric = !symmetric; tell(); } }, "Symmetric");
  const undo = h("button", { type: "button", onclick: () => state.undo(), "aria-keyshortcuts": "Control+Z", "aria-label": "Undo", title: "Undo" }, "↶");
  const redo = h("button", { type: "button", onclick: () => state.redo(), "aria-keyshortcuts": "Control+Shift+Z", "aria-label": "Redo", title: "Redo" }, "↷");
  const wipe = h("button", { type: "button", onclick: () => { photo = null; file = null; state.change({ strokes: [] }); } }, "Clear");
  const notes = h("p", { class: "quiet notes", role: "status" });
  const problem = (error) => { if (error.name !== "AbortError") notice(error.message, { error: true }); };
  const lines = about.uses_lines && h("select", { id: "lines", "aria-label": "Lines", onchange: () => state.change({ lines: lines.value }) },
    h("option", { value: "thin" }, "thin the lines, as in training"), h("option", { value: "edges" }, "find the edges of any image"), h("option", { value: "keep" }, "keep it as it is"));
  const choose = chooser({ api, label: "Upload an image", signal, problem, take: async (chosen) => {
    try { photo = await createImageBitmap(chosen); } catch { return void problem(new Error("This is no image that a browser can read: choose a PNG, JPEG or WebP")); }
    file = chosen;
    state.change({ strokes: [] });
  } });
  const widthText = h("output");

  place.append(h("div", { class: "drawing" },
    h("section", { "aria-label": "Drawing" },
      h("div", { class: "row toolbar", role: "group", "aria-label": "Tools" }, ...toolButtons, h("label", { class: "inline" }, "width ", widths, widthText), mirror, undo, redo, wipe),
      h("div", { class: "frame" }, paper),
      choose.element),
    h("section", { "aria-label": "Result", class: "translated" },
      h("div", { class: "row toolbar" },
        lines && h("label", { class: "inline", for: "lines" }, "lines "), lines,
        h("button", { type: "button", onclick: () => state.change({ seed: state.get().seed + 1 }), title: "The model draws some noise: another seed, another version" }, "Another version")),
      h("div", { class: "frame" }, result, blank),
      actions({ api, kind: "upload", body: () => ({ kind: "apply", file: file?.name ?? "drawing.png", lines: state.get().lines, seed: state.get().seed }),
                download: async () => { if (answer) await save(new Response(answer), `${about.name}.png`); else problem(new Error("Draw something first.")); },
                link: () => linkOf(hash, state.get()),
                more: [h("button", { type: "button", onclick: async () => save(new Response(await picture(SIDE)), "drawing.png") }, "Download drawing")] }),
      notes)));

  const ink = (event) => {
    const box = paper.getBoundingClientRect();
    return [round(((event.clientX - box.left) / box.width) * SIDE), round(((event.clientY - box.top) / box.height) * tall)];
  };
  paper.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    paper.setPointerCapture(event.pointerId);
    stroke = { tool, size, symmetric, points: [ink(event)] };
    event.preventDefault();
    draw();
  });
  paper.addEventListener("pointermove", (event) => {
    if (!stroke) return;
    for (const each of event.getCoalescedEvents?.() ?? [event]) stroke.points.push(ink(each));
    draw();
    translate();
  });
  const finish = () => { if (!stroke) return; const done = stroke; stroke = null; state.change({ strokes: [...state.get().strokes, done] }); };
  paper.addEventListener("pointerup", finish);
  paper.addEventListener("pointercancel", finish);

  function line(where, { tool: by, size: wide, points, symmetric: twice }) {
    where.strokeStyle = where.fillStyle = by === "pen" ? "#000" : "#fff";
    where.lineWidth = wide;
    where.lineCap = where.lineJoin = "round";
    for (const flip of twice ? [false, true] : [false]) {
      const at = points.map(([x, y]) => [flip ? SIDE - x : x, y]);
      where.beginPath();
      where.moveTo(...at[0]);
      if (at.length === 1) where.lineTo(at[0][0] + 0.01, at[0][1]);
      for (let index = 1; index < at.length; index++) where.lineTo(...at[index]);
      where.stroke();
    }
  }
  function drawOn(where) {
    where.fillStyle = "#fff";
    where.fillRect(0, 0, SIDE, tall);
    if (photo) {
      const scale = Math.min(SIDE / photo.width, tall / photo.height), [w, t] = [photo.width * scale, photo.height * scale];
      where.drawImage(photo, (SIDE - w) / 2, (tall - t) / 2, w, t);
    }
    for (const each of [...state.get().strokes, ...(stroke ? [stroke] : [])]) line(where, each);
  }
  function draw() {
    drawOn(context);
    if (symmetric) { context.save(); context.strokeStyle = "#7a9cc6"; context.lineWidth = 1; context.setLineDash([6, 6]); context.beginPath(); context.moveTo(SIDE / 2, 0); context.lineTo(SIDE / 2, tall); context.stroke(); context.restore(); }
  }
  function picture(wide) {
    const copy_ = document.createElement("canvas");
    copy_.width = wide;
    copy_.height = Math.round((wide * height) / width);
    const where = copy_.getContext("2d");
    where.scale(wide / SIDE, wide / SIDE);
    drawOn(where);
    return new Promise((resolve) => copy_.toBlob(resolve, "image/png"));
  }
  const isEmpty = () => !photo && !stroke && !state.get().strokes.length;
  const translated = newest(async () => {
    const { lines: how, seed } = state.get();
    const untouched = photo && !stroke && !state.get().strokes.length; // then the file itself, at its own size
    const body = untouched ? file : await picture(Math.min(SIDE, width * (how === "thin" ? SENT / 2 : SENT)));
    const response = await fetchRaw("POST", `${api}/apply?lines=${how}&seed=${seed}`, body, { signal });
    return { blob: await response.blob(), notes: JSON.parse(response.headers.get("X-Notes") ?? "[]") };
  }, (made) => {
    if (isEmpty()) return;
    answer = made.blob;
    if (address) URL.revokeObjectURL(address);
    result.src = address = URL.createObjectURL(made.blob);
    result.dataset.count = +(result.dataset.count ?? 0) + 1;
    result.hidden = false;
    blank.hidden = true;
    notes.textContent = made.notes.filter((note) => !note.startsWith("resized") && !note.startsWith("lines thinned")).map((note) => note.replace(/\(--lines edges .*?\)/, "— choose “find the edges” above")).join("; ");
  }, problem);
  const translate = () => { if (!isEmpty()) translated(performance.now()); };

  function tell() {
    toolButtons.forEach((button, index) => button.setAttribute("aria-pressed", (index ? "eraser" : "pen") === tool));
    mirror.setAttribute("aria-pressed", symmetric);
    widths.value = size;
    widthText.textContent = ` ${size}`;
    draw();
  }
  function update() {
    undo.disabled = !state.canUndo();
    redo.disabled = !state.canRedo();
    if (lines) lines.value = state.get().lines;
    tell();
    if (isEmpty()) { result.hidden = true; blank.hidden = false; notes.textContent = ""; answer = null; delete result.dataset.count; } else translate();
  }
  addEventListener("keydown", (event) => {
    if (!(event.ctrlKey || event.metaKey) || event.key.toLowerCase() !== "z") return;
    event.preventDefault();
    if (event.shiftKey) state.redo(); else state.undo();
  }, { signal });
  update();
  return () => { ended.abort(); if (address) URL.revokeObjectURL(address); };
}
