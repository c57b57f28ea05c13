/** The button that shows where the network looked. */

import { make, showNotice } from "./elements.js";
import { ServiceError, explainFace } from "./service.js";

/** Adds the button to a face's card; the picture is sent again, for the server keeps none. */
export function addExplanation(card, picture, options) {
  const button = make("button", { type: "button", class: "kv-button", textContent: "Where did it look?" });
  const notice = make("div", { class: "kv-notice", role: "alert", hidden: true });
  card.extra.hidden = false;
  card.extra.replaceChildren(button, notice);
  button.addEventListener("click", async () => {
    button.disabled = true;
    button.textContent = "Looking …";
    try {
      const answer = await explainFace(picture, options);
      const heat = make("img", { src: answer.picture, alt: answer.text });
      card.extra.replaceChildren(
        make("div", { class: "kv-heat" }, heat, make("p", { textContent: answer.text })),
      );
    } catch (error) {
      if (!(error instanceof ServiceError)) throw error;
      showNotice(notice, error.message);
      button.disabled = false;
      button.textContent = "Where did it look?";
    }
  });
}
