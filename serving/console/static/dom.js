// Elements, times and numbers. Nothing here, and nothing elsewhere, parses text as HTML: what
// people and senders wrote becomes text nodes and attributes.

/** Make an element: `on...` are listeners, null and false leave an attribute out. */
export function el(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return element;
}

export const byId = (id) => document.getElementById(id);

/** A bar that is filled to a share in [0, 1]. The word beside it says the same. */
export function bar(share, kind = "") {
  const filled = el("span");
  filled.style.width = `${100 * Math.min(Math.max(share, 0), 1)}%`; // CSSOM: the policy allows it
  return el("span", { class: `bar ${kind}`, "aria-hidden": "true" }, filled);
}

export const count = (value) => value.toLocaleString("en-US");
export const percent = (share) => `${(100 * share).toFixed(1)} %`;
export const milliseconds = (ms) => (ms < 10 ? ms.toFixed(1) : count(Math.round(ms))) + " ms";

const STEPS = [
  ["second", 60],
  ["minute", 60],
  ["hour", 24],
  ["day", 365],
  ["year", Infinity],
];

/** How long ago a moment was, as a time element that also tells the moment itself. */
export function ago(iso, now = Date.now()) {
  if (!iso) return el("span", { class: "quiet" }, "never");
  let left = Math.max(0, (now - Date.parse(iso)) / 1000);
  let unit;
  for (const [name, length] of STEPS) {
    unit = name;
    if (left < length) break;
    left /= length;
  }
  const number = Math.floor(left);
  const told = unit === "second" && number < 10 ? "just now" : `${number} ${unit}${number === 1 ? "" : "s"} ago`;
  return el("time", { datetime: iso, title: new Date(iso).toLocaleString() }, told);
}
