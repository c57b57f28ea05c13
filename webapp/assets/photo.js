/** The tab that reads a photo. */

import { CameraError, closeCamera, openCamera } from "./camera.js";
import { samplePhoto } from "./demo_camera.js";
import { chosenModels, download, fillChoices, fillHeads, make, partsOf, percent, showNotice } from "./elements.js";
import { FaceCard } from "./faces.js";
import { addExplanation } from "./explanation.js";
import { ServiceError, loadChoices, readPhoto } from "./service.js";

const NO_FACE_ADVICE = [
  "Use a picture in which the face is turned to the camera and well lit.",
  "Let the face fill at least a tenth of the picture; crop it if needed.",
  "Try another face detector under “Options”.",
];

/** @param {HTMLElement} element where photo.html was laid */
export async function mount(element) {
  const parts = partsOf(element);
  const choices = await loadChoices();
  fillChoices(parts.detector, choices.detectors);
  fillChoices(parts.weights, choices.weights);
  new PhotoTab(element, parts, choices);
}

class PhotoTab {
  constructor(root, parts, choices) {
    this.root = root;
    this.parts = parts;
    this.photo = null; // the Blob that is shown, for reading it again with other options
    this.name = "photo";
    this.answer = null;
    this.stream = null;
    this.requests = 0;
    const on = (part, event, act) => parts[part].addEventListener(event, act);
    for (const part of ["choose", "chooseAgain"]) on(part, "click", () => parts.file.click());
    for (const part of ["camera", "cameraAgain"]) on(part, "click", () => this.openShutter());
    on("file", "change", () => this.take(parts.file.files[0]));
    on("sample", "click", () => this.takeSample());
    on("take", "click", () => this.takeFromCamera());
    on("cancel", "click", () => this.closeShutter());
    on("detector", "change", () => this.readAgain());
    on("head", "change", () => this.readAgain());
    on("weights", "change", () => {
      fillHeads(parts, choices);
      this.readAgain();
    });
    fillHeads(parts, choices);
    on("saveJson", "click", () => this.save("json"));
    on("saveCsv", "click", () => this.save("csv"));
    on("savePicture", "click", () => download(`${this.stem()}_faces.jpg`, this.answer.picture));
    this.acceptDropsAndPastes();
    parts.choose.disabled = parts.camera.disabled = parts.sample.disabled = false; // from now on a press is heard
    this.take(parts.file.files[0]); // chosen while this script was still on its way
  }

  acceptDropsAndPastes() {
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
      this.take(drop.dataTransfer.files[0]);
    });
    document.addEventListener("paste", (paste) => {
      if (!this.root.isConnected || this.root.offsetParent === null) return; // another tab is open
      const file = [...paste.clipboardData.files].find(({ type }) => type.startsWith("image/"));
      if (file) this.take(file);
    });
  }

  take(file) {
    if (!file) return;
    this.closeShutter();
    this.photo = file;
    this.name = file.name || "pasted.png";
    this.parts.file.value = "";
    this.readAgain();
  }

  async takeSample() {
    const answer = await fetch(samplePhoto()).catch(() => null);
    if (!answer?.ok) return this.showProblem("The server does not answer. Is it still running? Start it again, then retry.");
    this.take(new File([await answer.blob()], "sample.jpg", { type: "image/jpeg" }));
  }

  async readAgain() {
    if (!this.photo) return;
    const request = ++this.requests; // an older answer that comes late is left out
    this.parts.busy.hidden = false;
    try {
      const options = { name: this.name, ...chosenModels(this.parts) };
      const answer = await readPhoto(this.photo, options);
      if (request === this.requests) this.showAnswer(answer);
    } catch (error) {
      if (!(error instanceof ServiceError)) throw error;
      if (request === this.requests) this.showProblem(error.message);
    } finally {
      if (request === this.requests) this.parts.busy.hidden = true;
    }
  }

  showAnswer(answer) {
    const { parts } = this;
    const { faces } = answer.record;
    this.answer = answer;
    parts.drop.hidden = true;
    parts.again.hidden = parts.picture.hidden = false;
    parts.picture.src = answer.picture;
    const words = faces.map(({ emotion, confidence }) => `${emotion} ${percent(confidence)}`).join(", ");
    parts.picture.alt = faces.length ? `The photo with its faces marked: ${words}` : "The photo, without any face found";
    const count = faces.length === 1 ? "One face" : `${faces.length} faces`;
    parts.subtitle.textContent = faces.length ? `${count}, largest first` : "No face was found in this photo.";
    parts.faces.replaceChildren(...faces.map((face, index) => this.card(face, index)));
    parts.rows.replaceChildren(...faces.map((face, index) => this.row(face, index)));
    parts.tableCard.hidden = !faces.length;
    showNotice(parts.notice, faces.length ? "" : "No face was found. Perhaps one of these helps:", NO_FACE_ADVICE);
  }

  showProblem(text) {
    const { parts } = this;
    this.answer = null;
    parts.picture.hidden = parts.again.hidden = parts.tableCard.hidden = true;
    parts.drop.hidden = false;
    parts.faces.replaceChildren();
    parts.subtitle.textContent = "Each face gets its bars here.";
    showNotice(parts.notice, text);
  }

  card(face, index) {
    const card = new FaceCard(this.answer.labels);
    card.update(index + 1, face, face.unsure);
    const [left, top, right, bottom] = face.box;
    addExplanation(card, this.photo, { left, top, right, bottom, roll: face.roll, ...chosenModels(this.parts) });
    return card.root;
  }

  row(face, index) {
    const [left, top, right, bottom] = face.box;
    const word = this.answer.labels.find(({ id }) => id === face.emotion)?.name ?? face.emotion;
    const place = `${Math.round(left)}, ${Math.round(top)}`;
    const size = `${Math.round(right - left)} × ${Math.round(bottom - top)}`;
    const cells = [String(index + 1), word, percent(face.confidence), place, size];
    return make("tr", {}, ...cells.map((textContent) => make("td", { textContent })));
  }

  stem() {
    return this.name.replace(/\.[^.]*$/, "") || "photo";
  }

  save(kind) {
    const text = kind === "json" ? `${JSON.stringify(this.answer.record, null, 2)}\n` : this.answer.csv;
    const type = kind === "json" ? "application/json" : "text/csv";
    download(`${this.stem()}.${kind}`, new Blob([text], { type }));
  }

  async openShutter() {
    const { parts } = this;
    parts.camera.disabled = parts.cameraAgain.disabled = true; // a second press would open a second camera
    try {
      this.stream = await openCamera();
    } catch (error) {
      if (!(error instanceof CameraError)) throw error;
      return showNotice(parts.notice, error.message, error.advice);
    } finally {
      parts.camera.disabled = parts.cameraAgain.disabled = false;
    }
    showNotice(parts.notice, "");
    parts.drop.hidden = parts.picture.hidden = true;
    parts.shutter.hidden = false;
    parts.video.srcObject = this.stream;
    await parts.video.play();
    parts.take.focus();
  }

  closeShutter() {
    const { parts } = this;
    closeCamera(this.stream);
    this.stream = parts.video.srcObject = null;
    parts.shutter.hidden = true;
    parts.picture.hidden = !this.answer;
    parts.drop.hidden = Boolean(this.answer);
  }

  takeFromCamera() {
    const { video } = this.parts;
    const canvas = make("canvas", { width: video.videoWidth, height: video.videoHeight });
    canvas.getContext("2d").drawImage(video, 0, 0);
    canvas.toBlob((blob) => this.take(new File([blob], "camera.jpg")), "image/jpeg", 0.92);
  }
}
