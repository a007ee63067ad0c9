// The upper part of an image, and what the model makes of the rest, row by row.
import { fetchRaw } from "../../lib/api.js";
import { h, notice } from "../../lib/dom.js";
import { save, spread } from "./pixels.js";
import { actions } from "./result.js";
import { chooser } from "./upload.js";

const COUNT = 6;

export async function show(place, about, { api }) {
  const ended = new AbortController(), { signal } = ended;
  const { width, height } = about;
  const problem = (error) => { if (error.name !== "AbortError") notice(error.message, { error: true }); };
  let file = null, running = null, seed = 0, label = null;
  const source = h("canvas", { class: "pixels", width, height, role: "img", "aria-label": "Your image, with the rows that are kept" });
  const results = Array.from({ length: COUNT }, (_, index) => h("canvas", { class: "pixels", width, height, role: "img", "aria-label": `Completion ${index + 1}` }));
  const rows = h("input", { type: "range", min: "1", max: String(height - 1), value: String(Math.floor(height / 2)), id: "rows", oninput: () => { out.textContent = rows.value; keep(); }, onchange: () => complete() });
  const out = h("output", {}, rows.value), status = h("p", { class: "quiet", role: "status" });
  const bar = h("progress", { max: String(height), value: 0, "aria-label": "Rows" });
  const classes = about.classes.map((name, number) => h("button", { type: "button", onclick: () => { label = number; tell(); complete(); } }, name));
  const again = h("button", { type: "button", class: "primary", disabled: true, onclick: () => { seed += 1; complete(); } }, "Complete again");
  const choose = chooser({ api, label: "Choose an image", example: true, signal, problem, take: (chosen) => { file = chosen; complete(); } });
  place.append(h("p", { class: "help" }, `The rows above the line are kept; ${about.system} samples the others pixel by pixel, each given all before it. Six different endings.`),
    classes.length ? h("div", { class: "row classes", role: "group", "aria-label": "Class" }, h("span", { class: "quiet" }, "Class"), ...classes) : "",
    choose.element,
    h("label", { class: "slider" }, h("span", {}, "Rows kept"), rows, out), bar,
    h("div", { class: "completions" }, h("figure", {}, h("div", { class: "frame small" }, source), h("figcaption", {}, "yours")), ...results.map((canvas) => h("figure", {}, h("div", { class: "frame small" }, canvas)))),
    h("div", { class: "row" }, again, status),
    actions({ api, kind: "upload", body: () => ({ kind: "complete", file: file?.name ?? "image.png", rows: +rows.value, count: COUNT, seed, label }),
              download: async () => {
                if (!file) throw new Error("Choose an image first.");
                await save(await fetchRaw("POST", `${api}/complete/download?${query()}`, file, { signal }), `${about.name}-completions.png`);
              } }));

  const query = () => new URLSearchParams({ rows: rows.value, count: COUNT, seed, ...(label === null ? {} : { label }) });
  const tell = () => classes.forEach((button, number) => button.setAttribute("aria-pressed", number === label));
  function keep() {
    const pen = source.getContext("2d");
    pen.fillStyle = "#888";
    pen.fillRect(0, +rows.value, width, height);
  }
  async function complete() {
    if (!file) return;
    running?.abort();
    const mine = (running = new AbortController());
    signal.addEventListener("abort", () => mine.abort());
    status.textContent = "";
    again.disabled = false;
    try {
      const response = await fetchRaw("POST", `${api}/complete?${query()}`, file, { signal: mine.signal });
      const [count, tall, wide, channels] = response.headers.get("X-Shape").split(",").map(Number);
      keep();
      results.forEach((canvas) => canvas.getContext("2d").clearRect(0, 0, width, height));
      const reader = response.body.getReader(), size = count * wide * channels;
      let rest = new Uint8Array(0), row = 0;
      for (;;) {
        const { done, value } = await reader.read();
        if (done) break;
        const together = new Uint8Array(rest.length + value.length);
        together.set(rest);
        together.set(value, rest.length);
        let from = 0;
        for (; from + size <= together.length; from += size, row++) {
          for (let index = 0; index < count; index++) {
            const line = spread(together.subarray(from + index * wide * channels, from + (index + 1) * wide * channels), wide, 1, channels);
            results[index].getContext("2d").putImageData(line, 0, row);
            if (index === 0 && row < +rows.value) source.getContext("2d").putImageData(line, 0, row);
          }
          bar.value = row + 1;
        }
        rest = together.subarray(from);
      }
      if (row < tall) throw new Error("The completion ended early: see the studio's terminal.");
      status.textContent = `Completed ${count} times.`;
    } catch (error) { problem(error); } finally { if (running === mine) running = null; }
  }
  tell();
  return () => ended.abort();
}
