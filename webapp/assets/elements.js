/** Helpers that build and fill page elements. */

import { say, translated } from "./language.js";

/**
 * @param {string} tag
 * @param {Record<string, unknown>} [properties] set on the element; `class` and `data-…`, `aria-…` as attributes
 * @param {...(Node | string)} children
 */
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in element && !name.includes("-")) element[name] = value;
    else element.setAttribute(name, String(value));
  }
  element.append(...children);
  return element;
}

/** All elements with a `data-part` inside `root`, by that name. */
export function partsOf(root) {
  const parts = {};
  for (const element of root.querySelectorAll("[data-part]")) parts[element.dataset.part] = element;
  return parts;
}

/**
 * Fills a select; the first choice is the default.
 * @param {HTMLSelectElement} select
 * @param {{id: string, name: string, is_ready?: boolean}[]} choices
 */
export function fillChoices(select, choices) {
  const options = choices.map(({ id, name, is_ready: isReady = true }) =>
    make("option", { value: id, textContent: translated(name), disabled: !isReady }));
  select.replaceChildren(...options);
}

/**
 * Fills the choice of a model's heads; hidden if there is only one.
 * @param {{head: HTMLSelectElement, headField: HTMLElement, weights: HTMLSelectElement}} parts
 * @param {{weights: {id: string, heads: {id: string, name: string}[]}[]}} choices
 */
export function fillHeads({ head, headField, weights }, choices) {
  const heads = choices.weights.find(({ id }) => id === weights.value)?.heads ?? [];
  fillChoices(head, heads);
  headField.hidden = heads.length < 2;
}

/** The visitor's choice of models, as request parameters; defaults are omitted. */
export function chosenModels({ detector, weights, head }) {
  const chosen = { detector: detector.value, weights: weights.value, head: head.value };
  return Object.fromEntries(Object.entries(chosen).filter(([, value]) => value));
}

/** Choices for faces in a saved image or video, by the server's names. */
export const COVERS = [
  { id: "", name: say("Labelled") },
  { id: "blur", name: say("Blurred") },
  { id: "pixelate", name: say("Pixelated") },
  { id: "box", name: say("Behind black boxes") },
];

/** Downloads a file from the page's memory. */
export function download(name, content) {
  const address = typeof content === "string" ? content : URL.createObjectURL(content);
  make("a", { href: address, download: name }).click();
  if (address !== content) setTimeout(() => URL.revokeObjectURL(address), 10_000);
}

/** Shows a message with advice, or hides the notice if the message is empty. */
export function showNotice(notice, title, advice = []) {
  notice.hidden = !title;
  if (!title) return notice.replaceChildren();
  const text = make("div", {}, make("strong", { textContent: title }));
  if (advice.length) text.append(make("ul", {}, ...advice.map((line) => make("li", { textContent: line }))));
  notice.replaceChildren(text);
}

/** Adds a capital and a full stop to a message. */
export function sentence(text) {
  const trimmed = text.trim();
  return trimmed.charAt(0).toUpperCase() + trimmed.slice(1) + (/[.!?]$/.test(trimmed) ? "" : ".");
}

export const percent = (share) => `${Math.round(share * 100)} %`;
