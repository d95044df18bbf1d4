// Completion of names, rooms and commands in the message box.

import { bareRoom, fold, sorted } from './names.js';
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
  const isRoom = /^\/(?:join|leave)\s+\S*$/iu.test(before);
  // Only when asked: what is typed there may be a new room, and Enter has to take it as it is.
  if (isRoom) return asked && word ? roomsLike(known.rooms, word) : [];
  if (word.startsWith('#')) return roomsLike(known.rooms, word);
  const isName = /^\/(?:msg|kick|ban|mute|unban|ignore|unignore)\s+\S*$/iu.test(before);
  if (isName) {
    return like(known.people, word.replace(/^@/u, '')).map(([name, note]) => ({
      insert: `${name} `,
      label: name,
      note,
    }));
  }
  if (!word.startsWith('@') && !(asked && word)) return [];
  const found = like(known.people, word.replace(/^@/u, ''));
  return found.map(([name, note]) => ({ insert: `@${name} `, label: `@${name}`, note }));
}

const roomsLike = (rooms, word) =>
  like(rooms, bareRoom(word)).map(([name, note]) => ({
    insert: `#${name} `,
    label: `#${name}`,
    note,
  }));

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

/** Return whether a choice says no more than what is typed already: Enter is not meant for it. */
export const isWhole = (text, { from, to }, { insert }) =>
  fold(text.slice(from, to)) === fold(insert.trim());

/** Return what can be completed: people, and rooms that were joined or are in the server's list. */
export function knownOf(chat, listed) {
  const { here } = chat;
  const people = new Map();
  for (const room of chat.rooms.values())
    for (const nick of room.members) people.set(nick, `in #${room.name}`);
  const nearest = here?.isRoom ? here.members : [here?.title].filter(Boolean);
  for (const nick of nearest) people.set(nick, 'here');
  people.delete(chat.nick);
  const rooms = new Map([...chat.rooms.values()].map((room) => [room.name, `${room.count} here`]));
  for (const { room, count, topic } of listed)
    if (!rooms.has(room)) rooms.set(room, `${count} here${topic ? `, ${topic}` : ''}`.slice(0, 60));
  return { people, rooms };
}

/** Return the text and the caret after a choice was taken. */
export function withChoice(text, { from, to }, choice) {
  const rest = text.slice(to).replace(/^ /u, '');
  return { text: text.slice(0, from) + choice.insert + rest, caret: from + choice.insert.length };
}
