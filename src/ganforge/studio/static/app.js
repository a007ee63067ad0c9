// The shell: which view an address shows, the theme, and keys that work everywhere.
import { clear, h, notice, question } from "./lib/dom.js";

// Address -> module. A view exports `async show(place, { path, query })`, which fills `place` and may return a
// function that ends what it started; and `title`.
const VIEWS = {
  "": "home", runs: "runs", run: "run", new: "new", compare: "compare", play: "play", create: "create", learn: "learn",
};
const KEYS = [["g then h", "home"], ["g then p", "playground"], ["g then r", "runs"], ["g then c", "create"], ["g then l", "learn"],
              ["n", "new training"], ["?", "this list"], ["Esc", "close"]];
const MILLISECONDS_BETWEEN_KEYS = 1000;
let ended = null, visit = 0;

/** The parts of an address: #/run/NAME?x=1 -> view "run", path ["NAME"], query {x: "1"}. */
function read(hash) {
  const [path, query] = hash.replace(/^#\/?/, "").split("?");
  const [view, ...rest] = path.split("/").map(decodeURIComponent);
  return { view, path: rest, query: Object.fromEntries(new URLSearchParams(query ?? "")) };
}

async function go() {
  const { view, path, query } = read(location.hash), place = document.getElementById("view"), mine = ++visit;
  if (ended) ended();
  ended = null;
  document.getElementById("dialog").close("");  // a question of the view that is left
  document.querySelector("#notice.error")?.replaceChildren();  // of the view that is left
  const name = VIEWS[view];
  for (const link of document.querySelectorAll("header nav a")) {
    const own = read(link.getAttribute("href")).view;
    const here = own === view || (own === "runs" && ["run", "new", "compare"].includes(view));
    if (here) link.setAttribute("aria-current", "page"); else link.removeAttribute("aria-current");
  }
  if (name === undefined) return void clear(place, h("h1", {}, "No such page"), h("p", {}, h("a", { href: "#/" }, "Start again")));
  try {
    const module = await import(`./views/${name}.js`);
    if (mine !== visit) return;
    const inner = h("div", { class: `view view-${name}` });
    document.title = `${module.title} · ganforge studio`;
    clear(place, inner);
    place.focus({ preventScroll: true });
    scrollTo(0, 0);
    const end = await module.show(inner, { path, query });
    if (mine !== visit) { if (end) end(); } else ended = end ?? null;
  } catch (error) {
    if (mine !== visit) return;
    clear(place, h("h1", {}, "This view cannot be shown"), h("p", {}, error.message),
      h("p", {}, h("button", { type: "button", onclick: go }, "Try again"), " ", h("a", { href: "#/" }, "or start again")));
  }
}

document.querySelector(".skip").addEventListener("click", (event) => { // without leaving the address of the view
  event.preventDefault();
  document.getElementById("view").focus();
});

const theme = document.getElementById("theme");
function setTheme(value) {
  if (value) document.documentElement.dataset.theme = value; else delete document.documentElement.dataset.theme;
}
setTheme(localStorage.getItem("theme"));
theme.addEventListener("click", () => {
  const dark = document.documentElement.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  const next = dark === "dark" ? "light" : "dark";
  localStorage.setItem("theme", next);
  setTheme(next);
  dispatchEvent(new Event("themechange"));
});

const showKeys = () => question("Keys", h("table", {}, ...KEYS.map(([key, what]) => h("tr", {}, h("th", {}, h("kbd", {}, key)), h("td", {}, what)))), { yes: "Close", no: null });
document.getElementById("keys").addEventListener("click", showKeys);
let after = "", pressedAt = 0;
addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || document.getElementById("dialog").open) return;
  if (event.target.closest("input, textarea, select, [contenteditable]")) return;
  const places = { h: "#/", p: "#/play", r: "#/runs", c: "#/create", l: "#/learn" };
  if (event.defaultPrevented) { after = ""; return; }  // the view has used it
  const soon = Date.now() - pressedAt < MILLISECONDS_BETWEEN_KEYS;
  if (after === "g" && soon && places[event.key]) { location.hash = places[event.key]; event.preventDefault(); }
  else if (event.key === "?") { showKeys(); event.preventDefault(); }
  else if (event.key === "n") { location.hash = "#/new"; event.preventDefault(); }
  after = event.key;
  pressedAt = Date.now();
});
addEventListener("unhandledrejection", (event) => { if (event.reason?.name !== "AbortError") notice(event.reason?.message ?? "Something went wrong.", { error: true }); });
addEventListener("hashchange", go);
go();
