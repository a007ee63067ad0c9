// Choosing an image: a file, dropped or pasted, or one of the data.
import { fetchRaw } from "../../lib/api.js";
import { h } from "../../lib/dom.js";

export const MOST_BYTES = 8 * 2 ** 20;

/** A place to choose an image; `take(blob)` gets it. `example`: whether one of the data is offered. */
export function chooser({ api, label, take, example = false, signal, problem, hint = "PNG, JPEG, WebP, GIF or BMP, up to 8 MB" }) {
  const input = h("input", { type: "file", accept: "image/png,image/jpeg,image/webp,image/gif,image/bmp", class: "visually-hidden", "aria-label": label,
    onchange: () => { if (input.files[0]) given(input.files[0]); input.value = ""; } });
  const given = (file) => (file.size > MOST_BYTES ? problem(new Error(`${file.name || "the image"} has ${(file.size / 2 ** 20).toFixed(1)} MB: expected at most 8 MB`)) : take(file));
  const element = h("div", { class: "chooser" },
    h("label", { class: "button-like" }, label, input),
    example && h("button", { type: "button", onclick: async () => {
      try {
        const blob = await (await fetchRaw("GET", `${api}/example?seed=${Math.floor(Math.random() * 1e6)}`, undefined, { signal })).blob();
        take(new File([blob], "example.png", { type: "image/png" }));
      } catch (error) { problem(error); }
    } }, "One of the data"),
    h("small", { class: "quiet" }, `or drop or paste one here: ${hint}`));
  element.addEventListener("dragover", (event) => { if (event.dataTransfer.types.includes("Files")) { event.preventDefault(); element.classList.add("over"); } });
  element.addEventListener("dragleave", () => element.classList.remove("over"));
  element.addEventListener("drop", (event) => {
    element.classList.remove("over");
    if (!event.dataTransfer.files.length) return;
    event.preventDefault();
    given(event.dataTransfer.files[0]);
  });
  addEventListener("paste", (event) => {
    const file = [...(event.clipboardData?.files ?? [])][0];
    if (file && element.isConnected) given(file);
  }, { signal });
  return { element, input };
}
