// The search view: the form, the image, clip or sound that was dropped, and what came back.

import { getItems, getJson, postJson } from "./api.js";
import { agreement, column, failure, ranksOf } from "./answer.js";
import { grid, strip } from "./cards.js";
import { ago, byId, count, el } from "./dom.js";
import { startFilters } from "./filters.js";
import { address, applies, FIELDS, isEmpty, OPTIONS, parsed, requests } from "./query.js";

const KINDS = [
  { name: "An image", types: /^image\//, field: "image_base64", maxMiB: 8 },
  { name: "A clip", types: /^video\/(?!ogg)/, field: "video_base64", maxMiB: 16 },
  { name: "A sound", types: /^(audio\/|video\/ogg)/, field: "audio_base64", maxMiB: 8 },
];

const form = byId("search");
let filters;
let shown = null; // the image, clip or sound that was dropped: the query's field and base64
let running = new AbortController();
let versions = { live: null, others: [] };

const tell = (message) => (byId("told").textContent = message);

function showMode(mode) {
  for (const element of form.querySelectorAll("[data-mode]")) element.hidden = element.dataset.mode !== mode;
  offerComparisons(mode);
}

const mode = () => form.elements.mode.value;

function offerComparisons(shown) {
  const select = byId("compare");
  const before = select.value;
  const offered = [["", "nothing"]];
  if (shown === "content") offered.push(["reasoning:never", "never reasoning"], ["reasoning:always", "always reasoning"]);
  if (shown === "content") offered.push(["hybrid:other", "words or no words"]);
  if (shown === "user") offered.push(["order:other", "the other order"], ["interests:other", "one or several interests"]);
  for (const version of versions.others) offered.push([`version:${version}`, `version ${version}`]);
  select.replaceChildren(...offered.map(([value, name]) => el("option", { value }, name)));
  select.value = offered.some(([value]) => value === before) ? before : "";
}

function queryOfForm() {
  const { elements } = form;
  return {
    mode: mode(),
    [FIELDS[mode()]]: byId(FIELDS[mode()]).value,
    image: mode() === "content" && shown ? "1" : "",
    reasoning: mode() === "content" ? elements.reasoning.value : "",
    order: mode() === "user" ? elements.order.value : "",
    ...Object.fromEntries(Object.keys(OPTIONS).filter((name) => applies(name, mode())).map((name) => [name, elements[name].value])),
    top_k: elements.top_k.value,
    compare: elements.compare.value,
    filter: filters.filter(),
  };
}

function fillForm(query) {
  const { elements } = form;
  elements.mode.value = query.mode;
  showMode(query.mode);
  for (const field of Object.values(FIELDS)) byId(field).value = query[field];
  for (const name of ["reasoning", "order", "top_k", "compare", ...Object.keys(OPTIONS)]) elements[name].value = query[name];
  countOptions();
  filters.set(query.filter);
}

function countOptions() {
  const set = Object.keys(OPTIONS).filter((name) => applies(name, mode()) && form.elements[name].value !== OPTIONS[name]);
  byId("num-options").textContent = set.length ? ` (${set.length})` : "";
  if (set.length) byId("more-options").open = true;
}

/** Show what the address asks for. */
export async function showSearch(parameters) {
  const query = parsed(parameters);
  fillForm(query);
  running.abort();
  running = new AbortController();
  const { signal } = running;
  try {
    if (isEmpty(query) || (query.image && !shown && !query.text)) await showStart(query.mode, signal);
    else await showAnswers(query, signal);
  } catch (error) {
    if (error.name === "AbortError") return;
    tell("");
    byId("results").replaceChildren(failure(error));
  } finally {
    if (!signal.aborted) byId("results").removeAttribute("aria-busy");
  }
}

async function showAnswers(query, signal) {
  const results = byId("results");
  results.setAttribute("aria-busy", "true");
  tell("Searching");
  const asked = requests(query, query.image ? shown : null);
  const settled = await Promise.allSettled(asked.map(({ path, body }) => postJson(path, body, signal)));
  const replies = settled.filter(({ status }) => status === "fulfilled").map(({ value }) => value);
  const refused = settled.filter(({ status }) => status === "rejected").map(({ reason }) => reason);
  if (!replies.length) throw refused[0];
  const [items, about] = await Promise.all([
    getItems(replies.flatMap((reply) => [...reply.candidates, ...(reply.interests ?? [])].map((each) => each.item_id)), signal),
    askedAbout(query, signal),
  ]);
  const columns = settled.map(({ status, value, reason }, n) => {
    if (status === "rejected") return el("section", { class: "column" }, el("h2", {}, asked[n].told), failure(reason));
    const other = replies.length === 2 ? replies[1 - n] : null;
    return column(value, items, asked[n], settled.length === 2 ? ranksOf(other ?? value) : null);
  });
  results.replaceChildren(
    ...[
      about,
      replies.length === 2 ? el("p", { class: "agreement" }, agreement(...replies, query.compare.split(":")[0])) : null,
      el("div", { class: columns.length === 2 ? "columns two" : "columns" }, columns),
    ].filter(Boolean),
  );
  const found = replies.map((reply) => reply.candidates.length).join(" and ");
  tell(`${found} items found by version ${replies[0].version}`);
}

/** What the query is about: the user's history, or the item. */
function askedAbout(query, signal) {
  if (query.mode === "user") return likedItems(query.user.trim(), signal);
  return query.mode === "item" ? likeItem(query.item.trim(), signal) : null;
}

async function likeItem(itemId, signal) {
  const item = (await getItems([itemId], signal)).get(itemId);
  if (!item) return null;
  return el("section", { class: "history about" }, strip([item], "The item asked about"), el("p", { dir: "auto" }, `Items like ${item.title || itemId}`));
}

async function likedItems(userId, signal) {
  const user = await getJson(`/v1/users/${encodeURIComponent(userId)}`, signal);
  const told = user.num_events
    ? el("p", { class: "quiet" }, `${count(user.num_events)} events, last seen `, ago(user.last_event_at), ". What they liked, newest first:")
    : el("p", { class: "quiet" }, "Nothing is known of this user.");
  return el("section", { class: "history", "aria-label": "History of the user" }, told, user.liked.length ? strip(user.liked, "Liked items") : null);
}

/** Before anything is asked: what there is to pick from. */
async function showStart(shown, signal) {
  tell("");
  const catalogue = await getJson("/v1/catalogue", signal);
  filters.offer(catalogue);
  byId("users").replaceChildren(...catalogue.users.map(({ user_id }) => el("option", { value: user_id })));
  const newest = new Map(catalogue.newest.map((item) => [item.item_id, item]));
  const entries = catalogue.newest.map(({ item_id }) => ({ item_id }));
  const users = el(
    "ul",
    { class: "chips users" },
    catalogue.users.map(({ user_id, num_events }) =>
      el("li", {}, el("a", { class: "chip", href: address({ mode: "user", user: user_id }) }, user_id, " ", el("span", { class: "quiet" }, count(num_events))))),
  );
  byId("results").replaceChildren(
    el(
      "section",
      { class: "start" },
      shown === "user" && catalogue.users.length ? [el("h2", {}, "Users who liked most of late"), users] : [],
      catalogue.newest.length
        ? [el("h2", {}, `The newest of ${count(catalogue.num_items)} items`), grid(entries, newest, "Newest items")]
        : el("p", { class: "note" }, "The catalogue is empty. Land some items, then come back."),
    ),
  );
}

async function takeImage(file) {
  if (!file) return;
  const kind = KINDS.find(({ types }) => types.test(file.type));
  if (!kind) return byId("results").replaceChildren(failure({ name: "not an image", message: `${file.name} is no image, no clip and no sound.` }));
  if (file.size > kind.maxMiB * 2 ** 20) return byId("results").replaceChildren(failure({ name: "too large", message: `${kind.name} may have ${kind.maxMiB} MiB; ${file.name} has ${(file.size / 2 ** 20).toFixed(1)}.` }));
  const bytes = new Uint8Array(await file.arrayBuffer());
  let binary = "";
  for (let first = 0; first < bytes.length; first += 8192) binary += String.fromCharCode(...bytes.subarray(first, first + 8192));
  shown = { field: kind.field, base64: btoa(binary) };
  const preview = byId("image-preview");
  if (preview.src) URL.revokeObjectURL(preview.src);
  preview.hidden = kind.field !== "image_base64";
  byId("clip-name").textContent = preview.hidden ? file.name : "";
  if (preview.hidden) preview.removeAttribute("src");
  else preview.src = URL.createObjectURL(file);
  byId("chosen-image").hidden = false;
  form.elements.mode.value = "content";
  showMode("content");
  submit();
}

function dropImage() {
  shown = null;
  byId("chosen-image").hidden = true;
  byId("image").value = "";
  byId("text").focus();
}

function submit() {
  const wanted = address(queryOfForm());
  if (location.hash === wanted) showSearch(new URLSearchParams(wanted.split("?")[1]));
  else location.hash = wanted;
}

function acceptDrops() {
  const isFile = (event) => event.dataTransfer?.types.includes("Files");
  document.addEventListener("dragover", (event) => {
    if (!isFile(event)) return;
    event.preventDefault();
    byId("box").classList.add("over");
  });
  document.addEventListener("dragleave", (event) => event.relatedTarget || byId("box").classList.remove("over"));
  document.addEventListener("drop", (event) => {
    byId("box").classList.remove("over");
    if (!isFile(event)) return;
    event.preventDefault();
    takeImage(event.dataTransfer.files[0]);
  });
  document.addEventListener("paste", (event) => takeImage([...event.clipboardData.files].find((file) => KINDS.some(({ types }) => types.test(file.type)))));
}

/** Which versions a search can be compared with. */
export function knowVersions(state) {
  const living = state.versions.filter((each) => !each.is_live && each.state !== "retired");
  versions = { live: state.live, others: living.map((each) => each.version) };
  offerComparisons(mode());
}

export function startSearch() {
  filters = startFilters();
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    submit();
  });
  for (const radio of form.elements.mode) {
    radio.addEventListener("change", () => {
      showMode(radio.value);
      showStart(radio.value, running.signal).catch((error) => byId("results").replaceChildren(failure(error)));
    });
  }
  byId("image").addEventListener("change", (event) => takeImage(event.target.files[0]));
  byId("remove-image").addEventListener("click", dropImage);
  acceptDrops();
}
