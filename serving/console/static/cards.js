// Items as cards in a grid that arrow keys walk through, and an item's details.

import { getItems, imageAddress } from "./api.js";
import { ago, bar, byId, el } from "./dom.js";

/** The square that shows an item's image, its clip when it has no image, or says that it has none. */
const frame = (item) => framed(item?.image ?? item?.clip, item ? "no image" : "gone");

/** A square that shows what is at a path. */
function framed(path, otherwise) {
  if (!path) return el("span", { class: "frame none" }, otherwise);
  const image = el("img", { alt: "", loading: "lazy", decoding: "async" });
  const box = el("span", { class: "frame" }, image);
  const missing = () => box.replaceChildren("no image");
  image.addEventListener("error", missing);
  imageAddress(path).then((address) => (image.src = address), missing);
  return box;
}

const title = (item, id) => item?.title || id;

/**
 * One item of a list.
 *
 * @param id its id
 * @param item what the catalogue says of it; undefined when it is gone
 * @param notes { rank, score, share, moved, channel, reasons }; each may be left out
 */
function card(id, item, notes = {}) {
  const { rank, score, moved, channel } = notes;
  const line = [];
  if (rank !== undefined) line.push(el("span", { class: "rank" }, String(rank)));
  if (score !== undefined && score !== null) line.push(el("span", { class: "score" }, score.toFixed(3)));
  if (moved) line.push(el("span", { class: `moved ${moved.kind}`, title: moved.told }, moved.sign, el("span", { class: "hidden" }, moved.told)));
  if (channel) line.push(el("span", { class: "channel" }, channel));
  const button = el(
    "button",
    { type: "button", class: "card", "data-id": id, onclick: () => openDetails(id, item, notes.reasons) },
    frame(item),
    el("span", { class: "title", dir: "auto" }, title(item, id)),
    line.length ? el("span", { class: "line" }, line) : null,
    notes.share === undefined ? null : bar(notes.share),
  );
  return el("li", {}, button);
}

/** A grid of cards: one stop for Tab, arrow keys within. */
export function grid(entries, items, label) {
  const list = el("ol", { class: "grid", "aria-label": label });
  list.append(...entries.map((entry) => card(entry.item_id, items.get(entry.item_id), entry)));
  const buttons = [...list.querySelectorAll("button.card")];
  buttons.forEach((button, n) => (button.tabIndex = n === 0 ? 0 : -1));
  list.addEventListener("keydown", (event) => walk(event, buttons));
  list.addEventListener("focusin", (event) => {
    const focused = event.target.closest("button.card");
    if (focused) buttons.forEach((button) => (button.tabIndex = button === focused ? 0 : -1));
  });
  return list;
}

function walk(event, buttons) {
  const here = buttons.indexOf(event.target.closest("button.card"));
  if (here < 0 || event.ctrlKey || event.metaKey || event.altKey) return;
  const top = buttons[0].offsetTop;
  const columns = Math.max(1, buttons.filter((button) => button.offsetTop === top).length);
  const to = {
    ArrowRight: here + 1,
    ArrowLeft: here - 1,
    ArrowDown: here + columns,
    ArrowUp: here - columns,
    Home: 0,
    End: buttons.length - 1,
  }[event.key];
  if (to === undefined) return;
  event.preventDefault();
  buttons[to]?.focus();
}

/** A row of small images that can be scrolled sideways. */
export function strip(items, label) {
  const small = (item) =>
    el("button", { type: "button", class: "small", title: title(item, item.item_id), "aria-label": title(item, item.item_id), onclick: () => openDetails(item.item_id, item) }, frame(item));
  return el("ul", { class: "strip", "aria-label": label }, items.map((item) => el("li", {}, small(item))));
}

/** An item's further images, and its clip when an image stands for it; null when there are none. */
function further(item) {
  const paths = [...(item?.gallery ?? []), ...(item?.image && item.clip ? [item.clip] : [])];
  if (!paths.length) return null;
  return el("ul", { class: "strip", "aria-label": "Further images" }, paths.map((path) => el("li", { class: "small" }, framed(path, ""))));
}

/** A player of an item's sound; null when it has none. */
function player(item) {
  if (!item?.audio) return null;
  const audio = el("audio", { controls: "", preload: "none", "aria-label": "Its sound" });
  audio.addEventListener("error", () => audio.remove());
  imageAddress(item.audio).then((address) => (audio.src = address), () => audio.remove());
  return audio;
}

const fact = (name, ...values) => [el("dt", {}, name), el("dd", { dir: "auto" }, values)];

/** What moved the ranker's score most, and by how much. */
function why(reasons) {
  const told = ([name, added]) => el("li", {}, el("code", {}, name), ` ${added < 0 ? "\u2212" : "+"}${Math.abs(added).toFixed(3)}`);
  return fact("Ranked by", el("ul", { class: "reasons" }, Object.entries(reasons).map(told)));
}

async function openDetails(id, known, reasons) {
  const item = known ?? (await getItems([id]).catch(() => new Map())).get(id);
  const dialog = byId("details");
  const go = () => {
    dialog.close();
    location.hash = `#/search?${new URLSearchParams({ mode: "item", item: id })}`;
  };
  const copied = el("span", { role: "status" });
  const copy = async () => {
    await navigator.clipboard.writeText(id).catch(() => {});
    copied.textContent = "copied";
  };
  const attributes = Object.entries(item?.attributes ?? {});
  dialog.replaceChildren(
    el("button", { class: "plain close", type: "button", "aria-label": "Close", onclick: () => dialog.close() }, "×"),
    frame(item),
    further(item),
    player(item),
    el(
      "div",
      {},
      el("h2", { id: "details-title", dir: "auto" }, title(item, id)),
      item ? null : el("p", { class: "note" }, "The catalogue does not hold this item any more."),
      item?.text ? el("p", { class: "words", dir: "auto" }, item.text) : null,
      el(
        "dl",
        { class: "facts-list" },
        fact("Id", el("code", {}, id)),
        item?.category ? fact("Category", item.category) : [],
        item?.tags.length ? fact("Tags", item.tags.join(", ")) : [],
        attributes.map(([name, value]) => fact(name, String(value))),
        reasons ? why(reasons) : [],
        item ? fact("Created", ago(item.created_at)) : [],
        item ? fact("Changed", ago(item.updated_at)) : [],
      ),
      el(
        "div",
        { class: "buttons" },
        el("button", { class: "go", type: "button", onclick: go }, "Find items like this"),
        el("button", { class: "plain", type: "button", onclick: copy }, "Copy the id"),
        copied,
      ),
    ),
  );
  dialog.showModal();
}

/** Close the details by a click beside them. */
export function startDetails() {
  const dialog = byId("details");
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
}
