// A query in the address bar, in the form, and as the service is asked it.
//
// The address holds all of it but the image, so that a search can be sent to somebody, and the
// browser's back button leads to the one before.

export const DEFAULTS = { mode: "content", reasoning: "auto", order: "recall", top_k: "24", compare: "" };
export const FIELDS = { content: "text", item: "item", user: "user" };

/** What an address asks: strings by name, and the filter. */
export function parsed(parameters) {
  const query = { ...DEFAULTS, text: "", item: "", user: "", seen: "", image: "", filter: {} };
  for (const name of Object.keys(query)) {
    if (name !== "filter" && parameters.has(name)) query[name] = parameters.get(name);
  }
  if (!(query.mode in FIELDS)) query.mode = DEFAULTS.mode;
  try {
    query.filter = JSON.parse(parameters.get("filter") ?? "{}");
  } catch {
    query.filter = {}; // an address that was cut off
  }
  return query;
}

/** The address of a query; what is left at its default is left out. */
export function address(query) {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (name === "filter") {
      if (Object.keys(value).length) parameters.set(name, JSON.stringify(value));
    } else if (value && value !== DEFAULTS[name]) parameters.set(name, value);
  }
  return `#/search?${parameters}`;
}

export const isEmpty = (query) => !query[FIELDS[query.mode]].trim() && !(query.mode === "content" && query.image);

/**
 * What the service is asked, once for each column.
 *
 * @param image base64 of the image that was dropped; empty without one
 * @returns [{ path, body, told }] with a word for each column where there are two
 */
export function requests(query, image) {
  const plain = { reasoning: query.reasoning, order: query.order, version: "" };
  const columns = [plain];
  const [kind, value] = query.compare.split(/:(.*)/s);
  if (kind === "reasoning") columns.push({ ...plain, reasoning: value });
  if (kind === "order") columns.push({ ...plain, order: plain.order === "ranked" ? "recall" : "ranked" });
  if (kind === "version") columns.push({ ...plain, version: value });
  return columns.map((column) => ({ ...request(query, column, image), told: told(kind, column) }));
}

function request(query, { reasoning, order, version }, image) {
  const body = { top_k: Number(query.top_k) };
  if (Object.keys(query.filter).length) body.filter = query.filter;
  if (version) body.version = version;
  if (query.mode === "item") return { path: "/v1/recall", body: { ...body, item_id: query.item.trim() } };
  if (query.mode === "user") {
    body.user_id = query.user.trim();
    if (order === "ranked") return { path: "/v1/recommend", body };
    if (query.seen) body.exclude_seen = "none";
    return { path: "/v1/recall", body };
  }
  if (query.text.trim()) body.text = query.text.trim();
  if (image) body.image_base64 = image;
  return { path: "/v1/recall", body: { ...body, reasoning, explain: true } };
}

const REASONING = { auto: "The gate decides", never: "Never reasoning", always: "Always reasoning" };
const ORDER = { recall: "In order of recall", ranked: "In the ranker’s order" };

function told(kind, column) {
  if (kind === "reasoning") return REASONING[column.reasoning] ?? column.reasoning;
  if (kind === "order") return ORDER[column.order];
  return column.version ? `Version ${column.version}` : "Live version";
}
