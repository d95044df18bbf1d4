// What is shown of a message's text: code, fenced code, links and mentions. All else stays text.
//
// Parts are data; nothing here makes HTML, and the page puts them into text nodes only.

import { patternOf } from './names.js';

export const FENCE = '```';

const PIECE = /```(.+?)```|`([^`]+)`|\bhttps?:\/\/[^\s<>"`]+/giu;

/**
 * Return the parts of a text: objects of a kind (text, code, block, link or mention) and a value.
 * @param {string} text
 * @param {string} me - the reader's name, whose mentions are marked; may be empty
 */
export function partsOf(text, me = '') {
  const parts = [];
  let end = 0;
  for (const match of text.matchAll(PIECE)) {
    const [whole, block, code] = match;
    const part =
      block !== undefined
        ? { kind: 'block', value: block.trim() }
        : code !== undefined
          ? { kind: 'code', value: code }
          : linkOf(whole);
    if (part === null) continue;
    addText(parts, text.slice(end, match.index), me);
    parts.push(part);
    end = match.index + (part.kind === 'link' ? part.value.length : whole.length);
  }
  addText(parts, text.slice(end), me);
  return parts;
}

/** Return a link, or null if what was found is none. The end of a sentence is not a part of it. */
function linkOf(found) {
  const value = withoutEnd(found);
  let url;
  try {
    url = new URL(value);
  } catch {
    return null;
  }
  const { protocol, href, username } = url;
  // A name before an @ makes a link look as if it led elsewhere.
  if ((protocol !== 'http:' && protocol !== 'https:') || username) return null;
  return { kind: 'link', value, href };
}

const PUNCTUATION = ".,;:!?'*_";
const OPENING = { ')': '(', ']': '[', '}': '{' };

/** Return a link without punctuation at its end, and brackets there that were not opened in it. */
function withoutEnd(found) {
  // One pass, since anybody may send a link with thousands of them.
  const counts = {};
  for (const each of found) counts[each] = (counts[each] ?? 0) + 1;
  let end = found.length;
  for (; end > 0; end -= 1) {
    const last = found[end - 1];
    const isOver = last in OPENING && counts[last] > (counts[OPENING[last]] ?? 0);
    if (!isOver && !PUNCTUATION.includes(last)) break;
    counts[last] -= 1;
  }
  return found.slice(0, end);
}

function addText(parts, text, me) {
  let end = 0;
  for (const match of me ? text.matchAll(patternOf(me)) : []) {
    if (match.index > end) parts.push({ kind: 'text', value: text.slice(end, match.index) });
    parts.push({ kind: 'mention', value: match[0] });
    end = match.index + match[0].length;
  }
  if (end < text.length) parts.push({ kind: 'text', value: text.slice(end) });
}

/** Return "1 message" or "3 messages". */
export const counted = (number, one, many = `${one}s`) =>
  `${number.toLocaleString('en')} ${number === 1 ? one : many}`;

/** Return a duration as people say it: "4 s", "2 min", "3 h". */
export function lasted(milliseconds) {
  const seconds = Math.max(1, Math.round(milliseconds / 1000));
  if (seconds < 90) return `${seconds} s`;
  if (seconds < 90 * 60) return `${Math.round(seconds / 60)} min`;
  return `${Math.round(seconds / 3600)} h`;
}
