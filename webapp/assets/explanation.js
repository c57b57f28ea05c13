/** The button that shows a heat map of the network's attention. */

import { make, showNotice } from "./elements.js";
import { say, translated } from "./language.js";
import { ServiceError, explainFace } from "./service.js";

/**
 * Adds the button to a face's card; the image is sent again, because the server keeps none.
 * @returns {() => Promise<void>} does the same as the button, once
 */
export function addExplanation(card, picture, options) {
  const button = make("button", { type: "button", class: "kv-button", textContent: say("Where did it look?") });
  const notice = make("div", { class: "kv-notice", role: "alert", hidden: true });
  card.extra.hidden = false;
  card.extra.replaceChildren(button, notice);
  let isDone = false;
  const look = async () => {
    if (isDone) return;
    isDone = true; // not disabled: that would drop the keyboard focus
    button.textContent = say("Looking …");
    try {
      const answer = await explainFace(picture, options);
      const text = translated(answer.text);
      const heat = make("img", { src: answer.picture, alt: text });
      const shown = make("div", { class: "kv-heat", tabIndex: -1 }, heat, make("p", { textContent: text }));
      const hadFocus = document.activeElement === button;
      card.extra.replaceChildren(shown);
      if (hadFocus) shown.focus({ preventScroll: true });
    } catch (error) {
      if (!(error instanceof ServiceError)) throw error;
      showNotice(notice, error.message);
      isDone = false;
      button.textContent = say("Where did it look?");
    }
  };
  button.addEventListener("click", look);
  return look;
}
