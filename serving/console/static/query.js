// A query in the address bar, in the form, and as the service is asked it.
//
// The address holds all of it but the image, clip or sound, so that a search can be sent to somebody, and the
// browser's back button leads to the one before.

export const DEFAULTS = { mode: "content", reasoning: "auto", order: "recall", top_k: "24", compare: "" };

/** What is set below the words, and how it stands when nobody sets it. */
export const OPTIONS = { hybrid: "", interests: "3", seen: "acted", variety: "", alike: "" };

const MODE_OF_OPTION = { hybrid: "content", interests: "user", seen: "user" };

/** Whether an option says something about a way to ask; the service refuses what does not. */
export const applies = (option, mode) => (MODE_OF_OPTION[option] ?? mode) === mode;
export const FIELDS = { content: "text", item: "item", user: "user" };

/** What an address asks: strings by name, and the filter. */
export function parsed(parameters) {
  const query = { ...DEFAULTS, ...OPTIONS, text: "", item: "", user: "", image: "", filter: {} };
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
    } else if (value && value !== (DEFAULTS[name] ?? OPTIONS[name])) parameters.set(name, value);
  }
  return `#/search?${parameters}`;
}

export const isEmpty = (query) => !query[FIELDS[query.mode]].trim() && !(query.mode === "content" && query.image);

/**
 * What the service is asked, once for each column.
 *
 * @param shown the image, clip or sound that was dropped, as the query's field and base64; null without one
 * @returns [{ path, body, told }] with a word for each column where there are two
 */
export function requests(query, shown) {
  const { reasoning, order, hybrid, interests } = query;
  const plain = { reasoning, order, hybrid, interests, version: "" };
  const columns = [plain];
  const [kind, value] = query.compare.split(/:(.*)/s);
  if (kind === "reasoning") columns.push({ ...plain, reasoning: value });
  if (kind === "hybrid") columns.push({ ...plain, hybrid: hybrid ? "" : "1" });
  if (kind === "interests") columns.push({ ...plain, interests: interests === "1" ? OPTIONS.interests : "1" });
  if (kind === "order") columns.push({ ...plain, order: plain.order === "ranked" ? "recall" : "ranked" });
  if (kind === "version") columns.push({ ...plain, version: value });
  return columns.map((column) => ({ ...request(query, column, shown), told: told(kind, column) }));
}

function request(query, { reasoning, order, hybrid, interests, version }, shown) {
  const body = { top_k: Number(query.top_k) };
  if (Object.keys(query.filter).length) body.filter = query.filter;
  if (query.mode === "user" && order === "ranked") {
    return { path: "/v1/recommend", body: { ...body, user_id: query.user.trim(), explain: true } };
  }
  if (version) body.version = version;
  if (query.variety) body.mmr_lambda = Number(query.variety);
  if (query.alike) body.max_similarity = Number(query.alike);
  body.explain = true;
  if (query.mode === "item") return { path: "/v1/recall", body: { ...body, item_id: query.item.trim() } };
  if (query.mode === "user") {
    const user = { user_id: query.user.trim(), interests: Number(interests), exclude_seen: query.seen };
    return { path: "/v1/recall", body: { ...body, ...user } };
  }
  if (query.text.trim()) body.text = query.text.trim();
  if (shown) body[shown.field] = shown.base64;
  if (hybrid && query.text.trim()) body.hybrid = true;
  return { path: "/v1/recall", body: { ...body, reasoning } };
}

const REASONING = { auto: "The gate decides", never: "Never reasoning", always: "Always reasoning" };
const ORDER = { recall: "In order of recall", ranked: "In the ranker’s order" };

function told(kind, column) {
  if (kind === "hybrid") return column.hybrid ? "By meaning and words" : "By meaning alone";
  if (kind === "interests") return column.interests === "1" ? "By one mean" : `By ${column.interests} interests`;
  if (kind === "reasoning") return REASONING[column.reasoning] ?? column.reasoning;
  if (kind === "order") return ORDER[column.order];
  return column.version ? `Version ${column.version}` : "Live version";
}
