// A conversation: what has been said in a room, or with one person, and how far it was read.
//
// In a room, the server numbers the messages: offsets rise by one within an epoch. Private messages
// are not in the server's store; this page numbers them itself and keeps the last of them.

import { fold } from './names.js';

// Entries of a conversation that the page keeps. Older ones of a room are fetched again.
export const MOST_ENTRIES = 20_000;
const KEPT_PRIVATE = 100;

export class Conversation {
  constructor(key, title) {
    this.key = key; // "#lobby" or "@bea"
    this.title = title;
    this.entries = []; // the oldest first
    this.epoch = '';
    this.offset = -1; // of the last message that was received; -1: none was
    this.first = null; // the lowest offset of the entries; null: there is no message
    this.more = false; // whether the server has earlier ones
    this.loading = false;
    this.read = { epoch: '', offset: 0 };
    this.quiet = 0; // messages after those that were read that need no reading either
    this.line = null; // the last message above the line "New"; null: there is no line
    this.mentions = 0;
    this.draft = '';
  }

  get isRoom() {
    return this.key[0] === '#';
  }

  get unread() {
    return this.offset < 0 ? 0 : Math.max(0, this.offset - this.readTo - this.quiet);
  }

  /** The last message that was read, in this epoch. */
  get readTo() {
    return this.read.epoch === this.epoch ? this.read.offset : 0;
  }

  /** Count everything as read. */
  markRead() {
    const changed = this.unread > 0 || this.mentions > 0;
    this.read = { epoch: this.epoch, offset: Math.max(0, this.offset) };
    this.quiet = this.mentions = 0;
    return changed;
  }

  /** Take it that the last message needs no reading. It hides nothing before it that does. */
  passOver() {
    this.quiet += 1;
    if (this.unread === 0) this.markRead();
  }

  /** Draw the line "New" above what has not been read. */
  drawLine() {
    this.line = this.unread ? this.readTo : null;
  }

  append(entry) {
    this.entries.push(entry);
    if (entry.kind === 'message') this.first ??= entry.offset;
  }

  /** Forget the oldest entries, if there are too many. Return how many were forgotten. */
  trim(most = MOST_ENTRIES) {
    if (this.entries.length <= most) return 0;
    const count = this.entries.length - Math.floor(most * 0.9);
    this.entries.splice(0, count);
    this.first = this.entries.find((each) => each.kind === 'message')?.offset ?? null;
    this.more = this.isRoom && this.first !== null;
    return count;
  }
}

export class Room extends Conversation {
  constructor(name) {
    super(`#${name}`, name);
    this.name = name;
    this.joined = false;
    this.members = new Set();
    this.count = 0;
    this.topic = '';
    this.attic = null; // entries before a gap that may be closed by fetching
    this.caughtUp = -1; // the last message that came late, after a lost connection
    this.gap = null; // messages that are unread as far as is known: those after..before
  }

  get since() {
    return this.offset < 0 ? undefined : { epoch: this.epoch, offset: this.offset };
  }

  /**
   * Begin anew at a position, because what came between could not be had. The entries so far stay
   * in the attic until it is known whether something is missing after them.
   */
  restart(epoch, offset) {
    const { entries, epoch: old, offset: last, first, more } = this;
    if (last > 0) this.attic = { entries, epoch: old, offset: last, first, more };
    if (epoch !== old) Object.assign(this, { line: null, quiet: 0 });
    this.gap = { after: epoch === old ? Math.max(0, last) : 0, before: offset + 1 };
    const left = last > 0 ? [] : entries; // if nothing was said, nothing is missing
    Object.assign(this, { epoch, offset, entries: left, first: null, more: false, loading: false });
    this.caughtUp = -1;
  }

  /** Count somebody who came, left, or has another name now. */
  moved(event, nick, to) {
    const had = this.members.size;
    const areAllListed = had === this.count;
    if (event !== 'join') this.members.delete(nick);
    if (event !== 'leave') this.members.add(to ?? nick);
    this.count += this.members.size - had;
    if (event === 'leave' && this.members.size === had && !areAllListed) this.count -= 1;
  }

  /** Look in a page of history, once, for unread messages that need no reading. */
  countPast(messages, needsReading) {
    const { gap, readTo } = this;
    if (gap === null || !messages.length) return;
    const after = Math.max(gap.after, readTo);
    this.quiet += messages.filter(
      (each) => each.offset > after && each.offset < gap.before && !needsReading(each),
    ).length;
    this.gap = { ...gap, before: Math.min(gap.before, messages[0].offset) };
    if (this.unread === 0) this.markRead();
  }

  /**
   * Put earlier messages before the entries.
   * @param messages - a page of history, the oldest first
   * @param {boolean} more - whether the server has earlier ones
   * @param isShown - whether a message is to be shown at all
   * @return {number} how many entries stand before those that were there
   */
  prepend(messages, more, isShown = () => true) {
    const { attic, entries } = this;
    const before = this.first ?? Infinity;
    const lowest = Math.min(before, messages[0]?.offset ?? Infinity, this.offset + 1);
    const closes = attic !== null && attic.epoch === this.epoch && lowest <= attic.offset + 1;
    const from = closes && attic.first !== null ? attic.offset + 1 : 0;
    const page = messages.filter(
      (each) => each.offset < before && each.offset >= from && isShown(each),
    );
    this.entries = [...page, ...entries];
    Object.assign(this, { more, first: lowest });
    if (attic !== null && (closes || !more)) this.bringDown(closes);
    return this.entries.length - entries.length;
  }

  /** Take the entries before a gap back, now that it is known whether something is missing. */
  bringDown(closes) {
    const { attic } = this;
    this.entries = [...attic.entries, ...(closes ? [] : [{ kind: 'lost' }]), ...this.entries];
    if (closes && attic.first !== null)
      Object.assign(this, { more: attic.more, first: attic.first });
    this.attic = null;
  }

  toJSON() {
    const { name, epoch, offset, read, quiet, gap, line, mentions, draft } = this;
    return { name, epoch, offset, read, quiet, gap, line, mentions, draft };
  }

  // An earlier version of the page may have saved it.
  static from({ name, quiet = 0, gap = null, epoch, offset, read, line, mentions, draft }) {
    const saved = { quiet, gap, epoch, offset, read, line, mentions, draft };
    return Object.assign(new Room(name), saved);
  }
}

export class Talk extends Conversation {
  constructor(nick) {
    super(`@${fold(nick)}`, nick);
  }

  get nick() {
    return this.title;
  }

  /** Give a private message the next number. */
  numbered(entry) {
    this.offset = Math.max(this.offset, 0) + 1;
    return { ...entry, offset: this.offset };
  }

  toJSON() {
    const { nick, offset, read, quiet, line, mentions, draft } = this;
    const entries = this.entries.filter((each) => each.kind === 'message').slice(-KEPT_PRIVATE);
    return { nick, offset, read, quiet, line, mentions, draft, entries };
  }

  static from({ nick, quiet = 0, entries, offset, read, line, mentions, draft }) {
    const saved = { quiet, entries, offset, read, line, mentions, draft };
    const talk = Object.assign(new Talk(nick), saved);
    talk.first = entries[0]?.offset ?? null;
    return talk;
  }
}

/** Return a message of the server as an entry of a conversation. */
export function entryOf({ offset, from, text, time, action }) {
  const entry = { kind: 'message', offset, from, text, time: Date.parse(time) };
  return action ? { ...entry, action } : entry;
}
