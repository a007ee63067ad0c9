// Calls of the studio's own endpoints; errors carry the server's one line.

export class Problem extends Error {
  constructor(status, message) { super(message); this.status = status; }
}

async function call(method, path, body, options = {}) {
  const plain = body !== undefined && !(body instanceof Blob);
  let response;
  try {
    response = await fetch(`/api${path}`, {
      method, signal: options.signal,
      headers: plain ? { "Content-Type": "application/json" } : body ? { "Content-Type": body.type || "application/octet-stream" } : {},
      body: plain ? JSON.stringify(body) : body,
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(0, "The studio does not answer: is it still running in its terminal? Trainings go on without it.");
  }
  if (!response.ok) {
    const said = await response.json().catch(() => ({}));
    throw new Problem(response.status, said.error ?? `${response.status} ${response.statusText}`);
  }
  return response;
}

export const get = async (path, options) => (await call("GET", path, undefined, options)).json();
export const post = async (path, body = {}, options = {}) => (await call("POST", path, body, options)).json();
export const remove = async (path) => (await call("DELETE", path)).json();
/** The answer itself, for images and videos. */
export const fetchRaw = (method, path, body, options) => call(method, path, body, options);

/** Server-sent events of `path`, parsed; returns a function that ends them. */
export function follow(path, onData, onBreak = () => {}) {
  const source = new EventSource(`/api${path}`);
  source.onmessage = (event) => onData(JSON.parse(event.data));
  source.onerror = onBreak;
  return () => source.close();
}
