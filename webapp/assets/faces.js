/** Cards of faces: a heading and one bar per expression. */

import { make, percent } from "./elements.js";
import { say } from "./language.js";
import { inkOn } from "./overlay.js";

/** The prediction for a face in a word or two. */
export function wordOf({ emotion, unsure, turned_away: isAway }, labels) {
  const word = labels.find(({ id }) => id === emotion)?.name ?? emotion;
  if (isAway) return say("Turned away");
  return unsure ? say("Unsure: {expression}", { expression: word.toLowerCase() }) : word;
}

/** The card of one face; `update` changes it in place to avoid flicker. */
export class FaceCard {
  /** @param {{id: string, name: string, colour: string}[]} labels */
  constructor(labels) {
    this.labels = labels;
    this.number = make("span", { class: "kv-number" });
    this.word = make("span", { class: "kv-word" });
    this.share = make("span", { class: "kv-share" });
    this.extra = make("div", { class: "kv-face-extra", hidden: true });
    this.bars = labels.map((label) => {
      const fill = make("span", { class: "kv-fill" });
      fill.style.background = label.colour;
      const output = make("output");
      const bar = make(
        "div", { class: "kv-bar" },
        make("span", { textContent: label.name }), make("span", { class: "kv-track" }, fill), output,
      );
      return { bar, fill, output };
    });
    this.root = make(
      "section", { class: "kv-face" },
      make("div", { class: "kv-face-head" }, this.number, this.word, this.share),
      make("div", { class: "kv-bars" }, ...this.bars.map(({ bar }) => bar)),
      this.extra,
    );
  }

  /**
   * @param {number} number shown before the word
   * @param {{emotion: string, confidence: number, probabilities: Record<string, number>}} face
   * @param {boolean} unsure
   * @param {string} [colour] colour of the number's badge, for people in a stream
   * @param {string} [share] text at the right of the heading
   */
  update(number, face, unsure, colour = "", share = percent(face.confidence)) {
    setText(this.number, String(number));
    setText(this.word, wordOf({ ...face, unsure }, this.labels));
    setText(this.share, face.turned_away ? "" : share);
    if (colour) {
      this.number.style.background = colour;
      this.number.style.color = inkOn(colour);
    }
    const words = `${this.word.textContent}, ${this.share.textContent}`;
    this.root.classList.toggle("kv-away", Boolean(face.turned_away)); // its bars say little
    this.root.setAttribute("aria-label", say("Face {number}: {word}", { number, word: words }));
    this.labels.forEach((label, index) => {
      const probability = face.probabilities[label.id] ?? 0;
      const { bar, fill, output } = this.bars[index];
      fill.style.transform = `scaleX(${probability.toFixed(3)})`;
      setText(output, percent(probability));
      bar.classList.toggle("kv-top", label.id === face.emotion && !face.turned_away);
    });
  }
}

function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
