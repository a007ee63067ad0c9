// What is going on, in words: for the eye below each panel, and for screen readers.
import { number, short } from "../../lib/text.js";

/** The state of a panel in a short sentence, and whether it is a warning. */
export function state(frame) {
  if (!frame) return { text: "", bad: false };
  if (frame.stopped) return { text: frame.stopped, bad: true };
  if (!frame.step) return { text: "Nothing is trained yet.", bad: false };
  const warning = frame.words.findLast((text) => /saturated:|vanishes|explodes|skipped/.test(text) && !/no longer|is back|as before/.test(text));
  if (warning) { const [what] = warning.split(": begin a new run"); return { text: `${what[0].toUpperCase()}${what.slice(1)}.`, bad: true }; }
  if (frame.good < 0.5) return { text: "No samples near the data yet.", bad: false };
  if (frame.found < frame.parts / 2) return { text: "Most of the data is not covered.", bad: false };
  if (frame.found < frame.parts) return { text: "Some of the data is not covered.", bad: false };
  return { text: frame.good < 50 ? "All of the data is covered, but many samples lie between." : "All of the data is covered, most samples lie on it.", bad: false };
}

export function summary(frame, session) {
  const what = session.areModes ? "modes" : "parts of the data";
  return `Step ${number(frame.step)}. ` + frame.panels.map((panel, index) => `${session.panels[index].title}: ${panel.found} of ${panel.parts} ${what} found, divergence ${short(panel.js)}. ${state(panel).text}`).join(" ");
}
