/** The panel next to the video: each person's bars and last minute. */

import { make } from "./elements.js";
import { FaceCard } from "./faces.js";
import { say } from "./language.js";
import { isCrowd } from "./overlay.js";

const MINUTE_S = 60;
const SAMPLE_S = 0.25;
const REFRESH_S = 0.1;
const GONE_S = 4; // time for which the card of a person who left remains, so that the panel does not jump
const MOST_CARDS = 40;

export class PeoplePanel {
  /** @param {HTMLElement} root @param {Function} colourOf returns the colour for a person's number */
  constructor(root, colourOf) {
    this.root = root;
    this.labels = [];
    this.colourOf = colourOf;
    this.clear();
  }

  /** Sets the expressions: `{id, name, colour}` each. */
  setLabels(labels) {
    if (JSON.stringify(labels) === JSON.stringify(this.labels)) return;
    this.labels = labels;
    this.clear(); // bars and charts are of other expressions
  }

  clear() {
    this.people = new Map();
    this.refreshed = -Infinity;
    this.isCrowd = false;
    this.root.classList.remove("kv-many");
    this.root.replaceChildren();
  }

  /** Adds an answer; the page is updated at most ten times per second. */
  update({ faces, time }) {
    for (const face of faces) this.personOf(face.track_id)?.see(face, time);
    if (time >= this.refreshed && time - this.refreshed < REFRESH_S) return;
    this.refreshed = time;
    this.setCrowd(isCrowd(this.people.size, this.isCrowd));
    for (const [id, person] of this.people) {
      if (time - person.time > GONE_S || person.time > time) {
        person.root.remove();
        this.people.delete(id);
      } else person.refresh(id, time, this.colourOf(id));
    }
  }

  /** Shows only the headings of many people; a click opens one. */
  setCrowd(isOn) {
    this.isCrowd = isOn;
    this.root.classList.toggle("kv-many", isOn);
    for (const person of this.people.values()) person.setCompact(isOn);
  }

  personOf(id) {
    if (!this.people.has(id) && this.people.size < MOST_CARDS) {
      const person = new Person(this.labels);
      this.people.set(id, person);
      this.refreshed = -Infinity; // fill in the new card at once
      this.root.append(person.root);
    }
    return this.people.get(id);
  }
}

/** One person's card with a strip chart of the last minute. */
class Person {
  constructor(labels) {
    this.labels = labels;
    this.samples = [];
    this.card = new FaceCard(labels);
    this.strip = make("canvas", { class: "kv-strip", width: 480, height: 88, role: "img" });
    const ends = [say("a minute ago"), say("now")].map((textContent) => make("span", { textContent }));
    this.card.root.append(this.strip, make("div", { class: "kv-strip-words" }, ...ends));
    this.root = this.card.root;
    this.isCompact = this.isOpen = false;
    this.head = this.root.firstElementChild;
    this.head.addEventListener("click", () => this.open(!this.isOpen));
    this.head.addEventListener("keydown", (key) => {
      if (!this.isCompact || !/^(Enter|Space)$/.test(key.code)) return;
      key.preventDefault();
      key.stopPropagation(); // outside the card, Space starts and stops the camera
      this.open(!this.isOpen);
    });
  }

  setCompact(isCompact) {
    if (isCompact === this.isCompact) return;
    this.isCompact = isCompact;
    for (const [name, value] of [["role", "button"], ["tabindex", "0"]]) {
      if (isCompact) this.head.setAttribute(name, value);
      else this.head.removeAttribute(name);
    }
    this.open(false);
  }

  open(isOpen) {
    this.isOpen = isOpen && this.isCompact;
    this.root.classList.toggle("kv-open", this.isOpen);
    if (this.isCompact) this.head.setAttribute("aria-expanded", String(this.isOpen));
    else this.head.removeAttribute("aria-expanded");
    this.drawnAt = undefined;
  }

  see(face, time) {
    this.face = face;
    this.time = time;
    const last = this.samples.at(-1);
    if (last && time - last.time < SAMPLE_S) return;
    this.samples.push({ time, shares: this.labels.map(({ id }) => face.probabilities[id] ?? 0) });
    while (this.samples[0].time < time - MINUTE_S) this.samples.shift();
  }

  refresh(id, time, colour) {
    const own = this.labels.find((label) => label.id === this.face.emotion)?.colour;
    this.card.update(id, this.face, this.face.unsure, (this.isCompact && own) || colour); // the same colour as on the video
    this.root.classList.toggle("kv-gone", time - this.time > 0.5);
    if (this.isCompact && !this.isOpen) return;
    if (this.drawnAt !== undefined && Math.abs(time - this.drawnAt) < SAMPLE_S) return;
    this.drawnAt = time;
    this.drawStrip(time);
  }

  drawStrip(now) {
    const { width, height } = this.strip;
    const context = this.strip.getContext("2d");
    context.clearRect(0, 0, width, height);
    const x = (time) => width * (1 - (now - time) / MINUTE_S);
    for (let index = 1; index < this.samples.length; index += 1) {
      const [before, sample] = [this.samples[index - 1], this.samples[index]];
      if (sample.time - before.time > 4 * SAMPLE_S) continue; // not detected in between
      let y = height;
      sample.shares.forEach((share, which) => {
        context.fillStyle = this.labels[which].colour;
        context.fillRect(x(before.time), y - share * height, x(sample.time) - x(before.time) + 0.6, share * height);
        y -= share * height;
      });
    }
    this.strip.setAttribute("aria-label", say("The expressions over the last minute"));
  }
}
