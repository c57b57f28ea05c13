/** What was seen while the visitor asked for a record; lives in the page's memory until it is saved. */

const MOST_ROWS = 200_000; // two hours of one face at 28 frames a second

export class SessionRecord {
  /** @param {{id: string}[]} emotions */
  constructor(emotions) {
    this.emotions = emotions;
    this.rows = [];
    this.start = null;
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
      const numbers = [...face.box, face.confidence, ...this.emotions.map(({ id }) => face.probabilities[id] ?? 0)];
      const words = [(time - this.start).toFixed(3), face.track_id, face.emotion, face.unsure];
      this.rows.push([...words, ...numbers.map((value) => +value.toFixed(4))].join(","));
    }
  }

  asCsv() {
    const names = ["time_s", "person", "emotion", "unsure", "left", "top", "right", "bottom", "confidence"];
    const head = [...names, ...this.emotions.map(({ id }) => id)].join(",");
    return `${[head, ...this.rows].join("\n")}\n`;
  }
}
