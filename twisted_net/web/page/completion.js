// Completion of names, rooms and commands in the message box.

import { fold, sorted } from './names.js';
import { COMMANDS } from './commands.js';

const MOST = 8;

/**
 * Return what may be completed at the caret: where the word begins and the choices, each with what
 * is inserted, how it is shown and a note. Null if there is nothing.
 * @param {string} text - of the message box
 * @param {number} caret
 * @param known - { people: Map of name to note, rooms: Map of name to note, operator }
 * @param {boolean} asked - whether Tab was pressed, so that a bare word counts as a name
 */
export function completionsAt(text, caret, known, asked = false) {
  const before = text.slice(0, caret);
  // No pattern that ends at the caret: it would begin anew at each letter of a long text.
  let from = caret;
  while (from > 0 && !/\s/u.test(text[from - 1])) from -= 1;
  const word = before.slice(from);
  const choices = choicesOf(word, from, before, known, asked).slice(0, MOST);
  return choices.length ? { from, to: caret, choices } : null;
}

function choicesOf(word, from, before, known, asked) {
  if (word.startsWith('/') && from === 0) return commandsLike(word);
  if (word.startsWith('#')) {
    return like(known.rooms, word.slice(1)).map(([name, note]) => ({
      insert: `#${name} `,
      label: `#${name}`,
      note,
    }));
  }
  const isName = /^\/(?:msg|kick|ban|mute|unban|ignore|unignore)\s+\S*$/iu.test(before);
  if (isName) {
    return like(known.people, word).map(([name, note]) => ({
      insert: `${name} `,
      label: name,
      note,
    }));
  }
  if (!word.startsWith('@') && !(asked && word)) return [];
  const found = like(known.people, word.replace(/^@/u, ''));
  return found.map(([name, note]) => ({ insert: `@${name} `, label: `@${name}`, note }));
}

const commandsLike = (word) =>
  COMMANDS.filter((each) => each.word.startsWith(word.toLowerCase())).map((each) => ({
    insert: each.usage.includes(' ') ? `${each.word} ` : each.word,
    label: each.usage,
    note: each.help,
  }));

function like(map, beginning) {
  const start = fold(beginning);
  const notes = new Map(map);
  return sorted(notes.keys())
    .filter((name) => fold(name).startsWith(start))
    .map((name) => [name, notes.get(name)]);
}

/** Return the text and the caret after a choice was taken. */
export function withChoice(text, { from, to }, choice) {
  const rest = text.slice(to).replace(/^ /u, '');
  return { text: text.slice(0, from) + choice.insert + rest, caret: from + choice.insert.length };
}
