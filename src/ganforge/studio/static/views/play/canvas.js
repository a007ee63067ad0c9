// One panel on a canvas: the discriminator's map, the generator's manifold, points, and the pushes on them.
import { int16, uint8, UNITS } from "./packed.js";

const CELLS = 50;
export const LAYERS = [
  ["heat", "Discriminator's map"], ["grid", "Generator's manifold"], ["real", "Real points"],
  ["samples", "Generated points"], ["arrows", "Pushes on generated points"],
];

const token = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
function rgb(colour) {
  const hex = colour.replace("#", "");
  return [0, 2, 4].map((at) => parseInt(hex.slice(at, at + 2), 16));
}
const mix = (from, to, share) => from.map((value, index) => Math.round(value + (to[index] - value) * share));

/** The colours of the theme, looked up once: for each level of the map too. */
export function palette() {
  const card = rgb(token("card")), real = rgb(token("real")), generated = rgb(token("generated"));
  const dark = card[0] < 128, most = dark ? 0.5 : 0.42;
  const heat = Array.from({ length: 256 }, (_, level) => {
    const value = level / 255 - 0.5;
    return mix(card, value > 0 ? real : generated, most * Math.min(1, Math.abs(value) * 2) ** 0.8);
  });
  return { heat, card: token("card"), ink: token("ink"), quiet: token("quiet"), line: token("line"), real: token("real"), generated: token("generated"), dark };
}

/** A canvas that draws frames: `paint(frame, layers, colours)`; `real` are packed real points. */
export function panelCanvas(canvas, real) {
  const points = int16(real), map = document.createElement("canvas");
  map.width = map.height = CELLS;
  const context = canvas.getContext("2d"), mapContext = map.getContext("2d"), image = mapContext.createImageData(CELLS, CELLS);

  function resize() {
    const side = Math.round(canvas.clientWidth * Math.min(2, devicePixelRatio || 1));
    if (side && canvas.width !== side) canvas.width = canvas.height = side;
    return canvas.width;
  }
  function paintHeat(text, colours, side) {
    const levels = uint8(text);
    for (let cell = 0; cell < levels.length; cell++) {
      const [red, green, blue] = colours.heat[levels[cell]];
      image.data.set([red, green, blue, 255], 4 * cell);
    }
    mapContext.putImageData(image, 0, 0);
    context.imageSmoothingEnabled = true;
    context.drawImage(map, 0, 0, side, side);
  }
  const place = (side) => [(value) => ((value / UNITS + 1) / 2) * side, (value) => ((1 - value / UNITS) / 2) * side];

  function paintGrid(text, colours, side) {
    const at = int16(text), count = at.length / 2, [x, y] = place(side), n = Math.round(Math.sqrt(count));
    context.strokeStyle = context.fillStyle = colours.generated;
    context.lineWidth = Math.max(1, side / 600);
    if (n * n !== count) {  // the noise is one number: a line, fainter where it is stretched
      const usual = (4 * side) / count;
      for (let index = 1; index < count; index++) {
        const [x0, y0, x1, y1] = [x(at[2 * index - 2]), y(at[2 * index - 1]), x(at[2 * index]), y(at[2 * index + 1])];
        context.globalAlpha = Math.min(1, Math.max(0.12, (0.7 * usual) / (Math.hypot(x1 - x0, y1 - y0) + 1e-3)));
        context.lineWidth = Math.max(2, side / 160);
        context.beginPath(); context.moveTo(x0, y0); context.lineTo(x1, y1); context.stroke();
      }
      context.globalAlpha = 1;
      return;
    }
    const usual = (side * side) / (n - 1) ** 2 / 8;
    for (let row = 0; row + 1 < n; row++) {
      for (let column = 0; column + 1 < n; column++) {
        const corners = [row * n + column, row * n + column + 1, (row + 1) * n + column + 1, (row + 1) * n + column];
        const xs = corners.map((index) => x(at[2 * index])), ys = corners.map((index) => y(at[2 * index + 1]));
        let area = 0;
        for (let k = 0; k < 4; k++) area += xs[k] * ys[(k + 1) % 4] - xs[(k + 1) % 4] * ys[k];
        context.globalAlpha = Math.min(0.7, (0.3 * usual) / (Math.abs(area) / 2 + usual * 0.05) + 0.02);
        context.beginPath();
        context.moveTo(xs[0], ys[0]);
        for (let k = 1; k < 4; k++) context.lineTo(xs[k], ys[k]);
        context.closePath();
        context.fill();
      }
    }
    context.globalAlpha = 0.35;
    context.lineWidth = Math.max(0.5, side / 1100);
    context.beginPath();
    for (let row = 0; row < n; row++) {
      for (let column = 0; column < n; column++) {
        const index = row * n + column;
        if (column) context.lineTo(x(at[2 * index]), y(at[2 * index + 1])); else context.moveTo(x(at[2 * index]), y(at[2 * index + 1]));
      }
      for (let column = 0; column < n; column++) {
        const index = column * n + row;
        if (column) context.lineTo(x(at[2 * index]), y(at[2 * index + 1])); else context.moveTo(x(at[2 * index]), y(at[2 * index + 1]));
      }
    }
    context.stroke();
    context.globalAlpha = 1;
  }
  function paintPoints(at, colour, size, alpha, side, round) {
    const [x, y] = place(side);
    context.fillStyle = colour;
    context.globalAlpha = alpha;
    context.beginPath();
    for (let index = 0; index < at.length; index += 2) {
      const left = x(at[index]), top = y(at[index + 1]);
      if (round) { context.moveTo(left + size, top); context.arc(left, top, size, 0, 7); } else context.rect(left - size, top - size, 2 * size, 2 * size);
    }
    context.fill();
    context.globalAlpha = 1;
  }
  function paintArrows(text, colours, side) {
    const at = int16(text), [x, y] = place(side), longest = side / 11;
    context.strokeStyle = context.fillStyle = colours.ink;
    context.globalAlpha = 0.75;
    context.lineWidth = Math.max(1, side / 420);
    context.beginPath();
    for (let index = 0; index < at.length; index += 4) {
      const left = x(at[index]), top = y(at[index + 1]), dx = (at[index + 2] / UNITS) * longest, dy = (-at[index + 3] / UNITS) * longest;
      const length = Math.hypot(dx, dy);
      if (length < 1.5) continue;
      const [ux, uy] = [dx / length, dy / length], head = Math.min(length * 0.45, side / 90), [endX, endY] = [left + dx, top + dy];
      context.moveTo(left, top); context.lineTo(endX, endY);
      context.moveTo(endX - head * (ux + 0.6 * uy), endY - head * (uy - 0.6 * ux)); context.lineTo(endX, endY);
      context.lineTo(endX - head * (ux - 0.6 * uy), endY - head * (uy + 0.6 * ux));
    }
    context.stroke();
    context.globalAlpha = 1;
  }
  function paint(frame, layers, colours) {
    const side = resize();
    context.fillStyle = colours.card;
    context.fillRect(0, 0, side, side);
    if (layers.heat && frame?.heat) paintHeat(frame.heat, colours, side);
    if (layers.real) paintPoints(points, colours.real, Math.max(1.2, side / 340), 0.75, side, false);
    if (layers.grid && frame?.grid) paintGrid(frame.grid, colours, side);
    if (layers.samples && frame) paintPoints(int16(frame.samples), colours.generated, Math.max(1.3, side / 300), 0.85, side, true);
    if (layers.arrows && frame?.arrows) paintArrows(frame.arrows, colours, side);
  }
  return { paint };
}
