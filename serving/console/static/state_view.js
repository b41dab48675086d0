// The state view: which versions live, how fresh everything is, and whether the gate has drifted.

import { getJson } from "./api.js";
import { failure } from "./answer.js";
import { ago, bar, byId, count, el, percent } from "./dom.js";

const EVERY_MS = 10_000;
let timer;

const tile = (name, value, small) => el("div", {}, el("dt", {}, name), el("dd", {}, value, small ? el("small", {}, small) : null));

function tiles(state) {
  const live = state.versions.find((version) => version.is_live);
  return el(
    "dl",
    { class: "tiles" },
    tile("Live version", state.live ? el("code", {}, state.live) : "none yet"),
    tile("Items", count(state.num_items), live ? `${count(live.num_waiting)} wait to be embedded` : null),
    tile("Newest item", ago(state.newest_item_at), "by its source’s clock"),
    tile("Newest event", ago(state.newest_event_at), "by its source’s clock"),
  );
}

const share = (value, kind) => (value === null ? "–" : el("span", { class: "metered" }, percent(value), bar(value, kind)));

const mean = (value) => (value === null ? "–" : value.toFixed(3));

function table(head, rows) {
  return el(
    "div",
    { class: "scroll", tabindex: "0", role: "region", "aria-label": head[0] },
    el(
      "table",
      {},
      el("thead", {}, el("tr", {}, head.map((name) => el("th", { scope: "col" }, name)))),
      el("tbody", {}, rows.map((cells) => el("tr", {}, cells.map((cell, n) => el(n ? "td" : "th", n ? {} : { scope: "row" }, cell))))),
    ),
  );
}

function versions(state) {
  if (!state.versions.length) return el("p", { class: "note" }, "No version has embedded anything yet. Run ponder embed and ponder index.");
  const rows = state.versions.map((version) => [
    [el("code", {}, version.version), badge(version)].filter(Boolean),
    count(version.num_items),
    version.num_waiting ? el("span", { class: "waits" }, count(version.num_waiting)) : "0",
    share(version.reasoned_share, "warm"),
    mean(version.mean_gate_probability),
    version.num_recent ? [mean(version.recent_gate_probability), el("small", { class: "quiet" }, ` of ${count(version.num_recent)}`)] : "–",
  ]);
  return table(["Version", "Embedded", "Waiting", "Reasoned", "Mean gate", "Of the last week"], rows);
}

/** Live, or where a rollback leads, or else how far its index has come. */
function badge(version) {
  if (version.is_live) return el("span", { class: "badge" }, "live");
  const told = version.is_previous ? "previous" : version.state;
  return told ? el("span", { class: "badge other" }, told) : null;
}

/** Names and values as they are read: what is nested under its names, one after another. */
function told(values, before = "") {
  return Object.entries(values).flatMap(([name, value]) => {
    const full = `${before} ${name.replaceAll("_", " ")}`.trim();
    if (value !== null && typeof value === "object" && !Array.isArray(value)) return told(value, full);
    if (Array.isArray(value)) return [[full, value.length ? value.map(String).join("; ") : "none"]];
    return [[full, typeof value === "number" && !Number.isInteger(value) ? value.toFixed(4) : value === null ? "–" : String(value)]];
  });
}

/** What was found against the live version: it goes on answering, so somebody has to look. */
function alarm(state) {
  const live = state.versions.find((version) => version.is_live);
  if (!live?.problems.length) return null;
  const canGoBack = state.versions.some((version) => version.is_previous);
  return el(
    "section",
    { class: "failure", role: "alert" },
    el("b", {}, "Alarm: the live version failed its last validation, ", ago(live.validated_at)),
    el("ul", {}, live.problems.map((problem) => el("li", { dir: "auto" }, problem))),
    el("p", { class: "quiet" }, "It goes on answering until another one is promoted. ", el("code", {}, "ponder validate"), " measures again", ...(canGoBack ? ["; ", el("code", {}, "ponder rollback"), " leads back to the version before"] : []), "."),
  );
}

/** What the last validation of each version measured. */
function validations(state) {
  return state.versions.filter((version) => version.validated_at).map((version) => {
    const ended = version.problems.length ? el("span", { class: "badge bad" }, "failed") : el("span", { class: "badge" }, "passed");
    const measured = told(version.validation).map(([name, value]) => [el("dt", {}, name), el("dd", { dir: "auto" }, value)]);
    return el(
      "details",
      { class: "more validation" },
      el("summary", {}, "Validated ", ago(version.validated_at), ": ", el("code", {}, version.version), ended),
      el("ul", {}, version.problems.map((problem) => el("li", { dir: "auto" }, problem))),
      el("dl", { class: "facts-list" }, measured),
    );
  });
}

const tables = (state) =>
  table(["Table", "Rows", "Last changed"], state.tables.map((each) => [el("code", {}, each.name), count(each.num_rows), ago(each.changed_at)]));

async function health() {
  const asked = async (path) => getJson(path).then(() => true, () => false);
  const ready = await asked("/readyz");
  return el("p", { class: ready ? "health good" : "health bad" }, ready ? "The service answers from its live version." : "The service cannot answer queries now.");
}

async function refresh() {
  const view = byId("state-view");
  try {
    const [state, healthy] = await Promise.all([getJson("/v1/state"), health()]);
    if (view.hidden) return;
    view.replaceChildren(
      el("h1", {}, "State"),
      ...[alarm(state), healthy].filter(Boolean),
      tiles(state),
      el("h2", {}, "Versions"),
      el("p", { class: "quiet" }, "Each version has vectors of its own; one of them is live. The gate’s mean over the items that changed in the last week, far from its mean over all of them, says that the catalogue drifts."),
      versions(state),
      ...validations(state),
      el("h2", {}, "Freshness"),
      tables(state),
      el("p", { class: "quiet" }, "Read ", ago(state.read_at), "; read again every ten seconds."),
    );
  } catch (error) {
    view.replaceChildren(el("h1", {}, "State"), failure(error));
  }
}

export function showState() {
  hideState();
  refresh();
  timer = setInterval(() => document.hidden || refresh(), EVERY_MS);
}

export function hideState() {
  clearInterval(timer);
}
