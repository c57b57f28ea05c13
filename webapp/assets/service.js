/** Talks to the page's own server. */

import { sentence } from "./elements.js";
import { named, say, translated } from "./language.js";

const address = (path) => new URL(`kv/${path}`, document.baseURI);

/** What the visitor did or met, as a sentence that can be shown. */
export class ServiceError extends Error {}

/** Words, colours and names of models. */
export const loadChoices = () => ask("choices");

/** Whether the page plays a demonstration in place of a camera. */
export const loadDemo = () => ask("demo");

/** Sends a picture and returns what its faces show. */
export const readPhoto = async (picture, options) => spoken(await ask("photo", options, picture));

/** Sends a picture and returns it with every face covered. */
export const coverPhoto = (picture, options) => ask("covered", options, picture);

/** Sends a picture and returns where the network looked in one of its faces. */
export const explainFace = (picture, options) => ask("explain", options, picture);

/** How long and how large a video may be. */
export const loadVideoLimits = () => ask("video-limits");

/** Sends a video and returns the key under which it is read. */
export const sendVideo = (video, options, signal) => ask("video", options, video, { signal });

/** How far a video is, and what was seen once it is finished. */
export const watchVideo = async (key) => spoken(await ask(`video/${key}`));

/** Lets go of a video: the server stops reading it and deletes its files. */
export const dropVideo = (key) => fetch(address(`video/${key}`), { method: "DELETE", keepalive: true }).catch(() => {});

/** Where a file of a finished video lies; with a name of its own if it is to be saved. */
export const videoAddress = (key, file, save = false) => `${address(`video/${key}/${file}`)}${save ? "?save=true" : ""}`;

/** An answer with the names of its labels in the visitor's language. */
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
