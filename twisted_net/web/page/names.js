// Names of people and rooms: how they compare, and the colour of each.

// How many colours page.css has: .c0 to .c11.
export const COLOURS = 12;

/**
 * Return a name as it compares: without its case, as the server's fold() does (chat/names.py). The
 * server takes names for the same that only look alike, too: it alone decides.
 */
export function fold(name) {
  if (/^[\0-\x7f]*$/u.test(name)) return name.toLowerCase();
  const folded = Array.from(name.normalize('NFKC'), withoutCase).join('').normalize('NFKC');
  return folded.replaceAll('i\u0307', 'i'); // of the Turkish capital İ
}

/**
 * Return a character without its case. JavaScript has no case folding; but the small form of the
 * capital is the same (ß: SS: ss), except in Cherokee, which folds to capitals, and for ı.
 */
function withoutCase(character) {
  if (character === 'ı') return character;
  if (/\p{Script=Cherokee}/u.test(character)) return character.toUpperCase();
  return character.toLowerCase().toUpperCase().toLowerCase();
}

/** Return the number of a name's colour: the same in every room and on every page (FNV-1a). */
export function colourOf(name) {
  let hash = 0x811c9dc5;
  for (const character of fold(name)) {
    hash = Math.imul(hash ^ character.codePointAt(0), 0x01000193) >>> 0;
  }
  return ((hash ^ (hash >>> 16)) >>> 0) % COLOURS;
}

/** Return what stands in a name's square: its first character, with the marks that belong to it. */
export const initialOf = (name) =>
  new Intl.Segmenter().segment(name)[Symbol.iterator]().next().value?.segment ?? '?';

// What may stand beside a name without being a part of a longer one.
const LETTER = '[\\p{L}\\p{M}\\p{N}_-]';

/** Return a pattern that finds a name as a word of its own, with or without an @. */
export function patternOf(name) {
  const plain = name.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
  return new RegExp(`(?<!${LETTER})@?${plain}(?!${LETTER})`, 'giu');
}

/** Return whether a text mentions a name. */
export const mentions = (text, name) => Boolean(name) && patternOf(name).test(text);

/** Return the name of a room as it was typed, without the number sign. */
export const bareRoom = (typed) => typed.trim().replace(/^#+/, '');

/** Return the names in the order that people expect. */
export const sorted = (names) =>
  [...names].sort((a, b) => a.localeCompare(b, undefined, { sensitivity: 'base', numeric: true }));
