/** The tab that analyses recorded videos. */

import { COVERS, chosenModels, fillChoices, fillHeads, make, partsOf, percent, sentence, showNotice } from "./elements.js";
import { FaceCard } from "./faces.js";
import { number, say, sayCount, translateTree, translated } from "./language.js";
import { ServiceError, dropVideo, loadChoices, loadVideoLimits, sendVideo, videoAddress, watchVideo } from "./service.js";

const ASK_EVERY_MS = 400;
const STEP_S = 1;
const BRIEF_S = 1;
const FILES = { ".csv": "CSV", ".json": "JSON", ".parquet": "Parquet", ".srt": say("Subtitles"), ".svg": say("Chart") };
const NO_FACE_ADVICE = [
  say("Use a video in which faces are turned to the camera and well lit."),
  say("Try another face detector under “Options”."),
];
const FOLDER_DROPPED = [say("A folder cannot be read here."), [say("Open it and drop one of its videos.")]];
const ADDRESS_DROPPED = [
  say("Only the video's address arrived, and this page loads nothing from other sites."),
  [say("Save the video there first, then drop the file here.")],
];

/** @param {HTMLElement} element the element with video.html */
export async function mount(element) {
  const parts = partsOf(element);
  const [choices, limits] = await Promise.all([loadChoices(), loadVideoLimits()]);
  fillChoices(parts.detector, choices.detectors);
  fillChoices(parts.weights, choices.weights);
  fillChoices(parts.cover, COVERS);
  const most = { minutes: limits.length_s / 60, megabytes: limits.bytes / 2 ** 20 };
  parts.limits.textContent = say("MP4, MOV, MKV, WebM or AVI, up to {minutes} minutes and {megabytes} MB", most);
  new VideoTab(parts, choices, limits);
}

class VideoTab {
  constructor(parts, choices, limits) {
    this.parts = parts;
    this.choices = choices;
    this.limits = limits;
    this.key = null;
    this.requests = 0;
    const on = (part, event, act) => parts[part].addEventListener(event, act);
    for (const part of ["choose", "chooseAgain"]) on(part, "click", () => parts.file.click());
    on("file", "change", () => this.take(parts.file.files[0]));
    on("weights", "change", () => fillHeads(parts, choices));
    fillHeads(parts, choices);
    on("cancel", "click", () => this.reset());
    on("player", "timeupdate", () => this.movePlayhead());
    on("chart", "click", (click) => this.jump(click));
    on("chart", "keydown", (key) => this.step(key));
    this.acceptDrops();
    window.addEventListener("pagehide", () => this.forget());
    this.take(parts.file.files[0]); // a file chosen before this script had loaded
  }

  acceptDrops() {
    const { stage } = this.parts;
    for (const event of ["dragenter", "dragover"]) {
      stage.addEventListener(event, (drag) => {
        drag.preventDefault();
        stage.classList.add("kv-over-it");
      });
    }
    for (const event of ["dragleave", "drop"]) {
      stage.addEventListener(event, () => stage.classList.remove("kv-over-it"));
    }
    stage.addEventListener("drop", (drop) => {
      drop.preventDefault();
      this.takeDrop(drop.dataTransfer);
    });
  }

  takeDrop(data) {
    const isFolder = [...data.items].some((item) => item.webkitGetAsEntry?.()?.isDirectory);
    if (isFolder) showNotice(this.parts.notice, ...FOLDER_DROPPED);
    else if (data.files.length) this.take(data.files[0]);
    else if (data.types.length) showNotice(this.parts.notice, ...ADDRESS_DROPPED);
  }

  async take(file) {
    if (!file) return;
    this.reset();
    const request = ++this.requests; // ignore late answers about an older video
    try {
      await this.checkBeforehand(file);
      this.showBusy(say("Sending the video …"), null, "");
      const { rest, cover } = this.parts;
      const options = { name: file.name, rest: rest.checked, ...chosenModels(this.parts) };
      if (cover.value) options.cover = cover.value;
      this.abort = new AbortController();
      const { key } = await sendVideo(file, options, this.abort.signal);
      if (request !== this.requests) return dropVideo(key);
      this.key = key;
      const answer = await this.follow(request);
      if (answer) this.showAnswer(answer);
    } catch (error) {
      if (request !== this.requests) return; // cancelled
      if (!(error instanceof ServiceError)) throw error;
      this.reset();
      showNotice(this.parts.notice, error.message);
    }
  }

  /** Checks that need no upload. */
  async checkBeforehand(file) {
    const { bytes, length_s } = this.limits;
    if (file.size > bytes) {
      const sizes = { size: megabytes(file.size), most: megabytes(bytes) };
      throw new ServiceError(say("This video has {size}; at most {most} are read here.", sizes));
    }
    const length = await lengthOf(file);
    if (length > length_s) {
      const [minutes, most] = [Math.round(length / 60), length_s / 60];
      throw new ServiceError(sayCount(
        minutes, "This video is one minute long; at most {most} are read here.",
        "This video is {count} minutes long; at most {most} are read here.", { most },
      ));
    }
  }

  async follow(request) {
    for (;;) {
      const answer = await watchVideo(this.key);
      if (request !== this.requests) return null;
      if (answer.state === "finished") return answer;
      if (answer.state === "failed") throw new ServiceError(sentence(translated(answer.problem)));
      if (answer.state === "waiting") {
        this.showBusy(say("Waiting for another video …"), null, say("One video is read at a time."));
      }
      else this.showBusy(say("Reading the video …"), answer.share, timeLeft(answer));
      await new Promise((resolve) => setTimeout(resolve, ASK_EVERY_MS));
    }
  }

  showBusy(title, share, text) {
    const { parts } = this;
    parts.drop.hidden = true;
    parts.busy.hidden = false;
    parts.busyTitle.textContent = title;
    parts.busyText.textContent = text;
    if (share === null || share === undefined) parts.progress.removeAttribute("value");
    else parts.progress.value = share;
  }

  showAnswer(answer) {
    const { parts } = this;
    const people = answer.summary.slice(1);
    parts.busy.hidden = true;
    parts.player.hidden = parts.again.hidden = parts.chartCard.hidden = parts.filesCard.hidden = false;
    parts.player.src = videoAddress(this.key, "annotated.mp4");
    parts.saveVideo.href = videoAddress(this.key, "annotated.mp4", true);
    const [long, brief] = partBrief(people);
    const count = sayCount(long.length, "One person", "{count} people");
    const frames = sayCount(answer.frame_count, "{count} frame", "{count} frames");
    parts.subtitle.textContent = people.length
      ? say("{people} in {frames}; the bars are shares of the time seen", { people: count, frames })
      : say("No face was found in this video.");
    parts.people.replaceChildren(...long.map((person) => this.card(person, answer.labels)));
    if (brief.length) {
      const textContent = sayCount(
        brief.length, "One more, seen for less than {seconds} s", "{count} more, seen for less than {seconds} s each",
        { seconds: BRIEF_S },
      );
      const cards = brief.map((person) => this.card(person, answer.labels));
      parts.people.append(make("details", {}, make("summary", { textContent }), ...cards));
    }
    this.showChart(answer.chart);
    parts.files.replaceChildren(
      ...Object.entries(FILES).map(([suffix, textContent]) =>
        make("a", { class: "kv-button", href: videoAddress(this.key, `timeline${suffix}`, true), textContent })),
    );
    const notes = answer.notes.map((note) => translated(`This video ${note}.`));
    if (!people.length) showNotice(parts.notice, say("No face was found. Perhaps one of these helps:"), NO_FACE_ADVICE);
    else showNotice(parts.notice, notes[0] ?? "", notes.slice(1));
  }

  card(person, labels) {
    const [emotion, share] = Object.entries(person.shares).reduce((best, next) => (next[1] > best[1] ? next : best));
    const colours = this.choices.people;
    const card = new FaceCard(labels);
    const seen = { share: percent(share), seconds: number(person.seen_s, 1) };
    card.update(
      person.track_id, { emotion, confidence: share, probabilities: person.shares }, false,
      colours[person.track_id % colours.length], say("{share} of {seconds} s", seen),
    );
    return card.root;
  }

  showChart({ svg, left, width }) {
    const { chart } = this.parts;
    chart.innerHTML = svg; // trusted: the server builds it from numbers and its own texts
    this.playhead = make("div", { class: "kv-playhead" });
    const drawing = chart.querySelector("svg");
    translateTree(drawing);
    this.plane = make("div", { class: "kv-plane" }, drawing, this.playhead);
    chart.replaceChildren(this.plane);
    this.end = Number(drawing.dataset.end);
    this.plot = { left: left / drawing.viewBox.baseVal.width, width: width / drawing.viewBox.baseVal.width };
    chart.setAttribute("aria-valuemax", this.end.toFixed(1));
    this.movePlayhead();
  }

  movePlayhead() {
    if (!this.plot) return;
    const time = this.parts.player.currentTime;
    this.playhead.style.left = `${100 * (this.plot.left + (this.plot.width * time) / this.end)}%`;
    this.parts.chart.setAttribute("aria-valuenow", time.toFixed(1));
  }

  jump(click) {
    const { player } = this.parts;
    if (!this.plot) return;
    const { left, width } = this.plane.getBoundingClientRect();
    const share = ((click.clientX - left) / width - this.plot.left) / this.plot.width;
    this.seek(share * this.end);
    player.focus({ preventScroll: true });
  }

  step(key) {
    const direction = { ArrowRight: STEP_S, ArrowLeft: -STEP_S }[key.key];
    if (!direction) return;
    key.preventDefault();
    this.seek(this.parts.player.currentTime + direction);
  }

  seek(time) {
    this.parts.player.currentTime = Math.min(Math.max(time, 0), this.end);
    this.movePlayhead();
  }

  /** Returns to the start; the server deletes its files. */
  reset() {
    const { parts } = this;
    this.requests += 1;
    this.abort?.abort();
    this.forget();
    parts.file.value = "";
    parts.player.removeAttribute("src");
    parts.player.load();
    this.plot = null;
    parts.busy.hidden = parts.player.hidden = parts.again.hidden = true;
    parts.chartCard.hidden = parts.filesCard.hidden = true;
    parts.drop.hidden = false;
    parts.people.replaceChildren();
    parts.subtitle.textContent = say("Each person gets bars here: the share of time with each expression.");
    showNotice(parts.notice, "");
  }

  forget() {
    if (this.key) dropVideo(this.key);
    this.key = null;
  }
}

/**
 * Splits people into those present for a while and others, such as passers-by; if nobody stays, all count.
 * @param {{seen_s: number}[]} people
 */
export function partBrief(people) {
  const stay = people.filter(({ seen_s }) => seen_s >= BRIEF_S);
  return stay.length ? [stay, people.filter((person) => !stay.includes(person))] : [people, []];
}

/** Duration in seconds according to the browser; 0 if it cannot play the format. */
function lengthOf(file) {
  return new Promise((resolve) => {
    const video = make("video", { preload: "metadata" });
    const address = URL.createObjectURL(file);
    const answer = (length) => {
      URL.revokeObjectURL(address);
      resolve(Number.isFinite(length) ? length : 0);
    };
    video.addEventListener("loadedmetadata", () => answer(video.duration));
    video.addEventListener("error", () => answer(0));
    setTimeout(() => answer(0), 3000);
    video.src = address;
  });
}

function timeLeft({ share, left_s }) {
  if (left_s === null) return "";
  const left = left_s < 60
    ? say("{count} s", { count: Math.ceil(left_s) }) : say("{count} min", { count: Math.ceil(left_s / 60) });
  return say("{share}, about {time} left", { share: percent(share), time: left });
}

function megabytes(count) {
  return say("{count} MB", { count: Math.ceil(count / 2 ** 20) });
}
