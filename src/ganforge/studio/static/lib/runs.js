// What several views share about runs: their badge, grid and actions.
import { get, post, remove } from "./api.js";
import { h, notice, question } from "./dom.js";
import { duration, number } from "./text.js";

/** The state of a run, with a sign where its diagnosis warns. */
export const badge = (state, warned = false) => h("span", { class: `badge ${(state ?? "").replaceAll(" ", "-")}${warned ? " warned" : ""}` }, warned ? `${state}, with warnings` : state ?? "");
export const gridAddress = (name, step) => `/api/runs/${encodeURIComponent(name)}/samples/${step}.png`;

export function progress(run) {
  const text = `step ${number(run.step)} of ${number(run.steps)}${run.seconds_left ? `, ${duration(run.seconds_left)} left` : ""}`;
  return [h("progress", { max: run.steps || 1, value: run.step || 0, "aria-label": `${run.name}: ${text}` }), h("small", { class: "quiet" }, text)];
}

/** Stop, resume, clone or remove: what fits the state of `run`; `again` is called after each. */
export function actions(run, again) {
  const act = (what) => async () => {
    try { await what(); } catch (error) { notice(error.message, { error: true }); }
    again();
  };
  const buttons = [];
  if (run.state === "running") buttons.push(h("button", { type: "button", onclick: act(async () => { await post(`/runs/${run.name}/stop`); notice(`${run.name} saves and stops.`); }) }, "Stop"));
  if (["stopped", "failed", "diverged", "not started"].includes(run.state)) buttons.push(h("button", { type: "button", class: "primary", onclick: act(async () => { await post(`/runs/${run.name}/resume`); notice(`${run.name} resumes.`); }) }, "Resume"));
  if (run.state === "finished") buttons.push(h("button", { type: "button", onclick: act(async () => {
    const more = await question(`Train ${run.name} longer`, h("label", {}, "Steps in all", h("input", { name: "steps", type: "number", min: run.steps + 1, value: String(run.steps * 2), required: true })), { yes: "Train" });
    if (more) { await post(`/runs/${run.name}/resume`, { steps: Number(more.steps) }); notice(`${run.name} trains on.`); }
  }) }, "Train longer"));
  if (["finished", "stopped"].includes(run.state) && run.step) buttons.push(h("button", { type: "button", onclick: act(async () => { await post(`/runs/${run.name}/evaluate`); notice(`Scoring ${run.name}: this takes a minute or more.`); }) }, "Evaluate"));
  if (run.values !== "points" && run.step && run.state !== "unreadable") buttons.push(h("a", { class: "button", href: `#/create/${encodeURIComponent(run.name)}` }, "Create"));
  if (run.state !== "unreadable") buttons.push(h("a", { class: "button", href: `#/new?like=${encodeURIComponent(run.name)}` }, "Clone"));
  if (run.state !== "running") buttons.push(h("button", { type: "button", class: "danger", onclick: act(async () => {
    const { moved } = await remove(`/runs/${run.name}`);
    notice(`${run.name} is in the trash.`, { undo: act(async () => { await post(`/runs/${run.name}/restore`, { moved }); }) });
  }) }, "Delete"));
  return h("div", { class: "row" }, buttons);
}

/** Ask for the state of all runs every `seconds`, while the page is looked at; returns what ends it. */
export function poll(seconds, onRuns) {
  let timer = 0, ended = false;
  const once = async () => {
    clearTimeout(timer);
    if (!document.hidden) {
      try { const all = await get("/runs"); if (!ended) onRuns(all); } catch (error) { if (!ended) notice(error.message, { error: true }); }
    }
    if (!ended) timer = setTimeout(once, seconds * 1000);
  };
  const back = () => { if (!document.hidden) once(); };
  document.addEventListener("visibilitychange", back);
  const first = once();
  return { first, again: once, end: () => { ended = true; clearTimeout(timer); document.removeEventListener("visibilitychange", back); } };
}
