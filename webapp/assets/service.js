/** Requests to the page's server. */

import { sentence } from "./elements.js";
import { named, say, translated } from "./language.js";

const address = (path) => new URL(`kv/${path}`, document.baseURI);

/** A failed request; its message is for the visitor. */
export class ServiceError extends Error {}

/** Gets the labels, colours and model names. */
export const loadChoices = () => ask("choices");

/** Whether the page runs with a simulated camera. */
export const loadDemo = () => ask("demo");

/** Sends a photo and returns its faces. */
export const readPhoto = async (picture, options) => spoken(await ask("photo", options, picture));

/** Sends a photo and returns it with every face covered. */
export const coverPhoto = (picture, options) => ask("covered", options, picture);

/** Sends a photo and returns a heat map of one face. */
export const explainFace = (picture, options) => ask("explain", options, picture);

/** Gets the limits on the duration and size of videos. */
export const loadVideoLimits = () => ask("video-limits");

/** Sends a video and returns the key of its job. */
export const sendVideo = (video, options, signal) => ask("video", options, video, { signal });

/** Gets the progress of a video, and the results once it is finished. */
export const watchVideo = async (key) => spoken(await ask(`video/${key}`));

/** Drops a video: the server stops reading it and deletes its files. */
export const dropVideo = (key) => fetch(address(`video/${key}`), { method: "DELETE", keepalive: true }).catch(() => {});

/** URL of a file of a finished video, with a file name for downloads. */
export const videoAddress = (key, file, save = false) => `${address(`video/${key}/${file}`)}${save ? "?save=true" : ""}`;

/** An answer with translated label names. */
const spoken = (answer) => (answer.labels ? { ...answer, labels: named(answer.labels) } : answer);

async function ask(path, options = {}, body = undefined, settings = {}) {
  const url = address(path);
  for (const [name, value] of Object.entries(options)) url.searchParams.set(name, value);
  let response;
  try {
    response = await fetch(url, body ? { method: "POST", body, ...settings } : settings);
  } catch {
    throw new ServiceError(say("The server does not answer. Is it still running? Start it again, then retry."));
  }
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) {
    const reason = answer.error ?? (typeof answer.detail === "string" ? answer.detail : null);
    const words = translated(reason) ?? say("The server could not do this ({status}).", { status: response.status });
    throw new ServiceError(sentence(words));
  }
  return answer;
}
