// A photo and the same photo enlarged, with a slider between them.
import { fetchRaw } from "../../lib/api.js";
import { h, notice } from "../../lib/dom.js";
import { save } from "./pixels.js";
import { actions } from "./result.js";
import { chooser } from "./upload.js";

export async function show(place, about, { api }) {
  const ended = new AbortController(), { signal } = ended;
  const times = about.source_shape ? about.width / about.source_shape[2] : 4;
  const problem = (error) => { if (error.name !== "AbortError") notice(error.message, { error: true }); };
  let file = null, answer = null, addresses = [], running = null;

  const before = h("img", { alt: "Before" }), after = h("img", { alt: "After" });
  const divider = h("input", { type: "range", min: "0", max: "100", value: "50", step: "0.5", class: "divider", "aria-label": "From the enlarged image to the original", oninput: () => split() });
  const stageOf = h("div", { class: "compare" }, before, h("div", { class: "after" }, after), h("div", { class: "handle", "aria-hidden": "true" }), divider);
  const labels = h("div", { class: "row compare-labels quiet" }, h("span", {}, "enlarged by the model"), h("span", {}, "original"));
  const smooth = h("select", { id: "smooth", onchange: () => { before.className = smooth.value; } }, h("option", { value: "" }, "smooth"), h("option", { value: "pixels" }, "as pixels"));
  const zoom = h("select", { id: "zoom", onchange: () => { stageOf.classList.toggle("full", zoom.value === "full"); } }, h("option", { value: "fit" }, "fit the page"), h("option", { value: "full" }, "every pixel"));
  const status = h("p", { class: "quiet", role: "status" }), cancel = h("button", { type: "button", hidden: true, onclick: () => running?.abort() }, "Cancel");
  const result = h("section", { hidden: true, "aria-label": "Before and after" }, h("div", { class: "row" }, h("label", { class: "inline", for: "smooth" }, "original"), smooth, h("label", { class: "inline", for: "zoom" }, "size"), zoom), h("div", { class: "compare-frame" }, stageOf), labels,
    actions({ api, kind: "upload", body: () => ({ kind: "apply", file: file?.name ?? "photo.png", size: "training" }), download: () => save(new Response(answer), `${(file?.name ?? "photo").replace(/\.[^.]*$/, "")}-x${times}.png`) }));
  const choose = chooser({ api, label: "Choose a photo", signal, problem, take: enlarge, hint: `up to ${(about.most_pixels / 2 ** 20).toFixed(0)} million pixels and 8 MB` });
  place.append(h("p", { class: "help" }, `Each side becomes ${times} times as long. A photo of 256×256 takes some seconds on two cores.`), choose.element, h("div", { class: "row" }, status, cancel), result);

  function split() {
    stageOf.style.setProperty("--split", `${divider.value}%`);
  }
  async function enlarge(chosen) {
    running?.abort();
    const mine = (running = new AbortController());
    signal.addEventListener("abort", () => mine.abort());
    cancel.hidden = false;
    const began = performance.now(), watch = setInterval(() => { status.textContent = `Enlarging … ${Math.round((performance.now() - began) / 1000)} s`; }, 500);
    status.textContent = "Enlarging …";
    try {
      const blob = await (await fetchRaw("POST", `${api}/apply?size=own`, chosen, { signal: mine.signal })).blob();
      addresses.forEach((each) => URL.revokeObjectURL(each));
      addresses = [URL.createObjectURL(chosen), URL.createObjectURL(blob)];
      [before.src, after.src] = addresses;
      await Promise.all([before.decode(), after.decode()]);
      result.style.setProperty("--ratio", `${after.naturalWidth} / ${after.naturalHeight}`);
      stageOf.style.setProperty("--full", `${after.naturalWidth}px`);
      file = chosen;
      answer = blob;
      result.hidden = false;
      status.textContent = `${before.naturalWidth}×${before.naturalHeight} → ${after.naturalWidth}×${after.naturalHeight}, ${((performance.now() - began) / 1000).toFixed(1)} s`;
      split();
    } catch (error) { status.textContent = ""; problem(error); } finally { clearInterval(watch); if (running === mine) { cancel.hidden = true; running = null; } }
  }
  return () => { ended.abort(); addresses.forEach((each) => URL.revokeObjectURL(each)); };
}
