// Elements, numbers and requests.
export const byId = (id) => document.getElementById(id);

export function make(tag, properties = {}, ...children) {
  const { data, aria, ...plain } = properties;
  const element = Object.assign(document.createElement(tag), plain);
  Object.assign(element.dataset, data);
  for (const [name, value] of Object.entries(aria ?? {})) element.setAttribute(name === "role" ? name : `aria-${name}`, value);
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

export const section = (title, ...children) => make("section", {}, make("h2", { textContent: title }), ...children);
export const soft = (text) => make("p", { className: "soft", textContent: text });
// Sentences of the server begin small, as on a command line; names of files stay as they are.
export const trouble = (text) => make("p", { className: "trouble", textContent: /^[a-z]+ /.test(text) ? text[0].toUpperCase() + text.slice(1) : text });
export const waiting = (text) => make("p", { className: "state", aria: { role: "status" } }, make("span", { className: "spin", aria: { hidden: "true" } }), ` ${text}`);

export function number(value) {
  if (typeof value !== "number") return String(value);
  if (Number.isInteger(value) && Math.abs(value) < 1e9) return value.toLocaleString("en");
  const size = Math.abs(value);
  return size >= 1e6 || (size < 1e-3 && size > 0) ? value.toExponential(2) : String(Number(value.toPrecision(4)));
}

export const percent = (share) => `${(100 * share).toFixed(1)} %`;

// What the server answers; its own sentence as the error where it refuses.
export async function ask(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("The explorer does not answer. Is its command still running?");
  }
  const kind = answer.headers.get("content-type") ?? "";
  if (answer.ok) return kind.includes("json") ? answer.json() : answer.blob();
  const told = kind.includes("json") ? await answer.json() : {};
  throw new Error(told.error ?? `The explorer answered ${answer.status}.`);
}

export const post = (path, body) => ask(path, { method: "POST", body: JSON.stringify(body) });

export function say(text) { byId("said").textContent = text; }

export function download(blob, name) {
  const url = URL.createObjectURL(blob);
  make("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}
