// The playground: GANs on points, side by side, watched, stepped and changed while they train.
import { get, post, remove } from "../lib/api.js";
import { clear, command, copy, h, notice, question } from "../lib/dom.js";
import { number, quoted, words } from "../lib/text.js";
import { LAYERS, palette } from "./play/canvas.js";
import { curve, Series } from "./play/curves.js";
import { drawing, packDabs, unpackDabs } from "./play/dabs.js";
import { fromQuery, pack, replaceAddress } from "./play/link.js";
import { dataChoice } from "./play/presets.js";
import { panelCard } from "./play/panel.js";
import { settingsForm } from "./play/form.js";
import { storyBar } from "./play/stories.js";
import { summary } from "./play/words.js";

export const title = "Playground";
const SPEEDS = [["slow", "Slow"], ["single", "Medium"], ["full", "Fast"]];
const SAY_EVERY = 6000, ADDRESS_EVERY = 5000, MOST_PANELS = 6;
const SHAPES = { play: "M4 2l10 6-10 6z", pause: "M3 2h4v12H3zM9 2h4v12H9z" };
const KEYS = [["Space", "play or pause"], ["s", "one step"], ["d", "D alone"], ["g", "G alone"], ["r", "restart"], ["1 – 6", "choose a panel"]];

/** What sets a panel apart from others of the same loss, in words. */
function difference(panels, index) {
  const own = panels[index], others = panels.filter((other, at) => at !== index && other.loss === own.loss);
  const names = [...new Set(others.flatMap((other) => [...Object.keys(own.fields), ...Object.keys(other.fields)].filter((name) => own.fields[name] !== other.fields[name])))];
  return names.map((name) => `${words(name)} ${own.fields[name] ?? (name === "instance_noise" ? "0" : "as usual")}`).join(", ");
}

function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg"), path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  for (const [key, value] of Object.entries({ viewBox: "0 0 16 16", width: "13", height: "13", "aria-hidden": "true", fill: "currentColor" })) svg.setAttribute(key, value);
  path.setAttribute("d", SHAPES[name]);
  svg.append(path);
  return svg;
}

export async function show(place, { query }) {
  const offered = await get("/play"), first = fromQuery(query, offered);
  const view = new Playground(place, offered);
  if (first.broken) notice("This link is damaged: here is a new playground.", { error: true });
  await view.open(first.settings, { step: first.step, story: first.story ?? null });
  return () => view.end();
}

class Playground {
  constructor(place, offered) {
    this.offered = offered;
    this.colours = palette();
    this.layers = Object.fromEntries(LAYERS.map(([name]) => [name, true]));
    this.focus = 0;
    this.speed = "full";
    this.story = null;
    this.session = null;
    this.opened = 0;
    this.lastSaid = this.lastAddress = 0;
    this.build(place);
    this.onKey = (event) => this.key(event);
    this.onTheme = () => { this.colours = palette(); this.charts.forEach((each) => each.theme()); this.paint(); };
    this.onSize = () => this.paint();
    this.media = matchMedia("(prefers-color-scheme: dark)");
    addEventListener("keydown", this.onKey, true);  // before the keys that work everywhere
    addEventListener("themechange", this.onTheme);
    addEventListener("resize", this.onSize);
    this.media.addEventListener("change", this.onTheme);
  }

  build(place) {
    const button = (label, key, what, more = {}) => h("button", { type: "button", "aria-keyshortcuts": key, onclick: what, ...more }, label);
    this.playButton = button("Play", "Space", () => this.toggle(), { class: "primary play" });
    this.stepButton = button("Step", "s", () => this.step(null));
    this.dButton = button("Step D", "d", () => this.step("discriminator"), { class: "of-d", title: "Update only the discriminator" });
    this.gButton = button("Step G", "g", () => this.step("generator"), { class: "of-g", title: "Update only the generator" });
    this.restartButton = button("↺ Restart", "r", () => this.open(this.settings, { story: this.story }), { class: "quiet" });
    this.speedGroup = h("div", { class: "segments", role: "group", "aria-label": "Speed" },
      ...SPEEDS.map(([name, label]) => h("button", { type: "button", "data-speed": name, "aria-pressed": String(name === this.speed), onclick: () => this.setSpeed(name) }, label)));
    this.stepShown = h("b", { class: "count" }, "0");
    this.pace = h("span", { class: "quiet" });
    this.live = h("p", { class: "visually-hidden", role: "status", "aria-live": "polite" });
    this.storyPlace = h("div");
    this.dataPlace = h("div");
    this.stage = h("div", { class: "stage" });
    this.side = h("aside", { class: "side", "aria-label": "Settings" });
    this.chartPlace = h("div", { class: "curves" });
    this.charts = [];
    const layers = h("div", { class: "layer-list", role: "group", "aria-label": "What is shown" }, ...LAYERS.map(([name, label]) =>
      h("label", { class: `layer ${name}` }, h("input", { type: "checkbox", checked: true, onchange: (event) => { this.layers[name] = event.target.checked; this.paint(); } }), " ", h("i", { "aria-hidden": "true" }), label)));
    place.append(h("div", { class: "top" }, h("h1", {}, "Playground"), h("p", { class: "quiet" }, "A generator G turns noise into points; a discriminator D tells them from real ones. Press Play and watch G find the data.")));
    // The rest comes with the first session, in one go, so that nothing moves.
    this.reveal = () => place.append(
      this.storyPlace,
      this.dataPlace,
      h("div", { class: "controls card", role: "group", "aria-label": "Training" },
        this.playButton, this.stepButton, this.dButton, this.gButton, this.restartButton, this.speedGroup,
        h("span", { class: "steps" }, "step ", this.stepShown, " ", this.pace),
        h("span", { class: "grow" }),
        button("Copy link", null, () => this.copyLink(), { class: "quiet", title: "A link that reproduces this very state" }),
        button("Save as run", null, () => this.save())),
      h("div", { class: "board" }, h("div", { class: "main" }, this.stage, layers), this.side),
      this.chartPlace,
      h("p", { class: "keys quiet" }, ...KEYS.map(([key, what]) => h("span", {}, h("kbd", {}, key), ` ${what}`))),
      this.live);
  }

  // Sessions.

  /** Open a session of `settings`, which may leave out what is as usual; train it to `step` where that is given. */
  async open(settings, { step = 0, story = null, undo = false, focus = null } = {}) {
    const before = undo && this.session ? await this.state().catch(() => null) : null, mine = ++this.opened;
    let session;
    try {
      session = await post("/play", settings);
    } catch (error) {
      if (!this.session && settings.panels) { notice(error.message, { error: true }); return void this.open({}); }
      this.drawSide();
      return void notice(error.message, { error: true });
    }
    if (mine !== this.opened) return void remove(`/play/${session.id}`).catch(() => {});
    this.leave();
    this.session = session;
    this.settings = session.settings;
    this.story = story;
    this.stage.dataset.session = session.id;
    this.frame = null;
    this.target = step || null;
    this.playing = false;
    this.reveal?.();
    this.reveal = null;
    this.focus = Math.min(focus ?? this.focus, session.panels.length - 1);
    this.series = new Series(session.panels.length);
    this.drawStage();
    this.drawSide();
    this.drawCharts();
    this.drawTop();
    this.follow();
    this.address({ ...settings, step: 0 });
    if (step) await post(`/play/${session.id}/play`, { until: step, speed: "full" }).catch((error) => notice(error.message, { error: true }));
    this.showState();
    if (before && before.step) notice(`Started again at step 0.`, { undo: () => this.open(before.settings, { step: before.step, story }) });
  }

  follow() {
    const source = new EventSource(`/api/play/${this.session.id}/frames`), mine = this.session.id;
    this.source = source;
    source.onmessage = (event) => { if (this.session?.id === mine) this.take(JSON.parse(event.data)); };
    source.addEventListener("history", (event) => { this.series.load(JSON.parse(event.data)); this.charts.forEach((each) => each.update()); });
    source.addEventListener("closed", () => source.close());
    source.onerror = () => {
      if (source.readyState !== EventSource.CLOSED || this.session?.id !== mine) return;
      this.playing = false;
      this.showState();
      notice("This playground was closed while nobody watched. Its link opens it again at the same step.", { error: true });
    };
  }

  leave() {
    this.source?.close();
    if (this.session) remove(`/play/${this.session.id}`).catch(() => {});
    this.session = null;
  }

  end() {
    this.opened++;
    removeEventListener("keydown", this.onKey, true);
    removeEventListener("themechange", this.onTheme);
    removeEventListener("resize", this.onSize);
    this.media.removeEventListener("change", this.onTheme);
    this.charts.forEach((each) => each.end());
    this.leave();
  }

  state() { return get(`/play/${this.session.id}/state`); }

  take(frame) {
    this.frame = frame;
    this.playing = frame.playing;
    if (!frame.playing) this.target = null;
    if (frame.step) this.series.add(frame.step, frame.panels.map((panel) => ({ ...panel.losses, js: panel.js, kl: panel.kl, found: panel.found, good: panel.good, gradient: panel.gradient })));
    this.paint();
    this.charts.forEach((each) => each.update());
    this.showState();
    const now = performance.now();
    if (now - this.lastSaid > SAY_EVERY && frame.playing) this.say();
    if (now - this.lastAddress > ADDRESS_EVERY && frame.playing) { this.lastAddress = now; this.state().then((state) => this.address({ ...state.settings, step: state.step })).catch(() => {}); }
    this.stage.dataset.frames = String(Number(this.stage.dataset.frames ?? 0) + 1);
    this.stage.dataset.step = String(frame.step);
  }

  say() {
    this.lastSaid = performance.now();
    if (this.frame) this.live.textContent = summary(this.frame, this.session);
  }

  address(state) { if (location.hash.startsWith("#/play") || location.hash === "") replaceAddress(state); }

  // What a viewer does.

  async run(work) {
    try { return await work(); } catch (error) { notice(error.message, { error: true }); return null; }
  }
  async toggle() {
    if (this.playing || this.target) {
      this.target = null;
      await this.run(async () => this.settle(await post(`/play/${this.session.id}/pause`)));
    } else {
      this.playing = true;
      this.showState();
      await this.run(() => post(`/play/${this.session.id}/play`, { speed: this.speed }));
    }
  }
  async step(only) {
    this.target = null;
    await this.run(async () => this.settle(await post(`/play/${this.session.id}/step`, only ? { only } : {})));
  }
  settle(state) {
    this.playing = false;
    this.fingerprint = state.fingerprint;
    this.address({ ...state.settings, step: state.step });
    this.showState();
    setTimeout(() => { if (!this.playing) this.say(); }, 400);
  }
  setSpeed(name) {
    this.speed = name;
    for (const each of this.speedGroup.children) each.setAttribute("aria-pressed", String(each.dataset.speed === name));
    if (this.playing && !this.target) this.run(() => post(`/play/${this.session.id}/play`, { speed: name }));
  }
  async copyLink() {
    const state = await this.run(() => this.state());
    if (!state) return;
    this.address({ ...state.settings, step: state.step });
    copy(`${location.origin}${location.pathname}#/play?s=${pack({ ...state.settings, step: state.step })}`);
  }
  async save() {
    const focus = this.focus, panel = this.session.panels[focus], name = `play-${this.settings.drawn ? "drawn" : this.settings.data}-${panel.loss.replaceAll("_", "-")}`;
    const answer = await question("Save as a run", h("div", {},
      h("p", {}, `The panel “${panel.title}” becomes a run folder: sample it, evaluate it, or let it train on.`),
      h("div", { class: "field" }, h("label", { for: "run-name" }, "Name"), h("input", { id: "run-name", name: "name", value: name, required: true, pattern: "[A-Za-z0-9][A-Za-z0-9._\\-]{0,99}", autocomplete: "off" }))), { yes: "Save" });
    if (!answer) return;
    const state = await this.run(() => this.state());
    if (!state) return;
    const saved = await this.run(() => post(`/play/${this.session.id}/save`, { panel: focus, name: answer.name, link: `#/play?s=${pack({ ...state.settings, step: state.step })}` }));
    if (!saved) return;
    await question("Saved", h("div", {},
      h("p", {}, "The run is in ", h("a", { href: `#/run/${saved.name}`, onclick: () => document.getElementById("dialog").close() }, saved.name), "."),
      command(`ganforge sample ${quoted(saved.path)}`), command(`ganforge evaluate ${quoted(saved.path)}`), command(`ganforge resume ${quoted(saved.path)}`)), { yes: "Close", no: null });
  }
  choose(index) {
    if (index >= this.session.panels.length) return;
    this.focus = index;
    this.cards.forEach((card, at) => card.mark(at === index && this.cards.length > 1));
    this.drawSide();
    this.drawCharts();
  }
  change(changes, options = {}) {
    const { events, ...settings } = this.settings;
    this.open({ ...settings, ...changes }, { undo: true, ...options });
  }
  addPanel(loss) {
    if (this.session.panels.length < MOST_PANELS) this.change({ panels: [...this.settings.panels, { loss, fields: {} }] }, { focus: this.session.panels.length });
  }
  removePanel(index) { this.change({ panels: this.settings.panels.filter((_, at) => at !== index) }); }
  async setField(name, value, live) {
    const { session, focus } = this;
    const panels = this.settings.panels.map((panel, index) => (index === focus ? { ...panel, fields: { ...panel.fields, [name]: value } } : panel));
    if (!live) return void this.change({ panels });
    const done = await this.run(() => post(`/play/${session.id}/fields`, { panel: focus, fields: { [name]: value } }));
    if (session !== this.session) return;  // another has been opened in between
    if (!done) return void this.drawSide();
    this.settings = { ...this.settings, panels };
    session.panels[focus].values[name] = value;
    if (!this.playing) this.state().then((state) => this.address({ ...state.settings, step: state.step })).catch(() => {});
  }
  async draw() {
    const { body, dabs } = drawing(this.settings.drawn ? unpackDabs(this.settings.drawn) : []);
    if (!(await question("Draw your own data", body, { yes: "Use this data" }))) return;
    if (!dabs().length) return void notice("Nothing was drawn: drag on the canvas, or press Enter there.", { error: true });
    this.change({ drawn: packDabs(dabs()) });
  }
  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || document.getElementById("dialog").open || !this.session) return;
    if (event.target.closest("input:not([type=range], [type=checkbox]), textarea, select, [contenteditable]")) return;
    if (event.key === " " && event.target.closest("button, a, input, summary, [role=button]")) return;
    const actions = { " ": () => this.toggle(), s: () => this.step(null), d: () => this.step("discriminator"), g: () => this.step("generator"), r: () => this.open(this.settings, { story: this.story }) };
    if (actions[event.key]) { actions[event.key](); event.preventDefault(); } else if (/^[1-6]$/.test(event.key)) { this.choose(Number(event.key) - 1); event.preventDefault(); }
  }

  // Drawing.

  drawTop() {
    clear(this.storyPlace, storyBar(this.offered.stories, this.story, (story) => (story ? this.open(story.settings, { story, undo: true }) : this.open({}, { undo: true }))));
    clear(this.dataPlace, dataChoice(this.offered.data, this.settings, this.colours, (name) => this.change({ data: name, drawn: null }), () => this.draw()));
  }
  drawStage() {
    const { panels } = this.session;
    this.stage.dataset.count = String(panels.length);
    panels.forEach((panel, index) => { panel.mark = difference(this.settings.panels, index); });
    this.cards = panels.map((panel, index) => panelCard(panel, index, this, this.offered.losses.find(({ name }) => name === panel.loss)));
    const more = panels.length < MOST_PANELS ? h("div", { class: "more" },
      h("label", { for: "another" }, panels.length > 1 ? "One more, on the same data" : "Compare with another loss, on the same data"),
      h("select", { id: "another", onchange: (event) => event.target.value && this.addPanel(event.target.value) }, h("option", { value: "" }, "Choose a loss …"), ...this.offered.losses.map(({ name, title: text }) => h("option", { value: name }, text))),
      panels.length === 1 && h("button", { type: "button", onclick: () => this.change({ panels: ["minimax", "non_saturating", "wgan_gp", "hinge", "lsgan", "r3gan"].map((loss) => ({ loss, fields: {} })) }) }, "Six at once")) : null;
    clear(this.stage, this.cards.map((card) => card.element), more);
    this.cards.forEach((card, at) => card.mark(at === this.focus && this.cards.length > 1));
    this.paint();
  }
  drawSide() { if (this.session) clear(this.side, settingsForm(this)); }
  drawCharts() {
    this.charts.forEach((each) => each.end());
    const { panels } = this.session, index = this.focus, steps = () => this.series.steps;
    const each = (name, dash) => () => panels.map((panel, at) => ({ name: panels.length > 1 ? `${at + 1} ${panel.title}` : panel.title, short: panels.length > 1 ? String(at + 1) : null, colour: panels.length > 1 ? `c${at}` : "accent", dash, values: this.series.values(at, name) }));
    const single = panels.length === 1;
    const losses = () => [["discriminator_loss", "D", "discriminator"], ["critic_loss", "critic", "discriminator"], ["generator_loss", "G", "generator"], ["vae_loss", "VAE", "generator"]]
      .map(([name, text, colour]) => ({ name: text, colour, values: this.series.values(index, name) })).filter(({ values }) => values.some((value) => value !== null));
    const divergences = () => (single ? [{ name: "JS", colour: "c0", values: this.series.values(0, "js") }, { name: "KL(real‖generated)", colour: "c1", dash: [5, 4], values: this.series.values(0, "kl") }] : each("js")());
    this.charts = [
      curve(single ? "Losses" : `Losses of panel ${index + 1}`, "What each network minimises, in the units of its loss", losses, steps),
      curve(single ? "Divergence from the data, nats" : "JS divergence, nats", "Estimated on a histogram of 24 x 24 cells from 1,000 generated points; JS is at most 0.69", divergences, steps, { range: (low, high) => [0, single ? Math.max(0.7, high ?? 0.7) : 0.7] }),
      curve(this.session.areModes ? "Modes found" : "Parts of the data found", this.session.areModes ? "Modes with at least one of 1,000 samples within 3 standard deviations" : "Clusters, or pieces of one, with a tenth of the samples they should have", each("found"), steps, { range: () => [0, (this.frame?.panels[0].parts ?? 8) * 1.05] }),
      curve("Gradient of G", "Norm of the gradient that the generator was last given", each("gradient"), steps, { log: true }),
    ];
    clear(this.chartPlace, this.charts);
    this.charts.forEach((chart) => chart.update(true));
  }
  paint() {
    this.cards?.forEach((card, index) => card.show(this.frame?.panels[index] ?? null, this.frame, this.layers, this.colours));
    this.flow?.(this.frame?.panels[this.focus] ?? null, this.speed === "slow" || !this.playing ? this.frame?.phase ?? "" : "");
  }
  showState() {
    const busy = this.playing || !!this.target;
    if (this.playButton.dataset.busy !== String(busy)) { this.playButton.dataset.busy = String(busy); clear(this.playButton, icon(busy ? "pause" : "play"), h("span", {}, busy ? "Pause" : "Play")); }
    this.stepShown.textContent = number(this.frame?.step ?? 0);
    const done = this.frame && this.frame.step >= this.settings.steps;
    this.pace.textContent = this.target ? `of ${number(this.target)}, opening the link` : done ? "the last one" : busy && this.frame?.stepsPerSecond ? `${Math.max(1, Math.round(this.frame.stepsPerSecond))} a second` : "";
    this.playButton.disabled = !!done && !busy;
    for (const each of [this.stepButton, this.dButton, this.gButton]) each.disabled = !!done;
    this.stage.dataset.state = this.target ? "opening" : busy ? "playing" : "paused";
  }
}
