/** Draws boxes and names on a canvas over the video. */

import { percent } from "./elements.js";
import { say } from "./language.js";
import { placeLabels } from "./label_places.js";

const UPRIGHT_BELOW = 4; // degrees: boxes of nearly upright heads are upright
const TURNED_ABOVE = 12; // in between they turn gradually, so that no box flickers
const DARK = "#10141a";
const CROWD = 7; // number of faces from which numbers replace names, which would hide the image

export class Overlay {
  /** @param {HTMLCanvasElement} canvas @param {{people: string[]}} choices */
  constructor(canvas, { people }) {
    this.canvas = canvas;
    this.people = people;
    this.setLabels([]);
    this.sides = new Map(); // side of each name, by track
    this.isCrowd = false;
    this.isByPerson = true; // boxes have the person's colour, otherwise the expression's
    this.picked = null; // number of the selected face
  }

  /** Sets names and colours of the expressions: `{id, name, colour}` each. */
  setLabels(labels) {
    this.labels = new Map(labels.map((label) => [label.id, label]));
  }

  personColour(id) {
    return this.people[id % this.people.length];
  }

  clear() {
    this.canvas.getContext("2d").clearRect(0, 0, this.canvas.width, this.canvas.height);
  }

  /** Fits the canvas resolution to its displayed size and the video's aspect ratio. */
  fit(width, height) {
    const shown = this.canvas.getBoundingClientRect();
    const scale = Math.min(shown.width / width, shown.height / height) * Math.min(devicePixelRatio, 2);
    const size = { width: Math.max(Math.round(width * scale), 1), height: Math.max(Math.round(height * scale), 1) };
    if (this.canvas.width !== size.width || this.canvas.height !== size.height) Object.assign(this.canvas, size);
  }

  /** Draws the faces of an answer; `isMirrored` mirrors positions, never text. */
  draw(answer, isMirrored) {
    this.fit(answer.width, answer.height);
    this.clear();
    this.isCrowd = isCrowd(answer.faces.length, this.isCrowd);
    this.paint(this.canvas.getContext("2d"), answer, this.canvas.width, isMirrored, this.sides);
  }

  /** Draws on any canvas context `width` pixels wide, such as that of a snapshot. */
  paint(context, answer, width, isMirrored = false, sides = new Map()) {
    const scale = width / answer.width;
    const size = this.letterSize(answer, width);
    context.font = `600 ${size}px ui-sans-serif, system-ui, sans-serif`;
    const labels = answer.faces.map((face) => this.label(context, face, scale, size, answer.faces.length > 1));
    if (isMirrored) for (const { box } of labels) [box.left, box.right] = [width - box.right, width - box.left];
    const places = placeLabels(labels, width, answer.height * scale, sides);
    labels.forEach((label, index) => Object.assign(label, places[index]));
    labels.reverse(); // the answer is largest first: draw the largest last, on top
    labels.sort((one, other) => (one.id === this.picked) - (other.id === this.picked)); // the selected face on top
    for (const label of labels) {
      context.globalAlpha = this.picked === null || label.id === this.picked ? 1 : 0.6; // dim the others
      this.frame(context, label, isMirrored ? -label.face.roll : label.face.roll, size);
    }
    context.globalAlpha = 1;
    for (const label of labels) this.name(context, label, size);
  }

  /** A readable text size; in a crowd, badges small enough not to hide the faces. */
  letterSize({ faces, width: pictureWidth }, width) {
    const ratio = Math.min(devicePixelRatio, 2);
    const usual = Math.max(13 * ratio, width / 44);
    if (!this.isCrowd) return usual;
    const heights = faces.map(({ box: [, top, , bottom] }) => bottom - top).sort((one, other) => one - other);
    const typical = (heights[heights.length >> 1] * width) / pictureWidth;
    return Math.min(Math.max(9 * ratio, 0.28 * typical), usual);
  }

  label(context, face, scale, size, isNumbered) {
    const { name, colour } = this.labels.get(face.emotion) ?? { name: face.emotion, colour: DARK };
    const word = face.unsure ? say("Unsure: {expression}", { expression: name.toLowerCase() }) : name;
    const said = face.turned_away ? say("Turned away") : `${word} ${percent(face.confidence)}`;
    const text = this.isCrowd ? `${face.track_id}` : `${isNumbered ? `${face.track_id} · ` : ""}${said}`;
    const [left, top, right, bottom] = face.box.map((value) => value * scale);
    const height = size * (this.isCrowd ? 1.35 : 1.6);
    const width = Math.max(context.measureText(text).width + size * (this.isCrowd ? 0.7 : 1), height);
    return { id: face.track_id, face, text, colour, width, height, box: { left, top, right, bottom } };
  }

  frame(context, { face, colour, box: { left, top, right, bottom } }, roll, size) {
    const [width, height] = [right - left, bottom - top];
    const line = this.isCrowd || !this.isByPerson ? colour : this.personColour(face.track_id);
    const isPicked = face.track_id === this.picked;
    const usual = [[DARK, size / 3.2], [line, size / 5.5]];
    context.save();
    context.translate((left + right) / 2, (top + bottom) / 2);
    context.rotate((shownTurn(roll) * Math.PI) / 180);
    context.beginPath();
    context.roundRect(-width / 2, -height / 2, width, height, 0.12 * Math.min(width, height));
    for (const [shade, thickness] of isPicked ? [[DARK, size / 1.8], ["#fff", size / 3]] : usual) {
      context.strokeStyle = shade;
      context.lineWidth = thickness;
      context.stroke();
    }
    context.restore();
  }

  name(context, { face, text, colour: own, x, y, width, height }, size) {
    const colour = face.track_id === this.picked ? "#ffffff" : own;
    context.beginPath();
    context.roundRect(x, y, width, height, height * 0.32);
    context.fillStyle = face.unsure ? DARK : colour;
    context.fill();
    if (face.unsure || this.isCrowd) {
      context.strokeStyle = face.unsure ? colour : DARK;
      context.lineWidth = size / 9;
      context.stroke();
    }
    context.fillStyle = face.unsure ? "#fff" : inkOn(colour);
    context.textBaseline = "middle";
    context.textAlign = "center";
    context.fillText(text, x + width / 2, y + height / 2 + size * 0.04);
  }
}

/** Whether to show numbers instead of names, with hysteresis for faces that come and go. */
export const isCrowd = (count, wasCrowd = false) => count >= CROWD - (wasCrowd ? 2 : 0);

/** The rotation of a box for a head's roll, both in degrees. */
export function shownTurn(roll) {
  const share = Math.min(Math.max((Math.abs(roll) - UPRIGHT_BELOW) / (TURNED_ABOVE - UPRIGHT_BELOW), 0), 1);
  return roll * share;
}

/** White or near-black, whichever has more contrast, by WCAG luminance. */
export function inkOn(colour) {
  const [red, green, blue] = [1, 3, 5].map((at) => {
    const value = parseInt(colour.slice(at, at + 2), 16) / 255;
    return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.185 ? DARK : "#fff";
}
