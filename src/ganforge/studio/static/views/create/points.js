// Points: sums of seeds, directions and own latents. They are what the server decodes, and what links hold.

export const seed = (number) => ({ [number]: 1 });
export const randomSeed = () => Math.floor(Math.random() * 1_000_000);
export const isDirection = (name) => !/^[0-9@]/.test(name);
const rounded = (value) => Math.round(value * 1e4) / 1e4;

/** `terms` with `factor` more of what `others` has; what cancels out is left out. */
export function add(terms, others, factor = 1) {
  const sum = { ...terms };
  for (const [name, value] of Object.entries(others)) sum[name] = (sum[name] ?? 0) + factor * value;
  return clean(sum);
}

export function clean(terms) {
  const left = Object.entries(terms).map(([name, value]) => [name, rounded(value)]).filter(([, value]) => value !== 0);
  return left.length ? Object.fromEntries(left) : { 0: 0 };
}

const scaled = (terms, factor) => Object.fromEntries(Object.entries(terms).map(([name, value]) => [name, value * factor]));

/** A neighbour: `amount` of the way to a random seed, on the arc where latents are Gaussian, else on the line. */
export function near(terms, amount, gaussian) {
  const keep = gaussian ? Math.cos((amount * Math.PI) / 2) : 1 - amount;
  const other = gaussian ? Math.sin((amount * Math.PI) / 2) : amount;
  return add(scaled(terms, keep), seed(randomSeed()), other);
}

/** The mean of several sums. */
export const mean = (list) => list.reduce((sum, terms) => add(sum, terms, 1 / list.length), {});

/** A + amount (C - B), each the mean of what it holds. */
export function combine(a, b, c, amount) {
  let total = mean(a);
  if (b.length) total = add(total, mean(b), -amount);
  if (c.length) total = add(total, mean(c), amount);
  return total;
}

export const same = (one, other) => JSON.stringify(one) === JSON.stringify(other);

/** A point in few words: "7", "7 + 1.5*sefa-0". */
export function words(point) {
  const text = Object.entries(point.terms).map(([name, value], index) => {
    const size = Math.abs(value) === 1 ? "" : `${+Math.abs(value).toFixed(2)}*`;
    const what = name.startsWith("@") ? "your image" : isDirection(name) ? name : `seed ${name}`;
    return `${value < 0 ? (index ? " − " : "−") : index ? " + " : ""}${size}${what}`;
  }).join("");
  return [text.length > 60 ? `a mix of ${Object.keys(point.terms).length}` : text, point.texts?.length ? `“${point.texts.join("” to “")}”` : "",
          point.label !== undefined && point.label !== null ? `class ${point.label}` : ""].filter(Boolean).join(", ");
}
