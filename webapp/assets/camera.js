/** Opens the visitor's camera, with readable errors. */

import { openDemoCamera } from "./demo_camera.js";
import { say } from "./language.js";
import { loadDemo } from "./service.js";

/** An error with a title and advice for display. */
export class CameraError extends Error {
  constructor(title, advice) {
    super(title);
    this.advice = advice;
  }
}

/**
 * @param {{deviceId?: string, facing?: "user" | "environment"}} wish
 * @returns {Promise<MediaStream>} 640×480 if the camera supports it
 */
export async function openCamera({ deviceId, facing } = {}) {
  if (await isDemo()) return openDemoCamera();
  if (!navigator.mediaDevices?.getUserMedia) throw explain({ name: "InsecureOrigin" });
  const video = { width: { ideal: 640 }, height: { ideal: 480 }, frameRate: { ideal: 30 } };
  if (deviceId) video.deviceId = { exact: deviceId };
  else video.facingMode = facing ?? "user";
  try {
    return await navigator.mediaDevices.getUserMedia({ video, audio: false });
  } catch (error) {
    throw explain(error);
  }
}

/** Whether the page was started with --demo, with an animated photo as its camera. */
export const isDemo = () => loadDemo().then(({ is_on: isOn }) => isOn, () => false);

export const closeCamera = (stream) => stream?.getTracks().forEach((track) => track.stop());

/** The available cameras; their names are known only after the visitor grants access. */
export async function listCameras() {
  const devices = (await navigator.mediaDevices?.enumerateDevices?.()) ?? [];
  return devices
    .filter(({ kind, deviceId }) => kind === "videoinput" && deviceId)
    .map(({ deviceId, label }, index) => ({ deviceId, label: label || say("Camera {number}", { number: index + 1 }) }));
}

function explain(error) {
  switch (error.name) {
    case "InsecureOrigin":
      return new CameraError(say("Browsers allow camera access only on secure pages."), [
        say("This page was loaded over plain http from another machine."),
        say("Start it with “python app.py --host 0.0.0.0 --https” and open the https address."),
        say("The browser then warns once, because that machine signed its certificate itself."),
      ]);
    case "NotAllowedError":
    case "SecurityError":
      return new CameraError(say("Camera access was denied."), [
        say("Click the camera icon in the address bar, allow access, then start again."),
        say("Check the system's privacy settings, too: they may block camera access."),
      ]);
    case "NotFoundError":
    case "OverconstrainedError":
      return new CameraError(say("No camera was found."), [
        say("Plug one in, or choose another one, then start again."),
        say("Without a camera, the Photo tab reads pictures; “python app.py --demo” plays one in place of a camera."),
      ]);
    case "NotReadableError":
    case "AbortError":
      return new CameraError(say("The camera is in use."), [
        say("Close the other program or tab that uses it, then start again."),
      ]);
    default:
      return new CameraError(say("The camera cannot be opened ({reason}).", { reason: error.message || error.name }), [
        say("Try another camera or another browser."),
      ]);
  }
}
