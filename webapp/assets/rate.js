/** Frame rate and latency over the last seconds. */

const WINDOW_MS = 2000;

export class RateMeter {
  constructor() {
    this.frames = [];
  }

  /** Counts a labelled frame; `takenAt` is the time when the page first showed it. */
  add(takenAt, now = performance.now()) {
    this.frames.push({ now, latency: now - takenAt });
    while (this.frames[0].now < now - WINDOW_MS) this.frames.shift();
  }

  get rate() {
    const [first, last] = [this.frames[0], this.frames.at(-1)];
    return this.frames.length > 1 ? (1000 * (this.frames.length - 1)) / (last.now - first.now) : 0;
  }

  get latency() {
    const sorted = this.frames.map(({ latency }) => latency).sort((a, b) => a - b);
    return sorted.length ? sorted[sorted.length >> 1] : 0;
  }
}
