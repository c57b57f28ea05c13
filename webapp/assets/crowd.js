/** A compact view of many faces: a summary, one row per face, the bars of the selected face. */

import { make, percent } from "./elements.js";
import { FaceCard, wordOf } from "./faces.js";
import { say } from "./language.js";
import { inkOn } from "./overlay.js";

const UNSURE = say("Unsure");
const AWAY = say("Turned away");
const PALE = { [UNSURE]: "#8b93a3", [AWAY]: "#c3c8d2" };

/**
 * Counts faces per expression, in the order of the labels; unsure and turned-away faces come last.
 * @param {{emotion: string, unsure: boolean, turned_away: boolean}[]} faces
 * @param {{id: string, name: string, colour: string}[]} labels
 * @returns {{name: string, colour: string, count: number}[]}
 */
export function summarise(faces, labels) {
  const groupOf = (face) => {
    if (face.turned_away) return AWAY;
    return face.unsure ? UNSURE : wordOf(face, labels);
  };
  const groups = [...labels, ...Object.entries(PALE).map(([name, colour]) => ({ name, colour }))];
  const countOf = (name) => faces.filter((face) => groupOf(face) === name).length;
  const counted = groups.map(({ name, colour }) => ({ name, colour, count: countOf(name) }));
  return counted.filter(({ count }) => count);
}

/** The summary in words: "3 happy, 2 unsure". */
export const summaryWords = (groups) =>
  groups.map(({ name, count }) => say("{count} {expression}", { count, expression: name.toLowerCase() })).join(", ");

export class CrowdPanel {
  /** @param {(number: number | null) => void} onPick called with the selected face's number, from 1 */
  constructor(onPick) {
    this.onPick = onPick;
    this.bar = make("div", { class: "kv-crowd-bar", "aria-hidden": "true" });
    this.groups = make("ul", { class: "kv-crowd-groups" });
    this.picked = make("div", { class: "kv-crowd-picked" });
    const label = say("Faces, largest first");
    this.list = make("div", { class: "kv-crowd-list", role: "listbox", tabIndex: 0, "aria-label": label });
    this.root = make("div", { class: "kv-crowd" }, this.bar, this.groups, this.picked, this.list);
    this.list.addEventListener("keydown", (key) => this.press(key));
    this.list.addEventListener("click", ({ target }) => {
      const row = target.closest("[role=option]");
      if (row) this.pick(this.rows.indexOf(row) + 1);
    });
  }

  /**
   * @param {object[]} faces face records
   * @param {{id: string, name: string, colour: string}[]} labels
   * @param {(card: FaceCard, face: object) => () => void} prepare extends an opened card; returns a function
   *   to call after a delay
   */
  show(faces, labels, prepare) {
    Object.assign(this, { faces, labels, prepare, cards: new Map() });
    const groups = summarise(faces, labels);
    this.bar.replaceChildren(...groups.map(({ colour, count }) => {
      const part = make("span");
      Object.assign(part.style, { background: colour, flexGrow: count });
      return part;
    }));
    this.groups.replaceChildren(...groups.map(({ name, colour, count }) => {
      const dot = make("i");
      dot.style.background = colour;
      return make("li", {}, dot, `${name} `, make("strong", { textContent: String(count) }));
    }));
    this.rows = faces.map((face, index) => this.row(face, index + 1));
    this.list.replaceChildren(...this.rows);
    this.pick(null);
  }

  row(face, number) {
    const word = wordOf(face, this.labels);
    const share = face.turned_away ? "" : percent(face.confidence);
    const colour = this.labels.find(({ id }) => id === face.emotion)?.colour ?? "#8b93a3";
    const badge = make("span", { class: "kv-crowd-badge", textContent: String(number) });
    const isClear = !face.unsure && !face.turned_away;
    badge.style.borderColor = colour;
    if (isClear) Object.assign(badge.style, { background: colour, color: inkOn(colour) });
    const said = make("span", { class: "kv-crowd-word", textContent: word });
    const sure = make("span", { class: "kv-share", textContent: share });
    const name = say("Face {number}: {word}", { number, word: `${word}${share && `, ${share}`}` });
    const properties = { class: "kv-crowd-row", role: "option", id: `kv-crowd-${number}`, "aria-label": name };
    return make("div", properties, badge, said, sure);
  }

  /** Selects a face by its number, from 1; null clears the selection. */
  pick(number) {
    clearTimeout(this.rest);
    this.number = number;
    this.rows.forEach((row, index) => row.setAttribute("aria-selected", String(index + 1 === number)));
    const row = this.rows[number - 1];
    if (row) this.list.setAttribute("aria-activedescendant", row.id);
    else this.list.removeAttribute("aria-activedescendant");
    this.picked.replaceChildren(row ? this.cardOf(number) : make("p", { class: "kv-muted", textContent:
      say("Pick a face in the picture or below; arrow keys go from one to the next.") }));
    if (row) this.reveal(row);
    this.onPick(number);
  }

  /** Scrolls the list to the row, but not the page. */
  reveal(row) {
    const { list } = this;
    const lowest = row.offsetTop + row.offsetHeight - list.clientHeight + 8;
    list.scrollTop = Math.min(Math.max(list.scrollTop, lowest), row.offsetTop - 8);
  }

  /** Returns the card of a face; cards are reused with their explanation. */
  cardOf(number) {
    if (!this.cards.has(number)) {
      const face = this.faces[number - 1];
      const card = new FaceCard(this.labels);
      card.update(number, face, face.unsure);
      this.cards.set(number, { card, look: this.prepare(card, face) });
    }
    const { card, look } = this.cards.get(number);
    this.rest = setTimeout(look, 400); // skip faces that an arrow key only passes over
    return card.root;
  }

  press(key) {
    const last = this.rows.length;
    const top = this.rows[0].offsetTop;
    const columns = this.rows.filter(({ offsetTop }) => offsetTop === top).length;
    const steps = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns, Home: -last, End: last };
    if (key.ctrlKey || key.metaKey || key.altKey || !(key.key in steps || key.key === "Escape")) return;
    key.preventDefault();
    if (key.key === "Escape") this.pick(null);
    else this.pick(this.number ? Math.min(Math.max(this.number + steps[key.key], 1), last) : key.key === "End" ? last : 1);
  }
}
