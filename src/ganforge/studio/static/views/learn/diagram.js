// A diagram drawn from boxes on a grid and arrows between them: along the page, or down it where it is narrow.
const SVG = "http://www.w3.org/2000/svg";
const BOX = { width: 152, height: 52 };
let drawn = 0;

function element(name, attributes, ...children) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

/** An SVG of `data` ({boxes, arrows, description}), with `title`; `down`: steps go down instead of along. */
export function diagram(data, title, down) {
  const boxes = Object.values(data.boxes);
  const lanes = Math.max(...boxes.map((box) => box.lane)), steps = Math.max(...boxes.map((box) => box.step));
  const rails = rail(data, lanes), tight = down && lanes > 1;
  const margin = (side) => 4 + 14 * Math.max(0, ...[...rails.values()].filter((each) => each.side === side).map((each) => each.level));
  const before = margin(-1), after = margin(1);
  const between = data.arrows.some(([a, b]) => data.boxes[a].step === data.boxes[b].step) ? 14 : 8; // for an arrow
  const width = down ? Math.min(BOX.width, Math.floor((338 - before - after) / (lanes + 1)) - between) : BOX.width, height = down ? 68 : BOX.height;
  const gap = down ? { step: height + 34, lane: width + between } : { step: width + 42, lane: height + 42 };
  // Along is the direction of steps, across that of lanes; `turn` makes x and y of them.
  const long = down ? height : width, wide = down ? width : height;
  const across = (lane) => before + lane * gap.lane + wide / 2, along = (step) => 2 + step * gap.step + long / 2;
  const turn = ([a, c]) => (down ? [c, a] : [a, c]);
  const total = turn([2 * 2 + steps * gap.step + long, before + lanes * gap.lane + wide + after]);
  const id = `diagram-${++drawn}`;
  const path = (points, kind, extra = "") => element("path", {
    d: `M${points.map((point) => turn(point).map((value) => Math.round(value * 10) / 10).join(" ")).join("L")}`,
    class: `${kind} ${extra}`, "marker-end": `url(#${id}-${kind === "flow" ? "flow" : extra})`,
  });
  const markers = ["flow", "generator", "discriminator", "network"].map((name) => element("marker", {
    id: `${id}-${name}`, class: `head ${name}`, viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 7, markerHeight: 7, orient: "auto-start-reverse",
  }, element("path", { d: "M0 0L8 4L0 8Z" })));

  const lines = data.arrows.map((arrow) => {
    const [from, to, kind] = arrow, a = data.boxes[from], b = data.boxes[to];
    if (kind === "update" && !rails.has(arrow)) { // back through the gap next to the network
      const side = Math.sign(a.lane - b.lane) || 1, shift = side * wide * 0.3;
      const start = [along(a.step) - long / 2, across(a.lane) + shift * (a.kind === "loss" ? 0.6 : 1)], end = [along(b.step) + long / 2 + 2, across(b.lane) + shift];
      const bend = along(b.step) + gap.step / 2 - 8;
      return path([start, [bend, start[1]], [bend, end[1]], end], "update", b.kind);
    }
    if (kind === "update") {
      const { side, level, shift } = rails.get(arrow);
      const edge = side < 0 ? before - 12 * level + 2 : before + lanes * gap.lane + wide + 12 * level - 2;
      const start = [along(a.step) + shift, across(a.lane) + side * wide / 2], end = [along(b.step) + shift, across(b.lane) + side * (wide / 2 + 2)];
      return path([start, [start[0], edge], [end[0], edge], end], "update", b.kind);
    }
    if (a.step === b.step) { // across
      const side = Math.sign(b.lane - a.lane);
      return path([[along(a.step), across(a.lane) + side * wide / 2], [along(b.step), across(b.lane) - side * (wide / 2 + 2)]], "flow");
    }
    const start = [along(a.step) + long / 2, across(a.lane)];
    const end = [along(b.step) - long / 2 - 2, across(b.lane) + spread(data, to, from) * wide * 0.22];
    if (a.lane === b.lane && end[1] === start[1]) return path([start, end], "flow");
    // Turn in the gap: before the target where the way there is free, else right after the start.
    const passes = boxes.some((box) => box.lane === a.lane && box.step > a.step && box.step < b.step);
    const bend = passes ? along(a.step) + gap.step / 2 : along(b.step) - gap.step / 2;
    return path([start, [bend, start[1]], [bend, end[1]], end], "flow");
  });

  const parts = Object.values(data.boxes).map((box) => {
    const [x, y] = turn([along(box.step), across(box.lane)]);
    const room = width - (box.kind === "loss" ? 16 : 2), name = lined(box.name, room / (tight ? 6.8 : 7.9)), note = lined(box.note, room / (tight ? 5.4 : 5.9)), row = tight ? 13.5 : 15;
    const rows = [...name.map((text) => ["name", text]), ...note.map((text) => ["note", text])];
    const first = y - (rows.length - 1) * row / 2 + 4;
    return element("g", { class: `box ${box.kind}` },
      element("rect", { x: x - width / 2, y: y - height / 2, width, height, rx: box.kind === "loss" ? height / 2 : 8 }),
      ...rows.map(([kind, text], index) => {
        const line = element("text", { class: kind, x, y: first + index * row, "text-anchor": "middle" });
        line.textContent = text;
        return line;
      }));
  });
  const [heading, described] = [element("title", { id: `${id}-title` }), element("desc", { id: `${id}-desc` })];
  heading.textContent = title;
  described.textContent = data.description;
  return element("svg", {
    viewBox: `0 0 ${total.join(" ")}`, width: total[0], height: total[1], role: "img", class: tight ? "diagram tight" : "diagram",
    "aria-labelledby": `${id}-title`, "aria-describedby": `${id}-desc`,
  }, heading, described, element("defs", {}, ...markers), ...lines, ...parts);
}

/** On which side each long update runs back, at which distance, and how far from the middle it leaves. */
function rail(data, lanes) {
  const rails = new Map(), used = { "-1": 0, 1: 0 };
  const span = ([from, to]) => data.boxes[from].step - data.boxes[to].step;
  for (const arrow of data.arrows.filter((each) => each[2] === "update" && span(each) > 1).sort((a, b) => span(a) - span(b))) {
    const [from, to] = arrow.map((key) => data.boxes[key]?.lane);
    const side = Math.max(from, to) * 2 > lanes && from + to > lanes - 0.1 ? 1 : -1;
    used[side] += 1;
    rails.set(arrow, { side, level: used[side], shift: (used[side] - 1) * 10 });
  }
  return rails;
}

/** Where on the side of a box an arrow ends, from -1 to 1: arrows from different lanes end apart. */
function spread(data, to, from) {
  const sources = data.arrows.filter(([, target, kind]) => target === to && kind === "flow").map(([source]) => source)
    .filter((source) => data.boxes[source].step !== data.boxes[to].step)
    .sort((a, b) => data.boxes[a].lane - data.boxes[b].lane || data.boxes[b].step - data.boxes[a].step);
  return sources.length < 2 ? 0 : -1 + 2 * sources.indexOf(from) / (sources.length - 1);
}

/** A text in lines of at most `most` letters. */
function lined(text, most) {
  const lines = [];
  for (const word of text.split(" ").filter(Boolean)) {
    if (lines.length && `${lines.at(-1)} ${word}`.length <= most) lines[lines.length - 1] += ` ${word}`; else lines.push(word);
  }
  return lines;
}
