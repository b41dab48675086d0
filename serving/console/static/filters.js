// The fields that make a typed filter, and the filter that they make.

import { byId, el } from "./dom.js";

/** A field that takes several values: Enter adds one, a click on a value takes it away. */
function valuesField(name, label, onChange) {
  const chips = el("span", { class: "chips" });
  const list = el("datalist", { id: `${name}-values` });
  const input = el("input", { id: name, list: list.id, autocomplete: "off", maxlength: "500" });
  const values = () => [...chips.children].map((chip) => chip.dataset.value);
  const add = (value) => {
    if (!value || values().includes(value)) return;
    const remove = () => {
      chip.remove();
      input.focus();
      onChange();
    };
    const chip = el("button", { type: "button", class: "chip", "data-value": value, "aria-label": `Remove ${value}`, onclick: remove }, value, " ×");
    chips.append(chip);
  };
  const take = () => {
    if (!input.value.trim()) return;
    add(input.value.trim());
    input.value = "";
    onChange();
  };
  input.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && input.value.trim()) {
      event.preventDefault(); // the first Enter makes a value, the next one asks
      take();
    }
  });
  input.addEventListener("change", take);
  return {
    element: el("div", { class: "field" }, el("label", { for: name }, label), chips, input, list),
    values,
    set: (wanted) => (chips.replaceChildren(), wanted.forEach(add)),
    offer: (offered) => list.replaceChildren(...offered.map((value) => el("option", { value }))),
  };
}

function dateField(name, label, onChange) {
  const input = el("input", { id: name, type: "date", onchange: onChange });
  const element = el("div", { class: "field" }, el("label", { for: name }, label), input);
  return {
    element,
    value: () => (input.value ? `${input.value}T00:00:00Z` : undefined),
    set: (time) => (input.value = time ? time.slice(0, 10) : ""),
  };
}

/** A value as a filter compares it: 12 is a number, true a truth, "12" in quotes a text. */
export function typed(text) {
  const word = text.trim();
  if (/^".*"$/.test(word)) return word.slice(1, -1);
  if (word === "true" || word === "false") return word === "true";
  return word !== "" && Number.isFinite(Number(word)) ? Number(word) : word;
}

const written = (value) => (typeof value === "string" && typed(value) !== value ? `"${value}"` : String(value));

const KINDS = { is: "is", one: "is one of", range: "is between" };

function attributeRow(rows, names, onChange) {
  const number = rows.children.length + 1;
  const name = el("input", { list: names.id, autocomplete: "off", "aria-label": `Attribute ${number}`, placeholder: "price", onchange: onChange });
  const kind = el("select", { "aria-label": `Condition on attribute ${number}` }, Object.entries(KINDS).map(([value, told]) => el("option", { value }, told)));
  const first = el("input", { autocomplete: "off", onchange: onChange });
  const last = el("input", { autocomplete: "off", "aria-label": `Largest value of attribute ${number}`, placeholder: "no end", onchange: onChange });
  const relabel = () => {
    const isRange = kind.value === "range";
    last.hidden = !isRange;
    first.setAttribute("aria-label", `${isRange ? "Smallest value" : "Value"} of attribute ${number}`);
    first.placeholder = isRange ? "no start" : kind.value === "one" ? "acme, echo" : "acme";
  };
  kind.addEventListener("change", () => (relabel(), onChange()));
  const remove = el("button", { type: "button", class: "plain", "aria-label": `Remove attribute ${number}`, onclick: () => (row.remove(), onChange()) }, "×");
  const row = el("div", { class: "attribute" }, name, kind, first, last, remove);
  row.condition = () => {
    if (!name.value.trim()) return undefined;
    if (kind.value === "range") {
      const ends = {};
      if (first.value.trim()) ends.min = Number(first.value);
      if (last.value.trim()) ends.max = Number(last.value);
      return Object.keys(ends).length ? [name.value.trim(), ends] : undefined;
    }
    if (!first.value.trim()) return undefined;
    const values = first.value.split(",").filter((part) => part.trim()).map(typed);
    return [name.value.trim(), kind.value === "one" ? values : typed(first.value)];
  };
  row.set = (attribute, condition) => {
    name.value = attribute;
    kind.value = Array.isArray(condition) ? "one" : typeof condition === "object" ? "range" : "is";
    if (kind.value === "range") [first.value, last.value] = [condition.min ?? "", condition.max ?? ""];
    else first.value = [condition].flat().map(written).join(", ");
    relabel();
  };
  relabel();
  rows.append(row);
  return row;
}

/** Put the fields into the page; return { filter, set, offer }. */
export function startFilters() {
  const changed = () => {
    const number = numConditions(filter());
    byId("num-filters").textContent = number ? ` (${number})` : "";
  };
  const categories = valuesField("category_in", "Category is one of", changed);
  const any = valuesField("tags_any", "Has any of the tags", changed);
  const all = valuesField("tags_all", "Has all of the tags", changed);
  const after = dateField("created_after", "Created from", changed);
  const before = dateField("created_before", "Created before", changed);
  const names = el("datalist", { id: "attribute-names" });
  const rows = el("div", { class: "attributes" });
  const addRow = () => attributeRow(rows, names, changed);
  const more = el("button", { type: "button", class: "plain", onclick: () => addRow().querySelector("input").focus() }, "Add a condition on an attribute");
  byId("filter-fields").append(
    categories.element, any.element, all.element, after.element, before.element,
    el("div", { class: "field wide" }, rows, names, more),
  );

  function filter() {
    const made = {};
    if (categories.values().length) made.category_in = categories.values();
    if (any.values().length) made.tags_any = any.values();
    if (all.values().length) made.tags_all = all.values();
    if (after.value()) made.created_after = after.value();
    if (before.value()) made.created_before = before.value();
    const conditions = [...rows.children].map((row) => row.condition()).filter(Boolean);
    if (conditions.length) made.attributes = Object.fromEntries(conditions);
    return made;
  }

  function set(wanted) {
    categories.set(wanted.category_in ?? []);
    any.set(wanted.tags_any ?? []);
    all.set(wanted.tags_all ?? []);
    after.set(wanted.created_after);
    before.set(wanted.created_before);
    rows.replaceChildren();
    for (const [name, condition] of Object.entries(wanted.attributes ?? {})) addRow().set(name, condition);
    changed();
    if (numConditions(wanted)) byId("filters").open = true;
  }

  function offer(catalogue) {
    categories.offer(catalogue.categories.map((each) => each.value));
    any.offer(catalogue.tags.map((each) => each.value));
    all.offer(catalogue.tags.map((each) => each.value));
    names.replaceChildren(...catalogue.attributes.map((value) => el("option", { value })));
  }

  return { filter, set, offer };
}

const numConditions = (filter) =>
  Object.keys(filter).length + Math.max(0, Object.keys(filter.attributes ?? {}).length - 1);
