// Images as the server sends them, raw, and the canvases that show them.
import { fetchRaw } from "../../lib/api.js";

const KEPT = 800, MOST_AT_ONCE = 48, MOST_CHARACTERS = 40_000;

/** The images of an answer: uint8, of the shape that its header says. */
export async function imagesOf(response) {
  const [count, height, width, channels] = response.headers.get("X-Shape").split(",").map(Number);
  const raw = new Uint8Array(await response.arrayBuffer()), size = height * width;
  return Array.from({ length: count }, (_, index) => spread(raw.subarray(index * size * channels, (index + 1) * size * channels), width, height, channels));
}

/** Raw pixels of 1 to 4 channels as a canvas has them. */
export function spread(raw, width, height, channels) {
  const data = new Uint8ClampedArray(width * height * 4);
  for (let from = 0, to = 0; to < data.length; from += channels, to += 4) {
    data[to] = raw[from];
    data[to + 1] = channels < 3 ? raw[from] : raw[from + 1];
    data[to + 2] = channels < 3 ? raw[from] : raw[from + 2];
    data[to + 3] = channels === 4 ? raw[from + 3] : channels === 2 ? raw[from + 1] : 255;
  }
  return new ImageData(data, width, height);
}

/** Show an image on a canvas, whose size becomes that of the image. */
export function paint(canvas, image) {
  if (canvas.width !== image.width || canvas.height !== image.height) { canvas.width = image.width; canvas.height = image.height; }
  canvas.getContext("2d").putImageData(image, 0, 0);
}

/** A file that the browser saves. */
export async function save(response, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(await response.blob());
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/**
 * Calls `work` with the newest value only: while one is at work, the newest of those that come waits and the
 * others are dropped. `shown(result, value)` gets what it made, `failed(error)` why not.
 */
export function newest(work, shown, failed) {
  let busy = false, waiting = null;
  async function go(value) {
    if (busy) return void (waiting = [value]);
    busy = true;
    try { shown(await work(value), value); } catch (error) { if (error.name !== "AbortError") failed(error); }
    busy = false;
    if (waiting) { const [next] = waiting; waiting = null; go(next); }
  }
  return go;
}

/** Images of points, those of one moment in one request, and kept. `own()`: the latents that points may name. */
export function renderer(api, own, signal) {
  const kept = new Map();
  let wanted = [];
  const used = (points) => Object.fromEntries(Object.entries(own()).filter(([name]) => points.some((point) => name in point.terms)));
  async function fetchImages(points) {
    return imagesOf(await fetchRaw("POST", `${api}/images`, { points, own: used(points) }, { signal }));
  }
  async function flush() {
    let batch = [], size = 0;
    const all = wanted;
    wanted = [];
    const send = async (part) => {
      try {
        const images = await fetchImages(part.map((each) => each.point));
        part.forEach((each, index) => { kept.set(each.key, images[index]); each.resolve(images[index]); });
        for (const key of kept.keys()) { if (kept.size <= KEPT) break; kept.delete(key); }
      } catch (error) { part.forEach((each) => each.reject(error)); }
    };
    for (const each of all) {
      batch.push(each);
      size += each.key.length;
      if (batch.length >= MOST_AT_ONCE || size > MOST_CHARACTERS) { send(batch); batch = []; size = 0; }
    }
    if (batch.length) send(batch);
  }
  /** The image of a point, for tiles: soon, with others. */
  function image(point) {
    const key = JSON.stringify(point);
    if (kept.has(key)) return Promise.resolve(kept.get(key));
    return new Promise((resolve, reject) => {
      if (!wanted.length) queueMicrotask(flush);
      wanted.push({ point, key, resolve, reject });
    });
  }
  /** The image of a point, at once, for what follows a slider. */
  const now = async (point) => (await fetchImages([point]))[0];
  return { image, now, used };
}
