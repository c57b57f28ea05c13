/** The tab that analyses photos. */

import { CameraError, closeCamera, openCamera } from "./camera.js";
import { samplePhoto } from "./demo_camera.js";
import { COVERS, chosenModels, download, fillChoices, fillHeads, make, partsOf, percent, showNotice } from "./elements.js";
import { CrowdPanel, summarise, summaryWords } from "./crowd.js";
import { addExplanation } from "./explanation.js";
import { FaceCard, wordOf } from "./faces.js";
import { language, say, sayCount, translated } from "./language.js";
import { Overlay, isCrowd } from "./overlay.js";
import { ServiceError, coverPhoto, loadChoices, readPhoto } from "./service.js";

const NO_FACE_ADVICE = [
  say("Use a picture in which the face is turned to the camera and well lit."),
  say("Let the face fill at least a tenth of the picture; crop it if needed."),
  say("Try another face detector under “Options”."),
];
const SMALL_FACE_ADVICE = say("If the faces are small, switch on the search for small faces under “Options”.");

const ADDRESS_ADVICE = [
  say("Save the picture there first (right click, “Save image as …”), then drop the file here."),
  say("Or copy the picture itself (right click, “Copy image”) and paste it here with Ctrl+V."),
];
const MOST_PHOTOS = 60;
const NEAR_PX = 24; // maximum distance of a click from the face it selects

/** @param {HTMLElement} element the element with photo.html */
export async function mount(element) {
  const parts = partsOf(element);
  const choices = await loadChoices();
  fillChoices(parts.detector, choices.detectors);
  fillChoices(parts.weights, choices.weights);
  fillChoices(parts.cover, COVERS);
  new PhotoTab(element, parts, choices);
}

class PhotoTab {
  constructor(root, parts, choices) {
    this.root = root;
    this.parts = parts;
    this.choices = choices;
    this.photos = []; // each with file, name, state, answer or problem, and a button in the strip
    this.active = null; // the displayed photo
    this.answer = null;
    this.stream = null;
    this.requests = 0;
    this.marks = new Overlay(parts.marks, choices);
    this.marks.isByPerson = false;
    this.crowd = new CrowdPanel((number) => this.mark(number));
    const on = (part, event, act) => parts[part].addEventListener(event, act);
    for (const part of ["choose", "chooseAgain"]) on(part, "click", () => parts.file.click());
    for (const part of ["camera", "cameraAgain"]) on(part, "click", () => this.openShutter());
    on("file", "change", () => this.take(parts.file.files));
    on("clear", "click", () => this.clear());
    on("marks", "click", (click) => this.pickAt(click));
    new ResizeObserver(() => this.drawMarks()).observe(parts.stage);
    on("sample", "click", () => this.takeSample());
    on("take", "click", () => this.takeFromCamera());
    on("cancel", "click", () => this.closeShutter());
    on("detector", "change", () => this.readAgain());
    on("head", "change", () => this.readAgain());
    on("thorough", "change", () => this.readAgain());
    on("weights", "change", () => {
      fillHeads(parts, choices);
      this.readAgain();
    });
    fillHeads(parts, choices);
    on("saveJson", "click", () => this.save("json"));
    on("saveCsv", "click", () => this.save("csv"));
    on("savePicture", "click", () => this.savePicture());
    this.acceptDropsAndPastes();
    parts.choose.disabled = parts.camera.disabled = parts.sample.disabled = false; // the page is ready for clicks
    this.take(parts.file.files); // files chosen before this script had loaded
  }

  acceptDropsAndPastes() {
    const { root, parts: { stage } } = this;
    for (const event of ["dragenter", "dragover"]) {
      root.addEventListener(event, (drag) => {
        drag.preventDefault();
        stage.classList.add("kv-over-it");
      });
    }
    for (const event of ["dragleave", "drop"]) {
      root.addEventListener(event, () => stage.classList.remove("kv-over-it"));
    }
    root.addEventListener("drop", (drop) => {
      drop.preventDefault();
      this.takeDrop(drop.dataTransfer);
    });
    document.addEventListener("paste", (paste) => {
      if (!this.root.isConnected || this.root.offsetParent === null) return; // another tab is visible
      const files = [...paste.clipboardData.files].filter(({ type }) => type.startsWith("image/"));
      if (files.length) this.take(files);
      else if (/<img\b/i.test(paste.clipboardData.getData("text/html"))) this.refuseAddress();
    });
  }

  takeDrop(data) {
    const isFolder = [...data.items].some((item) => item.webkitGetAsEntry?.()?.isDirectory);
    if (isFolder) {
      const advice = [say("Open it, select its pictures and drop those.")];
      showNotice(this.parts.notice, say("A folder cannot be read here."), advice);
    } else if (data.files.length) this.take(data.files);
    else if (data.types.length) this.refuseAddress();
  }

  refuseAddress() {
    const title = say("Only the picture's address arrived, and this page loads nothing from other sites.");
    showNotice(this.parts.notice, title, ADDRESS_ADVICE);
  }

  /** Adds files, displays the first one and analyses all. */
  take(files) {
    const photos = [...files].slice(0, MOST_PHOTOS).map((file) => this.entry(file));
    if (!photos.length) return;
    const isCut = files.length > MOST_PHOTOS;
    this.closeShutter();
    this.photos.push(...photos);
    this.photos.splice(0, this.photos.length - MOST_PHOTOS); // drop the oldest
    this.parts.file.value = "";
    this.parts.thumbs.replaceChildren(...this.photos.map(({ thumb }) => thumb));
    this.parts.stripRow.hidden = this.photos.length < 2;
    this.activate(photos[0]);
    this.readWaiting();
    if (!isCut) return;
    const advice = [say("“python -m fer FOLDER” reads any number.")];
    const title = sayCount(MOST_PHOTOS, "Only the first photo was taken.", "Only the first {count} photos were added.");
    showNotice(this.parts.notice, title, advice);
  }

  entry(file) {
    const photo = { file, name: file.name || "pasted.png", state: "waiting", answer: null, problem: "" };
    photo.thumb = make("button", { type: "button", class: "kv-thumb", title: photo.name });
    photo.thumb.addEventListener("click", () => {
      if (photo.problem) photo.state = "waiting"; // a click retries
      this.activate(photo);
    });
    this.showThumb(photo);
    return photo;
  }

  showThumb({ thumb, name, state, answer, problem }) {
    const count = answer?.record.faces.length;
    const found = sayCount(count ?? 0, "one face", "{count} faces");
    const read = problem ? ["!", say("cannot be read")] : [String(count), found];
    const [short, said] = state === "read" ? read : ["…", say("not read yet")];
    const badge = make("span", { class: "kv-thumb-count", textContent: short });
    badge.classList.toggle("kv-thumb-problem", Boolean(problem));
    const inside = [badge];
    if (answer) inside.unshift(make("img", { src: answer.picture, alt: "" }));
    thumb.replaceChildren(...inside);
    thumb.setAttribute("aria-label", `${name}: ${said}`);
  }

  activate(photo) {
    this.active = photo;
    for (const each of this.photos) each.thumb.setAttribute("aria-pressed", String(each === photo));
    photo.thumb.parentElement?.scrollTo({ left: photo.thumb.offsetLeft - photo.thumb.parentElement.clientWidth / 2 + 36 });
    if (photo.state === "waiting") this.read(photo);
    else this.showActive();
  }

  showActive() {
    const { state, answer, problem } = this.active;
    this.parts.busy.hidden = state !== "reading";
    if (state !== "read") return; // keep the previous photo below the progress message
    if (problem) this.showProblem(problem);
    else this.showAnswer(answer);
  }

  /** Analyses the photos that are not displayed, one after the other. */
  async readWaiting() {
    if (this.isReading) return;
    this.isReading = true;
    const next = () => this.photos.find(({ state }) => state === "waiting");
    for (let photo = next(); photo; photo = next()) await this.read(photo);
    this.isReading = false;
  }

  clear() {
    this.photos = [];
    this.active = null;
    this.parts.thumbs.replaceChildren();
    this.keepFocus(() => {
      this.parts.stripRow.hidden = this.parts.busy.hidden = true;
      this.showProblem("");
    });
  }

  /** Changes the page; if the focused element becomes hidden, focuses the button that replaces it. */
  keepFocus(change) {
    const held = document.activeElement;
    change();
    if (!this.root.contains(held) || isSeen(held)) return;
    const { take, cameraAgain, camera, chooseAgain, choose } = this.parts;
    const isCamera = [take, cameraAgain, camera, this.parts.cancel].includes(held);
    const places = isCamera ? [take, cameraAgain, camera] : [chooseAgain, choose];
    places.find(isSeen)?.focus({ preventScroll: true });
  }

  async takeSample() {
    const answer = await fetch(samplePhoto()).catch(() => null);
    if (!answer?.ok) {
      return this.showProblem(say("The server does not answer. Is it still running? Start it again, then retry."));
    }
    this.take([new File([await answer.blob()], "sample.jpg", { type: "image/jpeg" })]);
  }

  /** Analyses all photos again with changed options, the displayed one first. */
  readAgain() {
    for (const photo of this.photos) photo.state = "waiting";
    if (this.active) this.read(this.active);
    this.readWaiting();
  }

  async read(photo) {
    const request = ++this.requests;
    Object.assign(photo, { request, state: "reading" });
    if (photo === this.active) this.showActive();
    const outcome = { state: "read", answer: null, problem: "" };
    try {
      const options = { name: photo.name, bare: language !== "en", ...this.choice() };
      outcome.answer = await readPhoto(photo.file, options);
    } catch (error) {
      if (!(error instanceof ServiceError)) throw error;
      outcome.problem = error.message;
    }
    if (request !== photo.request) return; // ignore a late answer to an older request
    Object.assign(photo, outcome);
    this.showThumb(photo);
    if (photo === this.active) this.showActive();
  }

  showAnswer(answer) {
    const { parts } = this;
    const { faces } = answer.record;
    this.answer = answer;
    this.keepFocus(() => {
      parts.drop.hidden = true;
      parts.again.hidden = parts.picture.hidden = false;
    });
    parts.picture.src = answer.picture;
    const isMany = isCrowd(faces.length);
    const all = summaryWords(summarise(faces, answer.labels));
    const words = faces.map((face) => `${wordOf(face, answer.labels).toLowerCase()} ${percent(face.confidence)}`).join(", ");
    const seen = isMany
      ? sayCount(faces.length, "The photo with one numbered face: {words}", "The photo with {count} numbered faces: {words}",
        { words: all })
      : say("The photo with its faces marked: {words}", { words });
    parts.picture.alt = faces.length ? seen : say("The photo, without any face found");
    const count = sayCount(faces.length, "One face", "{count} faces, largest first");
    parts.subtitle.textContent = faces.length ? count : say("No face was found in this photo.");
    parts.marks.hidden = !isMarkedHere(faces.length);
    this.marks.setLabels(answer.labels);
    this.mark(null);
    if (isMany) this.showCrowd(answer);
    else parts.faces.replaceChildren(...faces.map((face, index) => this.card(face, index).root));
    parts.rows.replaceChildren(...faces.map((face, index) => this.row(face, index)));
    parts.tableCard.hidden = !faces.length;
    const notes = (answer.record.notes ?? []).map((note) => translated(`This photo ${note}.`));
    if (faces.length) return showNotice(parts.notice, notes[0] ?? "", notes.slice(1));
    const advice = parts.thorough.checked ? NO_FACE_ADVICE : [...NO_FACE_ADVICE, SMALL_FACE_ADVICE];
    showNotice(parts.notice, say("No face was found. Perhaps one of these helps:"), [...advice, ...notes]);
  }

  /** The choice of models and of the search, as request parameters. */
  choice() {
    return { ...chosenModels(this.parts), ...(this.parts.thorough.checked && { thorough: true }) };
  }

  showCrowd({ record, labels }) {
    this.crowd.show(record.faces, labels, (card, face) => this.explain(card, face));
    this.parts.faces.replaceChildren(this.crowd.root);
  }

  mark(number) {
    this.marks.picked = number;
    this.drawMarks();
  }

  drawMarks() {
    if (!this.parts.marks.hidden && this.answer) this.marks.draw(numbered(this.answer.record), false);
  }

  /** The face nearest to a click in the image. */
  pickAt({ clientX, clientY }) {
    const shown = this.parts.marks.getBoundingClientRect();
    const { width, height, faces } = this.answer.record;
    if (!isCrowd(faces.length)) return;
    const scale = Math.min(shown.width / width, shown.height / height);
    const x = (clientX - shown.left - (shown.width - width * scale) / 2) / scale;
    const y = (clientY - shown.top - (shown.height - height * scale) / 2) / scale;
    const near = faces.map(({ box: [left, top, right, bottom] }, index) => {
      const away = Math.hypot(Math.max(left - x, 0, x - right), Math.max(top - y, 0, y - bottom));
      return { number: index + 1, away, apart: Math.hypot((left + right) / 2 - x, (top + bottom) / 2 - y) };
    });
    near.sort((one, other) => one.away - other.away || one.apart - other.apart);
    this.crowd.pick(near[0].away * scale <= NEAR_PX ? near[0].number : null);
    this.crowd.picked.scrollIntoView({ block: "nearest" });
  }

  showProblem(text) {
    const { parts } = this;
    this.answer = null;
    this.keepFocus(() => {
      parts.picture.hidden = parts.again.hidden = parts.tableCard.hidden = parts.marks.hidden = true;
      parts.drop.hidden = false;
    });
    parts.faces.replaceChildren();
    parts.subtitle.textContent = say("Each face gets its bars here.");
    showNotice(parts.notice, text);
  }

  card(face, index) {
    const card = new FaceCard(this.answer.labels);
    card.update(index + 1, face, face.unsure);
    this.explain(card, face);
    return card;
  }

  explain(card, face) {
    const [left, top, right, bottom] = face.box;
    const place = { left, top, right, bottom, roll: face.roll };
    return addExplanation(card, this.active.file, { ...place, ...chosenModels(this.parts) });
  }

  row(face, index) {
    const [left, top, right, bottom] = face.box;
    const word = wordOf(face, this.answer.labels);
    const place = `${Math.round(left)}, ${Math.round(top)}`;
    const size = `${Math.round(right - left)} × ${Math.round(bottom - top)}`;
    const cells = [String(index + 1), word, percent(face.confidence), place, size];
    return make("tr", {}, ...cells.map((textContent) => make("td", { textContent })));
  }

  stem() {
    return this.active.name.replace(/\.[^.]*$/, "") || "photo";
  }

  /** Requests the photo with every face covered, because the displayed one shows them. */
  async saveCovered(cover) {
    const { file } = this.active;
    const name = `${this.stem()}_covered.jpg`;
    const { detector, thorough } = this.choice();
    try {
      const { picture } = await coverPhoto(file, { cover, ...(detector && { detector }), ...(thorough && { thorough }) });
      download(name, picture);
    } catch (error) {
      if (!(error instanceof ServiceError)) throw error;
      showNotice(this.parts.notice, error.message);
    }
  }

  savePicture() {
    if (this.parts.cover.value) return this.saveCovered(this.parts.cover.value);
    const { picture, record, labels } = this.answer;
    const name = `${this.stem()}_faces.jpg`;
    if (!isMarkedHere(record.faces.length)) return download(name, picture);
    const { naturalWidth: width, naturalHeight: height } = this.parts.picture;
    const canvas = make("canvas", { width, height });
    canvas.getContext("2d").drawImage(this.parts.picture, 0, 0);
    const overlay = new Overlay(canvas, this.choices);
    overlay.setLabels(labels);
    overlay.isCrowd = isCrowd(record.faces.length);
    overlay.isByPerson = false;
    overlay.paint(canvas.getContext("2d"), numbered(record), width);
    canvas.toBlob((blob) => download(name, blob), "image/jpeg", 0.92);
  }

  save(kind) {
    const text = kind === "json" ? `${JSON.stringify(this.answer.record, null, 2)}\n` : this.answer.csv;
    const type = kind === "json" ? "application/json" : "text/csv";
    download(`${this.stem()}.${kind}`, new Blob([text], { type }));
  }

  async openShutter() {
    const { parts } = this;
    if (this.isOpening) return; // a second click would open a second camera
    this.isOpening = true;
    try {
      this.stream = await openCamera();
    } catch (error) {
      if (!(error instanceof CameraError)) throw error;
      return showNotice(parts.notice, error.message, error.advice);
    } finally {
      this.isOpening = false;
    }
    showNotice(parts.notice, "");
    parts.drop.hidden = parts.picture.hidden = parts.marks.hidden = true;
    parts.shutter.hidden = false;
    parts.video.srcObject = this.stream;
    await parts.video.play();
    parts.take.focus();
  }

  closeShutter() {
    const { parts } = this;
    closeCamera(this.stream);
    this.stream = parts.video.srcObject = null;
    this.keepFocus(() => {
      parts.shutter.hidden = true;
      parts.picture.hidden = !this.answer;
      parts.marks.hidden = !this.answer || !isMarkedHere(this.answer.record.faces.length);
      parts.drop.hidden = Boolean(this.answer);
    });
    this.drawMarks();
  }

  takeFromCamera() {
    const { video } = this.parts;
    const canvas = make("canvas", { width: video.videoWidth, height: video.videoHeight });
    canvas.getContext("2d").drawImage(video, 0, 0);
    canvas.toBlob((blob) => this.take([new File([blob], "camera.jpg")]), "image/jpeg", 0.92);
  }
}

const isSeen = (element) => element.offsetParent !== null;

/** Whether this script labels the faces: a crowd, or a language in which the server does not draw. */
const isMarkedHere = (count) => count > 0 && (isCrowd(count) || language !== "en");

/** The record of a photo for the overlay, with faces numbered from 1. */
function numbered({ width, height, faces }) {
  return { width, height, faces: faces.map((face, index) => ({ ...face, track_id: index + 1 })) };
}
