// The public API of this service, with an API key where it wants one.

const KEY = "ponder-key";
const MAX_ITEMS = 100; // ids in one request
const MAX_IMAGES = 500; // kept for a page whose images need a key

/** What the service refused: `status`, `type` and the sentence it said. */
export class Refused extends Error {
  constructor(status, type, message) {
    super(message);
    this.status = status;
    this.type = type;
  }
}

// A tab's own storage: the key is gone with the tab, and no other page sees it.
export const apiKey = () => sessionStorage.getItem(KEY) ?? "";
export function setApiKey(key) {
  if (key) sessionStorage.setItem(KEY, key);
  else sessionStorage.removeItem(KEY);
}

async function ask(path, options = {}) {
  const headers = new Headers(options.headers);
  if (apiKey()) headers.set("authorization", `Bearer ${apiKey()}`);
  let reply;
  try {
    reply = await fetch(path, { ...options, headers, credentials: "omit" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused(0, "unreachable", "The service does not answer; is it still running?");
  }
  if (reply.ok) return reply;
  const said = await reply.json().catch(() => null);
  const { type = "unknown", message = reply.statusText } = said?.error ?? {};
  if (reply.status === 401) document.dispatchEvent(new CustomEvent("key-wanted", { detail: message }));
  throw new Refused(reply.status, type, message);
}

export const getJson = async (path, signal) => (await ask(path, { signal })).json();

export async function postJson(path, body, signal) {
  const headers = { "content-type": "application/json" };
  return (await ask(path, { method: "POST", headers, body: JSON.stringify(body), signal })).json();
}

/** The items with these ids, by id; those that are gone are not in it. */
export async function getItems(ids, signal) {
  const found = new Map();
  const unique = [...new Set(ids)];
  for (let first = 0; first < unique.length; first += MAX_ITEMS) {
    const query = new URLSearchParams(unique.slice(first, first + MAX_ITEMS).map((id) => ["item_id", id]));
    const { items } = await getJson(`/v1/items?${query}`, signal);
    for (const item of items) found.set(item.item_id, item);
  }
  return found;
}

const images = new Map();

function forgetOldest() {
  const [path, address] = images.entries().next().value;
  images.delete(path);
  address.then(URL.revokeObjectURL, () => {});
}

/** Where an `img` finds an image: its path, or a blob when only a request with a key gets it. */
export function imageAddress(path) {
  if (!apiKey()) return Promise.resolve(path);
  if (!images.has(path)) {
    const fetched = ask(path).then((reply) => reply.blob()).then((blob) => URL.createObjectURL(blob));
    images.set(path, fetched);
    fetched.catch(() => images.delete(path));
    if (images.size > MAX_IMAGES) forgetOldest();
  }
  return images.get(path);
}
