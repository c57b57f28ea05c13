/** The tab that analyses the webcam live. */

import { CameraError, closeCamera, isDemo, listCameras, openCamera } from "./camera.js";
import { chosenModels, download, fillChoices, fillHeads, make, partsOf, percent, sentence, showNotice } from "./elements.js";
import { summarise, summaryWords } from "./crowd.js";
import { addExplanation } from "./explanation.js";
import { named, say, sayCount, translated } from "./language.js";
import { Overlay, isCrowd } from "./overlay.js";
import { PeoplePanel } from "./people.js";
import { RateMeter } from "./rate.js";
import { FrameReader } from "./reader.js";
import { SessionRecord } from "./record.js";
import { loadChoices } from "./service.js";

const HINTS = {
  none: say("No face in the picture. Come closer, face the camera."),
  dark: say("It is too dark to see a face. Turn on a light in front of you."),
  small: say("The face is small. Come closer for a better answer."),
};
const HINT_AFTER_MS = 1200;
const SPEAK_EVERY_MS = 3000;
const RATE_EVERY_MS = 500;

/** @param {HTMLElement} element the element with live.html */
export async function mount(element) {
  const parts = partsOf(element);
  const choices = await loadChoices();
  fillChoices(parts.detector, choices.detectors);
  fillChoices(parts.weights, choices.weights);
  if (await isDemo()) {
    parts.start.textContent = say("Start the demonstration");
    parts.source.textContent = say("This page was started with --demo: a moving photograph replaces the camera.");
  } else if (!/^(localhost|127\.|\[::1\])/.test(location.hostname)) {
    parts.place.textContent = say("by the server {name}", { name: location.hostname });
  }
  new LiveTab(element, parts, choices);
}

class LiveTab {
  constructor(root, parts, choices) {
    Object.assign(this, { root, parts, choices });
    this.overlay = new Overlay(parts.overlay, choices);
    this.people = new PeoplePanel(parts.faces, (id) => this.overlay.personColour(id));
    this.stream = this.reader = this.answer = this.record = this.threshold = null;
    this.labels = [];
    this.isMirrored = true;
    this.isFrozen = this.isRecording = false;
    this.facing = "user";
    this.spokenAt = this.ratedAt = this.hintSince = this.attempts = 0;
    this.wire();
    this.show();
    parts.start.disabled = false; // the page is ready for clicks
  }

  wire() {
    const { parts } = this;
    const on = (part, event, act) => parts[part].addEventListener(event, act);
    on("start", "click", () => this.start());
    on("stop", "click", () => this.stop());
    on("freeze", "click", () => this.freeze(!this.isFrozen));
    on("snapshot", "click", () => this.saveSnapshot());
    on("record", "click", () => this.switchRecord());
    on("saveRecord", "click", () => this.saveRecord());
    on("rest", "click", () => this.switchRest());
    on("mirror", "click", () => this.mirror(!this.isMirrored));
    on("turn", "click", () => this.turnCamera());
    on("full", "click", () => this.switchFullScreen());
    on("video", "resize", () => this.fitScreen());
    on("cameras", "change", () => this.stream && this.start());
    fillHeads(parts, this.choices);
    for (const part of ["detector", "weights", "head"]) {
      on(part, "change", () => {
        if (part === "weights") fillHeads(parts, this.choices);
        if (part !== "detector") this.threshold = null; // use the new model's threshold
        this.configure();
      });
    }
    on("steadiness", "input", () => this.configure());
    on("threshold", "input", () => {
      this.threshold = parts.threshold.value / 100;
      this.configure();
    });
    document.addEventListener("keydown", (key) => this.press(key));
    navigator.mediaDevices?.addEventListener?.("devicechange", () => this.stream && this.offerCameras());
    parts.full.hidden = !document.fullscreenEnabled; // iPhones support full screen for videos only
    // Stop the camera when the visitor switches to another tab.
    new ResizeObserver(() => {
      if (this.stream && !this.isSeen()) this.stop();
      else if (this.answer) this.overlay.draw(this.answer, this.isMirrored);
    }).observe(parts.screen);
  }

  /** Gives the frame around the video the video's shape; a turned phone changes it. */
  fitScreen() {
    const { video, screen } = this.parts;
    if (video.videoWidth) screen.style.setProperty("--kv-shape", `${video.videoWidth} / ${video.videoHeight}`);
    else screen.style.removeProperty("--kv-shape");
  }

  isSeen() {
    return this.root.isConnected && this.root.offsetParent !== null;
  }

  settings() {
    const steadiness = this.parts.steadiness.value / 100;
    return { ...chosenModels(this.parts), steadiness, threshold: this.threshold };
  }

  configure() {
    this.showSliders();
    showNotice(this.parts.notice, "");
    this.reader?.configure(this.settings());
    if (this.isFrozen) this.reader.readOnce(); // analyse the frozen frame again with the new settings
  }

  async start() {
    const { parts } = this;
    this.stop();
    const attempt = this.attempts;
    parts.start.disabled = true;
    showNotice(parts.notice, "");
    let stream;
    try {
      const deviceId = parts.cameras.value || undefined;
      stream = await openCamera({ deviceId, facing: this.facing });
      if (attempt !== this.attempts || !this.isSeen()) return closeCamera(stream); // stopped or hidden meanwhile
      this.stream = parts.video.srcObject = stream;
      await parts.video.play();
    } catch (error) {
      if (attempt !== this.attempts) return; // stopped before playback began
      if (!(error instanceof CameraError)) throw error;
      return showNotice(parts.notice, error.message, error.advice);
    } finally {
      if (attempt === this.attempts) parts.start.disabled = false;
    }
    if (attempt !== this.attempts) return;
    stream.getVideoTracks()[0].addEventListener("ended", () => this.lose());
    this.meter = new RateMeter();
    this.reader = new FrameReader(parts.video, this.settings(), {
      onFaces: (answer, takenAt) => this.take(answer, takenAt),
      onReady: (model) => this.adoptModel(model),
      onProblem: (text) => showNotice(parts.notice, sentence(translated(text))),
      onState: (state, reason) => this.tellState(state, reason),
    });
    this.show();
    parts.stop.focus({ preventScroll: true });
    this.offerCameras();
  }

  stop() {
    this.attempts += 1;
    this.parts.start.disabled = false;
    this.reader?.close();
    closeCamera(this.stream);
    this.parts.video.srcObject = null;
    this.parts.screen.style.removeProperty("--kv-shape");
    this.stream = this.reader = this.answer = null;
    this.isFrozen = false;
    this.setRecording(false);
    this.overlay.clear();
    this.people.clear();
    this.show();
  }

  lose() {
    this.stop();
    const advice = [say("Plug it in again or choose another one, then start.")];
    showNotice(this.parts.notice, say("The camera was disconnected."), advice);
  }

  /** Draws the server's answer for a frame. */
  take(answer, takenAt) {
    if (!this.stream) return;
    this.answer = answer;
    this.overlay.draw(answer, this.isMirrored);
    this.meter.add(takenAt);
    this.people.update(answer);
    if (this.isRecording && !this.isFrozen) this.addToRecord(answer); // a frozen frame is already recorded
    const isSmallCrowd = answer.hint === "small" && isCrowd(answer.faces.length); // the hint would hide faces
    this.tellHint(isSmallCrowd ? null : answer.hint);
    this.tellRest(answer.rest);
    this.speak(answer.faces);
    this.tellRate();
    setText(this.parts.count, this.countWords(answer.faces));
    if (this.isFrozen) this.offerExplanations();
    // For benchmarks and extensions: the answer, and when its frame was captured.
    this.root.dispatchEvent(new CustomEvent("kv-faces", { bubbles: true, detail: { answer, takenAt } }));
  }

  tellRate() {
    const now = performance.now();
    if (now - this.ratedAt < RATE_EVERY_MS || !this.meter.rate) return; // readable, and fewer repaints
    this.ratedAt = now;
    const [rate, latency] = [Math.round(this.meter.rate), Math.round(this.meter.latency)];
    setText(this.parts.badge, say("{rate} frames/s · {latency} ms", { rate, latency }));
  }

  /** The number of faces in words, with a summary for a crowd. */
  countWords(faces) {
    const words = countWords(faces.length);
    return isCrowd(faces.length) ? `${words}: ${summaryWords(summarise(faces, this.labels))}` : words;
  }

  tellHint(hint) {
    const now = performance.now();
    if (!hint) this.hintSince = 0;
    else this.hintSince ||= now;
    const words = hint && now - this.hintSince > HINT_AFTER_MS ? HINTS[hint] : "";
    this.parts.hint.hidden = !words;
    setText(this.parts.hint, words);
  }

  /** Starts learning the resting face of the person in view, or undoes it. */
  switchRest() {
    if (!this.stream || this.isFrozen) return; // a frozen frame cannot be observed for two seconds
    showNotice(this.parts.notice, "");
    this.reader.rest(this.rest === "off" || this.rest === "failed" ? "learn" : "undo");
  }

  tellRest({ state, track_ids: ids, problem }) {
    const { parts } = this;
    if (problem && problem !== this.restProblem) {
      showNotice(parts.notice, say("Your resting face was not recorded."), [sentence(translated(problem))]);
    }
    this.rest = state;
    this.restProblem = problem;
    const adjusted = ids.length > 1
      ? sayCount(ids.length, "Adjusted to {count} person", "Adjusted to {count} people") : say("Adjusted to you");
    const words = { learning: say("Hold still …"), adjusted };
    parts.adjusted.hidden = !words[state];
    setText(parts.adjusted, words[state] ?? "");
    const pressed = { learning: say("Cancel"), adjusted: say("Undo adjustment") };
    setText(parts.rest, pressed[state] ?? say("My resting face"));
    setPressed(parts.rest, state === "adjusted");
  }

  tellState(state, reason) {
    const { notice } = this.parts;
    if (state === "open") return showNotice(notice, "");
    this.overlay.clear();
    if (reason) return showNotice(notice, sentence(translated(reason)));
    const advice = [say("Is it still running? The page reconnects automatically.")];
    showNotice(notice, say("The server does not answer."), advice);
  }

  speak(faces) {
    const face = (each) => say("Face {number}: {word}", { number: each.track_id, word: this.saidOf(each) });
    const each = faces.map(face).join(", ");
    const words = isCrowd(faces.length) ? this.countWords(faces) : each;
    const now = performance.now();
    if (words === this.parts.spoken.textContent || now - this.spokenAt < SPEAK_EVERY_MS) return;
    this.spokenAt = now;
    this.parts.spoken.textContent = words;
  }

  saidOf(face) {
    if (face.turned_away) return say("Turned away").toLowerCase();
    if (face.unsure) return say("Unsure").toLowerCase();
    return (this.labels.find(({ id }) => id === face.emotion)?.name ?? face.emotion).toLowerCase();
  }

  /** Applies the labels and threshold of a new model. */
  adoptModel({ threshold, labels: plain }) {
    const labels = named(plain);
    this.labels = labels;
    this.overlay.setLabels(labels);
    this.people.setLabels(labels);
    this.record?.setLabels(labels);
    if (this.threshold === null) this.parts.threshold.value = Math.round(threshold * 100);
    this.showSliders();
  }

  async freeze(isFrozen) {
    if (!this.stream) return;
    this.isFrozen = isFrozen;
    this.reader.pause(isFrozen);
    if (isFrozen) {
      this.parts.video.pause();
      this.reader.readOnce(); // analyse the displayed frame, not the one before
    } else {
      this.people.clear();
      await this.parts.video.play();
    }
    this.show();
  }

  async offerExplanations() {
    const models = chosenModels(this.parts);
    const still = this.still();
    const picture = await new Promise((done) => still.toBlob(done, "image/jpeg", 0.92));
    const scale = still.width / this.answer.width;
    for (const face of this.answer.faces) {
      const card = this.people.people.get(face.track_id)?.card;
      const [left, top, right, bottom] = face.box.map((value) => value * scale);
      const place = { left, top, right, bottom, roll: face.roll };
      if (card) addExplanation(card, picture, { ...place, ...models });
    }
  }

  /** The displayed frame at the camera's resolution, not mirrored. */
  still() {
    const { video } = this.parts;
    const still = make("canvas", { width: video.videoWidth, height: video.videoHeight });
    still.getContext("2d").drawImage(video, 0, 0);
    return still;
  }

  saveSnapshot() {
    if (!this.answer) return;
    const still = this.still();
    this.overlay.paint(still.getContext("2d"), this.answer, still.width);
    const name = `snapshot_${new Date().toISOString().slice(0, 19).replaceAll(":", "-")}`;
    still.toBlob((blob) => download(`${name}.jpg`, blob), "image/jpeg", 0.92);
    const scale = still.width / this.answer.width;
    const faces = this.answer.faces.map((face) => enlarged(face, scale));
    const record = { path: `${name}.jpg`, width: still.width, height: still.height, faces };
    download(`${name}.json`, new Blob([`${JSON.stringify(record, null, 2)}\n`], { type: "application/json" }));
  }

  switchRecord() {
    if (!this.isRecording) this.record = new SessionRecord(this.labels);
    this.setRecording(!this.isRecording);
  }

  setRecording(isRecording) {
    this.isRecording = isRecording;
    this.show();
  }

  addToRecord(answer) {
    this.record.add(answer);
    if (!this.record.isFull) return;
    this.setRecording(false);
    showNotice(this.parts.notice, say("The record is full."), [say("Save it, then start a new one.")]);
  }

  saveRecord() {
    download("expressions.csv", new Blob([this.record.asCsv()], { type: "text/csv" }));
  }

  mirror(isMirrored) {
    this.isMirrored = isMirrored;
    if (this.answer) this.overlay.draw(this.answer, isMirrored);
    this.show();
  }

  turnCamera() {
    this.facing = this.facing === "user" ? "environment" : "user";
    this.isMirrored = this.facing === "user";
    this.parts.cameras.value = "";
    this.start();
  }

  async offerCameras() {
    const { cameras: select, turn } = this.parts;
    const cameras = await listCameras();
    const chosen = select.value;
    const first = make("option", { value: "", textContent: say("Default camera") });
    const rest = cameras.map(({ deviceId, label }) => make("option", { value: deviceId, textContent: label }));
    select.replaceChildren(first, ...rest);
    select.value = cameras.some(({ deviceId }) => deviceId === chosen) ? chosen : "";
    turn.hidden = cameras.length < 2;
  }

  switchFullScreen() {
    if (document.fullscreenElement) document.exitFullscreen();
    else this.parts.screen.requestFullscreen?.();
  }

  press(key) {
    const { tagName, role } = key.target;
    if (/^(INPUT|SELECT|TEXTAREA)$/.test(tagName)) return;
    if (key.code === "Space" && /^(BUTTON|SUMMARY)$/.test(tagName) && role !== "tab") return; // Space clicks it
    if (!this.isSeen() || key.ctrlKey || key.metaKey || key.altKey) return;
    const act = {
      Space: () => (this.stream ? this.stop() : this.start()),
      KeyF: () => this.freeze(!this.isFrozen),
      KeyS: () => this.saveSnapshot(),
      KeyR: () => this.stream && this.switchRecord(),
      KeyB: () => this.switchRest(),
      KeyM: () => this.mirror(!this.isMirrored),
    }[key.code];
    if (!act) return;
    key.preventDefault();
    act();
  }

  /** Updates buttons and texts to the current state. */
  show() {
    const { parts } = this;
    const isRunning = Boolean(this.stream);
    parts.welcome.hidden = isRunning;
    parts.badge.hidden = !isRunning;
    for (const part of ["stop", "freeze", "snapshot", "record", "rest"]) parts[part].disabled = !isRunning;
    if (this.isFrozen) parts.rest.disabled = true;
    parts.screen.classList.toggle("kv-mirrored", this.isMirrored);
    setPressed(parts.mirror, this.isMirrored);
    setPressed(parts.freeze, this.isFrozen);
    setPressed(parts.record, this.isRecording);
    setText(parts.freeze, this.isFrozen ? say("Go on") : say("Freeze"));
    setText(parts.record, this.isRecording ? say("Stop recording") : say("Record"));
    parts.recording.hidden = !this.isRecording;
    const hasRecord = Boolean(this.record && !this.record.isEmpty) && !this.isRecording;
    parts.saveRecord.hidden = parts.saveRecord.disabled = !hasRecord;
    if (!isRunning) {
      parts.hint.hidden = true;
      this.tellRest({ state: "off", track_ids: [], problem: "" });
      setText(parts.badge, "");
      setText(parts.count, say("Start the camera: each face gets its bars and its last minute here."));
    }
    this.showSliders();
  }

  showSliders() {
    const { steadiness, steadinessText, threshold, thresholdText } = this.parts;
    setText(steadinessText, percent(steadiness.value / 100));
    setText(thresholdText, percent(threshold.value / 100));
  }
}

/** The record of a face, scaled to an image `scale` times as large. */
function enlarged(face, scale) {
  const landmarks = face.landmarks?.map((point) => point.map((value) => value * scale)) ?? null;
  return { ...face, box: face.box.map((value) => value * scale), landmarks };
}

const countWords = (count) => (count ? sayCount(count, "One face", "{count} faces") : say("No face at the moment"));

function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function setPressed(button, isPressed) {
  button.setAttribute("aria-pressed", String(isPressed));
}
