// All that reproduces a state, in the address: base64 of JSON, without what is as it always is.
const text = (bytes) => btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");

export function pack(state) {
  const bytes = new TextEncoder().encode(JSON.stringify(state));
  let packed = "";
  for (let at = 0; at < bytes.length; at += 3000) packed += text(bytes.subarray(at, at + 3000));
  return packed;
}
export function unpack(packed) {
  const binary = atob(packed.replaceAll("-", "+").replaceAll("_", "/"));
  return JSON.parse(new TextDecoder().decode(Uint8Array.from(binary, (letter) => letter.charCodeAt(0))));
}

/** Settings and step of the query of an address: ?s=... of a copied link, or readable words such as ?data=grid&loss=wgan,gan. */
export function fromQuery(query, offered) {
  if (query.s) {
    try {
      const { step = 0, ...settings } = unpack(query.s);
      return { settings, step };
    } catch { return { settings: {}, step: 0, broken: true }; }
  }
  const story = offered.stories.find(({ name }) => name === query.story);
  if (story) return { settings: story.settings, step: 0, story };
  const names = offered.losses.map(({ name }) => name), settings = {};
  if (offered.data.some(({ name }) => name === query.data)) settings.data = query.data;
  const losses = (query.loss ?? "").split(",").filter((name) => names.includes(name)).slice(0, 6);
  if (losses.length) settings.panels = losses.map((loss) => ({ loss, fields: {} }));
  if (/^\d{1,9}$/.test(query.seed ?? "")) settings.seed = Number(query.seed);
  return { settings, step: 0 };
}

export function replaceAddress(state) {
  history.replaceState(null, "", `#/play?s=${pack(state)}`);
}
