// The state of a page: changes can be undone, and a link holds all of it.

const MOST_STEPS = 200;

/** `changed(state, key)` is called after every change; steps of one `key` that follow one another are one. */
export function store(first, changed) {
  let state = first, past = [], future = [], last = null;
  const set = (next, key) => { state = next; changed(state, key); };
  return {
    get: () => state,
    /** Change parts of the state; `key` names a control whose movements count as one step. */
    change(parts, key = null) {
      if (key === null || key !== last) { past.push(state); past = past.slice(-MOST_STEPS); }
      future = [];
      last = key;
      set({ ...state, ...parts }, key);
    },
    /** Change what is no step of its own, such as the tab that is open: undo leaves it as it is. */
    touch(parts) {
      past = past.map((each) => ({ ...each, ...parts }));
      future = future.map((each) => ({ ...each, ...parts }));
      set({ ...state, ...parts }, null);
    },
    /** The end of a movement: the next one of the same control is a step of its own. */
    seal() { last = null; },
    undo() { if (past.length) { future.push(state); last = null; set(past.pop(), null); } },
    redo() { if (future.length) { past.push(state); last = null; set(future.pop(), null); } },
    canUndo: () => past.length > 0,
    canRedo: () => future.length > 0,
  };
}

export const linkOf = (hash, state) => `${location.origin}/${hash}?state=${encodeURIComponent(JSON.stringify(state))}`;

/** The state that a link holds, over `defaults`; those alone where it is damaged. */
export function stateOf(query, defaults) {
  try { return query.state ? { ...defaults, ...JSON.parse(query.state) } : defaults; } catch { return defaults; }
}
