// Where everything starts: views by address, the live version, the API key, keys of the keyboard.

import { apiKey, getJson, setApiKey } from "./api.js";
import { startDetails } from "./cards.js";
import { byId, el } from "./dom.js";
import { knowVersions, showSearch, startSearch } from "./search.js";
import { hideState, showState } from "./state_view.js";
import { startTheme } from "./theme.js";

function showView() {
  const [path, parameters] = location.hash.slice(1).split(/\?(.*)/s);
  const isState = path === "/state";
  byId("search-view").hidden = isState;
  byId("state-view").hidden = !isState;
  document.querySelector(".skip").href = isState ? "#state-view" : "#main";
  const words = new URLSearchParams(parameters ?? "").get("text");
  document.title = isState ? "State · Ponder" : words ? `${words} · Ponder` : "Ponder";
  for (const link of document.querySelectorAll("nav a")) {
    const isHere = link.getAttribute("href") === (isState ? "#/state" : "#/search");
    if (isHere) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  if (isState) showState();
  else {
    hideState();
    showSearch(new URLSearchParams(parameters ?? ""));
  }
}

async function showLive() {
  const live = byId("live");
  try {
    const state = await getJson("/v1/state");
    const hasAlarm = state.versions.some((version) => version.is_live && version.problems.length);
    const named = state.live ? [el("code", {}, state.live), ...(hasAlarm ? [el("span", { class: "badge bad" }, "alarm")] : [])] : ["no version is live"];
    live.replaceChildren(el("span", { class: `dot ${state.live && !hasAlarm ? "good" : "bad"}` }), ...named);
    knowVersions(state);
  } catch {
    live.replaceChildren(el("span", { class: "dot bad" }), "state unknown");
  }
}

function startKey() {
  const dialog = byId("key-dialog");
  const button = byId("key-button");
  const open = (why) => {
    button.hidden = false;
    byId("key-why").textContent = why;
    byId("key").value = apiKey();
    if (!dialog.open) dialog.showModal();
  };
  button.hidden = !apiKey();
  button.addEventListener("click", () => open(""));
  document.addEventListener("key-wanted", (event) => open(event.detail));
  dialog.addEventListener("close", () => {
    if (!dialog.returnValue) return; // Escape: nothing was decided
    setApiKey(dialog.returnValue === "forget" ? "" : byId("key").value.trim());
    dialog.returnValue = "";
    byId("key").value = "";
    showView();
    showLive();
  });
}

function startKeyboard() {
  document.addEventListener("keydown", (event) => {
    const isTyping = event.target.closest("input, select, textarea, dialog");
    if (event.key !== "/" || isTyping || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    location.hash.startsWith("#/state") && (location.hash = "#/search");
    byId("box").querySelector(".query:not([hidden]) input").focus();
  });
  document.querySelector(".skip").addEventListener("click", (event) => {
    event.preventDefault(); // the address belongs to the views
    byId(event.target.getAttribute("href").slice(1)).focus();
  });
}

startTheme();
startKey();
startKeyboard();
startDetails();
startSearch();
window.addEventListener("hashchange", showView);
showView();
showLive();
