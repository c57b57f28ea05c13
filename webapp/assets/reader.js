/** Sends frames of a playing video to the server, only the newest and one at a time; passes on the answers. */

const SENT_WIDTH = 480;
const FROZEN_STEP_MS = 900; // the server forgets people who are unseen for longer than a second

export class FrameReader {
  /**
   * @param {HTMLVideoElement} video
   * @param {object} settings settings, sent to the server before the first frame
   * @param {{onFaces: Function, onReady: Function, onProblem: Function, onState: Function}} listener
   */
  constructor(video, settings, listener) {
    this.video = video;
    this.listener = listener;
    this.isOpen = this.isIdle = this.isBusy = this.isFresh = this.isPaused = this.isClosed = false;
    this.sentAt = this.lastTime = 0;
    this.wanted = 0; // frames to send although paused
    this.worker = new Worker(new URL("./live_worker.js", import.meta.url), { type: "module" });
    this.worker.onmessage = ({ data }) => this.receive(data);
    const address = new URL("kv/live", document.baseURI);
    address.protocol = address.protocol.replace("http", "ws");
    this.worker.postMessage({ address: address.href, settings: JSON.stringify(settings) });
    this.watch();
  }

  /** Sends changed settings, which apply from the next frame. */
  configure(settings) {
    this.worker.postMessage({ settings: JSON.stringify(settings) });
  }

  /** Sends `learn` or `undo` for the resting face of the person in view; the answers contain the state. */
  rest(order) {
    this.worker.postMessage({ rest: JSON.stringify({ rest: order }) });
  }

  /** Stops sending frames, except for one frame per `readOnce`. */
  pause(isPaused) {
    this.isPaused = isPaused;
  }

  readOnce() {
    this.wanted = Math.max(this.wanted, 1);
    // Later than any earlier frame, so that it counts as new; however long it is frozen, the people are the same.
    this.time = Math.min(performance.now(), 1000 * this.lastTime + FROZEN_STEP_MS);
    if (!this.isBusy) this.send();
  }

  close() {
    this.isClosed = true;
    this.worker.postMessage({ close: true });
  }

  watch() {
    if (this.isClosed) return;
    const seen = (now, metadata = {}) => {
      if (this.isClosed) return;
      this.time = metadata.captureTime ?? now;
      this.presentedAt = now;
      this.isFresh = true;
      if (!this.isBusy) this.send();
      this.watch();
    };
    if (this.video.requestVideoFrameCallback) this.video.requestVideoFrameCallback(seen);
    else requestAnimationFrame((now) => seen(now));
  }

  /** Connects again after a pause in which the server closed the connection. */
  wake() {
    this.isIdle = false;
    this.worker.postMessage({ wake: true });
  }

  async send() {
    const { videoWidth, videoHeight } = this.video;
    if (!videoWidth || (this.isPaused && !this.wanted)) return;
    if (this.isIdle) this.wake();
    if (!this.isOpen) return;
    this.isBusy = true;
    this.isFresh = false;
    this.wanted = Math.max(this.wanted - 1, 0);
    this.sentAt = this.presentedAt ?? performance.now();
    const scale = Math.min(1, SENT_WIDTH / videoWidth);
    const size = { width: Math.round(videoWidth * scale), height: Math.round(videoHeight * scale) };
    try {
      const frame = await this.grab();
      this.lastTime = Math.max(this.lastTime, (this.time ?? performance.now()) / 1000);
      this.worker.postMessage({ frame, time: this.lastTime, ...size }, [frame]);
    } catch {
      this.isBusy = false; // no frame available yet; retry with the next one
    }
  }

  /** The displayed frame, without a copy if the browser supports it. */
  async grab() {
    if ("VideoFrame" in window && !this.cannotGrab) {
      try {
        return new VideoFrame(this.video, { timestamp: 0 });
      } catch {
        this.cannotGrab = true;
      }
    }
    return createImageBitmap(this.video);
  }

  receive({ state, reason, answer }) {
    if (this.isClosed) return;
    if (state === "open") {
      this.isOpen = true;
      this.isBusy = false;
      if (this.isPaused) this.wanted = 2; // a new session reports faces from their second frame on
      this.listener.onState("open");
    } else if (state === "idle") {
      this.isOpen = this.isBusy = false;
      this.isIdle = true;
    } else if (state === "lost") {
      this.isOpen = this.isBusy = false;
      this.listener.onState("lost", reason);
    } else if (state === "unsent") {
      this.isBusy = false;
    } else if (answer.kind === "rest") {
      return; // the next frame reports it, too
    } else if (answer.kind === "ready") {
      this.listener.onReady(answer);
    } else {
      this.isBusy = false;
      if (answer.kind === "problem") this.listener.onProblem(answer.text);
      else this.listener.onFaces(answer, this.sentAt);
    }
    if (!this.isBusy && (this.isFresh || this.wanted)) this.send();
  }
}
