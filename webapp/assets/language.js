/** The page's words in the visitor's language, as the server chose it; the server's own messages, too. */

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
let patterns = null; // made when first needed

async function load() {
  try {
    const answer = await fetch(new URL(`../language${location.search}`, import.meta.url));
    return answer.ok ? await answer.json() : ENGLISH;
  } catch {
    return ENGLISH; // better than an empty page
  }
}

/**
 * A text in the visitor's language.
 * @param {string} text English, with gaps such as `{count}`
 * @param {Record<string, unknown>} [values] for the gaps
 */
export function say(text, values = {}) {
  const found = page[text];
  return fill(typeof found === "string" ? found : text, values);
}

/** The form of a text that fits a number, which fills its gap `{count}`; other forms are found under `many`. */
export function sayCount(count, one, many, values = {}) {
  return fill(formOf(page[many], count) ?? (count === 1 ? one : many), { count, ...values });
}

/** A number with so many decimals, as the language writes them. */
export const number = (value, digits) =>
  value.toLocaleString(code, { minimumFractionDigits: digits, maximumFractionDigits: digits, useGrouping: false });

/** Labels with their names in the visitor's language: `{id, name, colour}` each. */
export const named = (labels) => labels.map((label) => ({ ...label, name: expressions[label.id] ?? label.name }));

/** A finished English text of the server in the visitor's language; its gaps are found by comparison. */
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

/** What stands in a gap: a number, a text, or a list of words. */
function translatedPart(text) {
  const whole = translated(text);
  return whole === text ? text.split(/([,;:] |[()])/).map(translated).join("") : whole;
}

/** Texts and labels of a drawing that the server made. */
export function translateTree(root) {
  if (code === "en") return;
  const texts = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
  for (let text = texts.nextNode(); text; text = texts.nextNode()) text.data = translated(text.data);
  for (const element of [root, ...root.querySelectorAll("[aria-label]")]) {
    const label = element.getAttribute("aria-label");
    if (label) element.setAttribute("aria-label", translated(label));
  }
}

/** Wires the switch of the heading: another language is remembered, and the page comes in it. */
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
    address.searchParams.set("language", select.value); // for pages in frames, where cookies are refused
    location.assign(address);
  });
}

function formOf(forms, count) {
  return forms && typeof forms === "object" ? forms[plurals.select(count)] : forms;
}

function fill(text, values) {
  return text.replace(GAP, (gap, name) => values[name] ?? gap);
}

/** What a text may be filled to; `length` counts its own letters. */
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
