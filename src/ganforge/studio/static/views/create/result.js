// What every result has: a file, a link, and how it is made again.
import { fetchRaw, post } from "../../lib/api.js";
import { command, copy, h, notice, question } from "../../lib/dom.js";
import { save } from "./pixels.js";

/** Buttons for a result. `body()` is what the server needs to make it again. */
export function actions({ api, kind, body, download, link, more = [] }) {
  return h("div", { class: "row actions", role: "group", "aria-label": "This result" },
    download && h("button", { type: "button", class: "primary", onclick: guarded(download) }, "Download"), ...more,
    h("button", { type: "button", onclick: guarded(() => remake(`${api}/recipe/${kind}`, body())) }, "How to remake it"),
    link && h("button", { type: "button", onclick: () => copy(link()) }, "Copy link"));
}

export const guarded = (action) => async (event) => {
  try { await action(event); } catch (error) { if (error.name !== "AbortError") notice(error.message, { error: true }); }
};

export async function downloadFile(path, body, name) { await save(await fetchRaw("POST", path, body), name); }

/** A dialog with the command, the Python and the provenance of a result. */
export async function remake(path, body) {
  const recipe = await post(path, body);
  const rows = Object.entries(recipe.about).filter(([, value]) => value !== "");
  await question("How to remake it", h("div", { class: "recipe" },
    h("h3", {}, "Command"),
    recipe.command ? command(recipe.command) : h("p", { class: "quiet" }, "No single command makes this one; the Python does."),
    h("h3", {}, "Python"), h("pre", { tabIndex: 0, "aria-label": "Python" }, h("code", {}, recipe.python)),
    h("button", { type: "button", onclick: () => copy(recipe.python) }, "Copy Python"),
    h("h3", {}, "Provenance"), h("p", { class: "quiet" }, "A downloaded file has it inside; “ganforge info FILE” shows it."),
    h("div", { class: "scroll" }, h("table", {}, ...rows.map(([name, value]) => h("tr", {}, h("th", {}, name), h("td", {}, value)))))), { yes: "Close", no: null });
}
