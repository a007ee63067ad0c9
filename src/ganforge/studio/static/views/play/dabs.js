// Data drawn by hand, with a pointer or the keyboard: dabs of twelve bits a coordinate, three bytes each.
import { h } from "../../lib/dom.js";

const REACH = 1.5, LEVELS = 4096, MOST = 400, NEAR = 0.045, PER_DAB = 12;

export function packDabs(dabs) {
  let binary = "";
  for (const [x, y] of dabs) {
    const [a, b] = [x, y].map((value) => Math.max(0, Math.min(LEVELS - 1, Math.round(((value / REACH + 1) / 2) * (LEVELS - 1)))));
    binary += String.fromCharCode(a >> 4, ((a & 15) << 4) | (b >> 8), b & 255);
  }
  return btoa(binary).replaceAll("+", "-").replaceAll("/", "_");
}
export function unpackDabs(text) {
  const binary = atob(text.replaceAll("-", "+").replaceAll("_", "/")), found = [];
  for (let at = 0; at + 2 < binary.length; at += 3) {
    const [first, middle, last] = [0, 1, 2].map((offset) => binary.charCodeAt(at + offset));
    found.push([(first << 4) | (middle >> 4), ((middle & 15) << 8) | last].map((level) => ((level / (LEVELS - 1)) * 2 - 1) * REACH));
  }
  return found;
}

/** A dialog body to draw in; `dabs()` are what was drawn. */
export function drawing(before) {
  const dabs = before.slice(), said = h("p", { class: "quiet", "aria-live": "polite" });
  const canvas = h("canvas", { class: "dabs", width: 560, height: 560, tabIndex: 0, role: "application",
    "aria-label": "Canvas to draw data points on. Arrow keys move the brush, Enter adds points, Backspace takes the last ones away." });
  const context = canvas.getContext("2d");
  let brush = [0, 0], pressed = false;

  function paint() {
    const style = getComputedStyle(canvas), side = canvas.width, at = ([x, y]) => [((x / REACH + 1) / 2) * side, ((1 - y / REACH) / 2) * side];
    context.clearRect(0, 0, side, side);
    context.strokeStyle = style.getPropertyValue("--line");
    context.beginPath();
    for (const share of [0.25, 0.5, 0.75]) { context.moveTo(share * side, 0); context.lineTo(share * side, side); context.moveTo(0, share * side); context.lineTo(side, share * side); }
    context.stroke();
    context.fillStyle = style.getPropertyValue("--real");
    context.globalAlpha = 0.5;
    for (const dab of dabs) { const [x, y] = at(dab); context.beginPath(); context.arc(x, y, 9, 0, 7); context.fill(); }
    context.globalAlpha = 1;
    if (document.activeElement === canvas) {
      const [x, y] = at(brush);
      context.strokeStyle = style.getPropertyValue("--ink");
      context.lineWidth = 2;
      context.beginPath(); context.arc(x, y, 11, 0, 7); context.moveTo(x - 18, y); context.lineTo(x + 18, y); context.moveTo(x, y - 18); context.lineTo(x, y + 18); context.stroke();
    }
    said.textContent = dabs.length ? `${dabs.length * PER_DAB} points${dabs.length >= MOST ? ", as many as there may be" : ""}` : "Nothing is drawn yet.";
  }
  function add([x, y]) {
    if (dabs.length >= MOST) return;
    dabs.push([x, y].map((value) => Math.max(-1.4, Math.min(1.4, value))));
    paint();
  }
  function moved(event) {
    const box = canvas.getBoundingClientRect();
    brush = [((event.clientX - box.left) / box.width * 2 - 1) * REACH, (1 - (event.clientY - box.top) / box.height * 2) * REACH];
    const [x, y] = dabs.at(-1) ?? [9, 9];
    if (pressed && (Math.hypot(brush[0] - x, brush[1] - y) > NEAR)) add(brush);
  }
  canvas.addEventListener("pointerdown", (event) => { pressed = true; try { canvas.setPointerCapture(event.pointerId); } catch { /* a pointer that is gone */ } canvas.focus(); moved(event); event.preventDefault(); });
  canvas.addEventListener("pointermove", moved);
  for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, () => { pressed = false; });
  canvas.addEventListener("keydown", (event) => {
    const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }, move = moves[event.key], size = event.shiftKey ? 0.3 : 0.1;
    if (move) brush = brush.map((value, index) => Math.max(-1.4, Math.min(1.4, value + size * move[index])));
    else if (event.key === "Enter") for (let k = 0; k < 4; k++) add([brush[0] + 0.05 * Math.cos(2.4 * k), brush[1] + 0.05 * Math.sin(2.4 * k)]);
    else if (event.key === "Backspace") dabs.splice(-4);
    else return;
    event.preventDefault();
    paint();
  });
  canvas.addEventListener("focus", paint);
  canvas.addEventListener("blur", paint);
  const body = h("div", { class: "drawing" },
    h("p", {}, "Drag to draw. With the keyboard: arrows move the brush (Shift: farther), Enter adds points, Backspace takes the last away."),
    canvas,
    h("div", { class: "row" }, said, h("span", { class: "grow" }),
      h("button", { type: "button", onclick: () => { dabs.splice(-10); paint(); } }, "Undo"),
      h("button", { type: "button", onclick: () => { dabs.length = 0; paint(); } }, "Clear")));
  requestAnimationFrame(paint);
  return { body, dabs: () => dabs };
}
