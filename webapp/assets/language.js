/** Translations of the page and of the server's messages, in the language chosen by the server. */

const COOKIE = "kv-language";
const YEAR_S = 365 * 24 * 3600;
const GAP = /\{(\w+)\}/g;
const NUMBER = /^(\d{1,3}(,\d{3})+|\d+)(\.\d+)?$/;
const ENGLISH = { code: "en", expressions: {}, page: {}, sentences: {} };

const { code, expressions, page, sentences } = await load();

/** The language's code, such as `ru`. */
export const language = code;

const plurals = new Intl.PluralRules(code);
const decimal = (0.5).toLocaleString(code)[1];
const names = new Map(Object.entries(expressions).flatMap(([label, name]) => [
  [label, name.toLowerCase()], [label[0].toUpperCase() + label.slice(1), name],
]));
let patterns = null; // built on first use

async function load() {
  try {
    const answer = await fetch(new URL(`../language${location.search}`, import.meta.url));
    return answer.ok ? await answer.json() : ENGLISH;
  } catch {
    return ENGLISH; // rather than an empty page
  }
}

/**
 * Translates a text.
 * @param {string} text English text, with gaps such as `{count}`
 * @param {Record<string, unknown>} [values] values of the gaps
 */
export function say(text, values = {}) {
  const found = page[text];
  return fill(typeof found === "string" ? found : text, values);
}

/** Translates a text in the plural form for `count`, which fills its gap `{count}`; `many` is the key. */
export function sayCount(count, one, many, values = {}) {
  return fill(formOf(page[many], count) ?? (count === 1 ? one : many), { count, ...values });
}

/** Formats a number with the given number of decimals. */
export const number = (value, digits) =>
  value.toLocaleString(code, { minimumFractionDigits: digits, maximumFractionDigits: digits, useGrouping: false });

/** Labels with translated names: `{id, name, colour}` each. */
export const named = (labels) => labels.map((label) => ({ ...label, name: expressions[label.id] ?? label.name }));

/** Translates a text of the server with gaps already filled, by matching it against all messages. */
export function translated(text) {
  if (code === "en" || !text) return text;
  const known = names.get(text) ?? sentences[text] ?? page[text];
  if (typeof known === "string") return known;
  if (NUMBER.test(text)) return text.replaceAll(",", "\u202f").replace(".", decimal);
  patterns ??= Object.keys(sentences).filter((key) => key.search(GAP) >= 0).map(patternOf)
    .sort((one, other) => other.length - one.length);
  for (const { pattern, translation } of patterns) {
    const gaps = pattern.exec(text)?.groups;
    if (!gaps) continue;
    const parts = Object.entries(gaps).map(([name, part]) => [name, translatedPart(part)]);
    const count = (gaps.count ?? "").replaceAll(",", "");
    const form = formOf(translation, /^\d+$/.test(count) ? Number(count) : 0) ?? text;
    return fill(form, Object.fromEntries(parts));
  }
  return text;
}

/** Translates the content of a gap: a number, a text, or a list of words. */
function translatedPart(text) {
  const whole = translated(text);
  return whole === text ? text.split(/([,;:] |[()])/).map(translated).join("") : whole;
}

/** Translates the texts and labels of a drawing from the server. */
export function translateTree(root) {
  if (code === "en") return;
  const texts = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
  for (let text = texts.nextNode(); text; text = texts.nextNode()) text.data = translated(text.data);
  for (const element of [root, ...root.querySelectorAll("[aria-label]")]) {
    const label = element.getAttribute("aria-label");
    if (label) element.setAttribute("aria-label", translated(label));
  }
}

/** Connects the language switch: stores the choice in a cookie and reloads the page. */
export function mount(element) {
  document.documentElement.lang = code;
  const address = new URL(location.href);
  const isRemembered = document.cookie.includes(`${COOKIE}=${code}`);
  if (isRemembered && address.searchParams.has("language")) {
    address.searchParams.delete("language");
    history.replaceState(history.state, "", address);
  }
  const select = element.querySelector("select");
  select.value = code;
  select.addEventListener("change", () => {
    const path = new URL(".", document.baseURI).pathname;
    document.cookie = `${COOKIE}=${select.value}; path=${path}; max-age=${YEAR_S}; samesite=lax`;
    address.searchParams.set("language", select.value); // for framed pages, where cookies are blocked
    location.assign(address);
  });
}

function formOf(forms, count) {
  return forms && typeof forms === "object" ? forms[plurals.select(count)] : forms;
}

function fill(text, values) {
  return text.replace(GAP, (gap, name) => values[name] ?? gap);
}

/** The pattern of a text with any values in its gaps; `length` counts the fixed characters. */
function patternOf(key) {
  const seen = new Set();
  const parts = key.split(GAP).map((part, place) => {
    if (place % 2 === 0) return part.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
    const group = seen.has(part) ? `\\k<${part}>` : `(?<${part}>${/^(count|number)$/.test(part) ? "[\\d.,]+" : ".*?"})`;
    seen.add(part);
    return group;
  });
  const pattern = new RegExp(`^${parts.join("")}$`, "s");
  return { pattern, length: key.replace(GAP, "").length, translation: sentences[key] };
}
