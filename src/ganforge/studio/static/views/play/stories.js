// Failures and their cures: a row of buttons, and the two sentences of the one that is shown.
import { h } from "../../lib/dom.js";

export function storyBar(stories, current, onChoose) {
  const button = (label, story) => h("button", { type: "button", "data-story": story?.name ?? "free", "aria-pressed": String((current?.name ?? null) === (story?.name ?? null)), onclick: () => onChoose(story) }, label);
  const part = (role, { text, paper, arxiv }, number) => h("div", { class: "part" }, h("h2", {}, `${number} ${role}`), h("p", {}, text, " ", h("a", { href: `https://arxiv.org/abs/${arxiv}`, target: "_blank", rel: "noreferrer" }, `${paper}, arXiv ${arxiv}`)));
  return h("div", { class: "stories" },
    h("div", { class: "row", role: "group", "aria-label": "What goes wrong" }, h("span", { class: "quiet" }, "What goes wrong, and the cure:"), button("Free play", null), ...stories.map((story) => button(story.title, story))),
    current && h("div", { class: "tale card" }, part("The failure", current.failure, "1"), part("The cure", current.cure, "2"),
      h("p", { class: "quiet" }, `Press Play: the two part within about ${current.steps.toLocaleString("en")} steps.`)));
}
