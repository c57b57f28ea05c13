/** A recording of the faces, kept in the page's memory until it is saved. */

const MOST_ROWS = 200_000; // two hours of one face at 28 frames per second
const VALUES = ["confidence", "score", "other", "roll"];

export class SessionRecord {
  /** @param {{id: string}[]} labels */
  constructor(labels) {
    this.ids = [];
    this.setLabels(labels);
    this.rows = [];
    this.start = null;
  }

  /** Adds columns for the expressions of another model, after the existing ones. */
  setLabels(labels) {
    for (const { id } of labels) if (!this.ids.includes(id)) this.ids.push(id);
  }

  get isEmpty() {
    return this.rows.length === 0;
  }

  get isFull() {
    return this.rows.length >= MOST_ROWS;
  }

  add({ faces, time }) {
    this.start ??= time;
    for (const face of faces) {
      if (this.isFull) return;
      const values = [...face.box, ...VALUES.map((name) => face[name]), ...this.ids.map((id) => face.probabilities[id])];
      const words = [(time - this.start).toFixed(3), face.track_id, face.emotion, face.unsure];
      this.rows.push([...words, ...values.map((value) => (value === undefined ? "" : +value.toFixed(4)))].join(","));
    }
  }

  /** CSV with one row per face and frame; columns are named as in face records. */
  asCsv() {
    const names = ["time_s", "person", "emotion", "unsure", "left", "top", "right", "bottom", ...VALUES];
    const columns = [...names, ...this.ids];
    const rows = this.rows.map((row) => row + ",".repeat(columns.length - row.split(",").length));
    return `${[columns.join(","), ...rows].join("\n")}\n`;
  }
}
