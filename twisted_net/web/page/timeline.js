// The rows of a conversation: days, groups of one sender's messages, folded joins and leaves, code.
//
// A conversation is a list of entries; the rows for the next entry depend on a small state that the
// entries before it leave behind. So rows can be made from any place on, and one at a time.

import { PATIENCE, fenced, openBefore } from './fences.js';
import { counted } from './format.js';

// Messages of one sender within this time stand under one name.
const GROUP = 5 * 60_000;

/** Return the state before the first entry. */
export const startOfRows = () => ({
  day: '',
  sender: null,
  time: 0,
  offset: null,
  fold: false,
  fences: new Map(),
});

export const copyOf = (state) => ({ ...state, fences: new Map(state.fences) });

/** Return whether the same rows follow two states. */
export const isSame = (one, other) => textOf(one) === textOf(other);

const textOf = ({ fences, ...rest }) => {
  const open = [...fences].filter(([, time]) => rest.time - time < PATIENCE);
  return JSON.stringify([rest, open.sort()]);
};

/** Return the rows of several entries, and change the state. */
export function rowsOfAll(state, entries, line = null) {
  return entries.flatMap((entry, index) => {
    // Where messages were lost, so was the begin of a block, or its end.
    if (entry.kind === 'lost') state.fences = openBefore(entries, index + 1);
    return rowsOf(state, entry, line);
  });
}

/**
 * Return the rows that an entry adds, and change the state.
 * @param state - of startOfRows, after all entries before this one
 * @param entry - of a conversation
 * @param {?number} line - the offset of the last message above the line "New"; null for no line
 */
export function rowsOf(state, entry, line = null) {
  const rows = [];
  if (entry.time && entry.kind !== 'presence') addDay(rows, state, entry.time);
  if (entry.kind === 'message') {
    if (line !== null && entry.offset > line && (state.offset === null || state.offset <= line)) {
      rows.push({ row: 'new' });
      state.sender = null;
    }
    state.offset = entry.offset ?? state.offset;
    rows.push(messageRow(state, entry));
    state.fold = false;
    return rows;
  }
  if (entry.kind === 'presence') {
    rows.push({ row: state.fold ? 'fold-more' : 'fold', entry });
  } else {
    rows.push({ row: entry.kind, entry });
  }
  state.fold = entry.kind === 'presence';
  state.sender = null;
  return rows;
}

function addDay(rows, state, time) {
  const day = dayOf(time);
  if (day === state.day) return;
  rows.push({ row: 'day', time });
  Object.assign(state, { day, sender: null });
}

function messageRow(state, entry) {
  const { from, time } = entry;
  const more = state.sender === from && !entry.action && time - state.time < GROUP;
  const [code, joins] = entry.action ? [null, false] : fenced(state.fences, entry);
  Object.assign(state, { sender: entry.action ? null : from, time });
  return { row: 'message', entry, more, code, joins: joins && more };
}

/** Return the local day of a time, as a text that compares. */
export function dayOf(time) {
  const date = new Date(time);
  return `${date.getFullYear()}-${date.getMonth() + 1}-${date.getDate()}`;
}

/** Return the name of a day. */
export function dayName(time, now) {
  if (dayOf(time) === dayOf(now)) return 'Today';
  const yesterday = new Date(now);
  yesterday.setDate(yesterday.getDate() - 1);
  if (dayOf(time) === dayOf(yesterday.getTime())) return 'Yesterday';
  const date = new Date(time);
  const year = date.getFullYear() === new Date(now).getFullYear() ? {} : { year: 'numeric' };
  return date.toLocaleDateString('en-GB', {
    weekday: 'long',
    day: 'numeric',
    month: 'long',
    ...year,
  });
}

/** Return the time of a day: 06:33. */
export function clockOf(time) {
  const date = new Date(time);
  return [date.getHours(), date.getMinutes()]
    .map((each) => String(each).padStart(2, '0'))
    .join(':');
}

/** Return folded joins and leaves in a few words: "4 came, 2 left, 1 changed name". */
export function foldedText(entries) {
  const counts = { join: 0, leave: 0, nick: 0 };
  for (const entry of entries) counts[entry.event] += entry.count ?? 1;
  const words = [];
  if (counts.join) words.push(`${counted(counts.join, 'came', 'came')}`);
  if (counts.leave) words.push(`${counted(counts.leave, 'left', 'left')}`);
  if (counts.nick) words.push(`${counted(counts.nick, 'changed name', 'changed names')}`);
  return words.join(', ');
}

/** Return one join, leave or change of name in words. */
export function presenceText({ event, nick, to, count }) {
  if (nick === undefined)
    return `${counted(count, 'person', 'people')} ${event === 'join' ? 'came' : 'left'}`;
  if (event === 'nick') return `${nick} is ${to} now`;
  return `${nick} ${event === 'join' ? 'came' : 'left'}`;
}
