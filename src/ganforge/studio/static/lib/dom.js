// Elements, made in one call; a notice, a question, and a command that can be copied.

/** h("p", { class: "quiet", onclick: f }, "text", child): an element; `null` children and attributes are left out. */
export function h(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (key in element && key !== "list" && key !== "form" && typeof value !== "string") element[key] = value;
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** Say something short at the foot of the page; `undo`, if given, is offered for a while. */
export function notice(text, { error = false, undo = null } = {}) {
  const place = document.getElementById("notice");
  place.className = error ? "error" : "";
  place.replaceChildren(h("span", {}, text));
  if (undo) place.append(h("button", { type: "button", onclick: () => { place.replaceChildren(); undo(); } }, "Undo"));
  place.append(h("button", { type: "button", class: "quiet", "aria-label": "Close the notice", onclick: () => place.replaceChildren() }, "×"));
  clearTimeout(notice.timer);
  if (!error) notice.timer = setTimeout(() => place.replaceChildren(), 8000);
}

/** A question in a dialog: resolves to the values of its form, or null. `body` may hold named fields. */
export function question(title, body, { yes = "OK", no = "Cancel" } = {}) {
  const dialog = document.getElementById("dialog");
  return new Promise((resolve) => {
    const form = h("form", { method: "dialog" },
      h("h2", { id: "dialog-title" }, title), body,
      h("div", { class: "row end" },
        no && h("button", { type: "button", class: "quiet", onclick: () => dialog.close("") }, no),
        h("button", { type: "submit", class: "primary", value: "yes" }, yes)));
    dialog.replaceChildren(form);
    dialog.onclose = () => {
      resolve(dialog.returnValue === "yes" ? Object.fromEntries(new FormData(form)) : null);
      dialog.replaceChildren();
    };
    dialog.returnValue = "";
    dialog.showModal();
  });
}

/** A line of code with a button that copies it. */
export function command(text, label = "Copy") {
  const button = h("button", { type: "button", class: "quiet", "aria-label": `${label}: ${text}`, onclick: () => copy(text) }, label);
  return h("div", { class: "command" }, h("code", { tabIndex: 0 }, text), button);
}

/** Put a text on the clipboard, and say so. */
export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    notice("Copied.");
  } catch {
    await question("Copy this", h("textarea", { readOnly: true, rows: 4, "aria-label": "Text to copy" }, text), { no: null });
  }
}

export const clear = (element, ...children) => { element.replaceChildren(...children.flat().filter(Boolean)); return element; };
