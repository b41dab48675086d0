// What came back for a query: how it was answered, and the items found.

import { grid } from "./cards.js";
import { bar, el, milliseconds, percent } from "./dom.js";

const HOW = { direct: "embedded directly", reason: "reasoned first" };

/** Sentences and meters on how one reply came about. */
function summary(reply) {
  const parts = [];
  const how = reply.action === "reason" && !reply.rationale ? "reasoned first, and had nothing to say" : HOW[reply.action];
  if (reply.action) parts.push(el("span", { class: `how ${reply.action}` }, how ?? reply.action));
  if (typeof reply.gate_probability === "number") {
    const told = `gate ${reply.gate_probability.toFixed(2)}`;
    parts.push(el("span", { class: "gate", title: "Probability that reasoning pays, by the model’s own gate" }, told, bar(reply.gate_probability, "warm")));
  }
  parts.push(el("span", {}, milliseconds(reply.took_ms)));
  parts.push(el("code", { title: "The model version that answered" }, reply.version));
  const notes = [];
  const remarks = [reply.reasoning_fallback, reply.fallback, ...(reply.hints ?? [])].filter(Boolean);
  notes.push(...remarks.map((remark) => el("p", { class: "note", dir: "auto" }, remark)));
  if (reply.rationale) {
    notes.push(
      el("figure", { class: "rationale" }, el("figcaption", {}, "What the model reasoned"), el("blockquote", { dir: "auto" }, reply.rationale)),
    );
  }
  return [el("p", { class: "summary" }, parts), ...notes];
}

/** One bar of all stages, with their names below it; nothing where the reply has no times. */
function timings({ timings: stages, index, consistency }) {
  const shown = Object.entries(stages ?? {}).filter(([, ms]) => ms > 0);
  if (!shown.length) return null;
  const total = shown.reduce((sum, [, ms]) => sum + ms, 0);
  const pieces = shown.map(([, ms], n) => {
    const piece = el("span", { class: `stage stage-${n % 4}` });
    piece.style.flexGrow = String(ms / total);
    return piece;
  });
  const names = shown.map(([name, ms], n) => el("li", { class: `stage-${n % 4}` }, `${name.replace(/_ms$/, "").replaceAll("_", " ")} ${milliseconds(ms)}`));
  return el("details", { class: "more timings" }, el("summary", {}, "Time by stage"), el("div", { class: "stages", "aria-hidden": "true" }, pieces), el("ul", {}, names), index ? el("p", {}, `Searched: ${index}, consistency ${consistency}`) : null);
}

/** What the service was asked, to be asked again by a program; an image or a clip is left out. */
function request({ path, body }) {
  const left = Object.keys(body).filter((name) => name.endsWith("_base64"));
  const shown = { ...body, ...Object.fromEntries(left.map((name) => [name, "…"])) };
  const text = `POST ${path}\n${JSON.stringify(shown, null, 2)}`;
  return el("details", { class: "more" }, el("summary", {}, "The request"), el("pre", { dir: "ltr", tabindex: "0" }, text));
}

/** Where an item stands compared with the other column. */
function moved(rank, other) {
  if (other === undefined) return { kind: "new", sign: "new", told: "only in this column" };
  if (other === rank) return { kind: "same", sign: "=", told: "at the same place" };
  const steps = Math.abs(other - rank);
  return rank < other
    ? { kind: "up", sign: `▲ ${steps}`, told: `${steps} higher than in the other column` }
    : { kind: "down", sign: `▼ ${steps}`, told: `${steps} lower than in the other column` };
}

const CHANNELS = {
  content: "by meaning",
  item: "by likeness",
  profile: "by the mean",
  interest: "by interest",
  lexical: "by words",
  collaborative: "liked together",
  codes: "same codes",
  popular: "popular",
  fresh: "fresh",
};

/** How a candidate was found, where there is more than one way; `interests` are numbered from 1. */
function channelOf({ channels, interest }, interests) {
  if (interest && interests.length > 1) return `interest ${1 + interests.findIndex((each) => each.item_id === interest)}`;
  return (channels ?? []).map((channel) => CHANNELS[channel] ?? channel).join(" + ");
}

/** The interests that a history was searched by, each by the item that stands for it. */
function interestsOf(reply, items) {
  const interests = reply.interests ?? [];
  if (interests.length < 2) return null;
  const shown = interests.map((each, n) => {
    const title = items.get(each.item_id)?.title || each.item_id;
    return el("li", {}, el("b", {}, `${n + 1} `), el("span", { dir: "auto" }, title), ` ${percent(each.weight)}`);
  });
  return el("div", { class: "interests" }, "Searched by the interests", el("ol", {}, shown));
}

/** The cards of a reply; `ranks` are those of the reply beside it. */
function candidates(reply, items, ranks) {
  const scores = reply.candidates.map((each) => each.score ?? 0);
  const [least, most] = [Math.min(...scores, 0), Math.max(...scores, 0)];
  const isMixed = new Set(reply.candidates.map((each) => String(each.channels))).size > 1; // else it says nothing
  const entries = reply.candidates.map((each) => ({
    item_id: each.item_id,
    rank: each.rank,
    score: each.score,
    share: each.score !== null && most > least ? (each.score - least) / (most - least) : 0,
    channel: isMixed || reply.interests?.length > 1 ? channelOf(each, reply.interests ?? []) : "",
    reasons: each.reasons,
    moved: ranks && moved(each.rank, ranks.get(each.item_id)),
  }));
  return grid(entries, items, "Items found, best first");
}

const NOTHING = "Nothing meets this. Loosen the filters, or ask for something else.";

/**
 * One reply as a column.
 *
 * @param asked { path, body, told } as `requests` makes it
 * @param ranks those of the reply beside it; null where there is none
 */
export function column(reply, items, asked, ranks) {
  const { told } = asked;
  return el(
    "section",
    { class: "column", "aria-label": told },
    ranks ? el("h2", {}, told) : null,
    summary(reply),
    interestsOf(reply, items),
    el("div", { class: "mores" }, timings(reply), request(asked)),
    reply.candidates.length ? candidates(reply, items, ranks) : el("p", { class: "note" }, NOTHING),
  );
}

export const ranksOf = (reply) => new Map(reply.candidates.map((each) => [each.item_id, each.rank]));

const SCORES = {
  version: "Scores of two models are not comparable; places are.",
  order: "The ranker’s scores are no cosines; compare places.",
};

/** How much two replies have in common, in a sentence; `kind` is what they differ in. */
export function agreement(left, right, kind) {
  const ranks = ranksOf(left);
  const common = right.candidates.filter((each) => ranks.has(each.item_id)).length;
  const most = Math.max(left.candidates.length, right.candidates.length);
  return `${common} of ${most} items are in both columns. ${SCORES[kind] ?? ""}`;
}

/** What went wrong, in the service's own words. */
export function failure(error) {
  const named = error.status ? `${error.status} ${error.type}` : error.type ?? error.name;
  return el("div", { class: "failure", role: "alert" }, el("b", {}, named), el("p", { dir: "auto" }, error.message));
}
