// What a reconnection has brought, told once all rooms are back.

import { counted } from './format.js';

export class Homecoming {
  /** @param rooms - all that were joined; earlier - one that was interrupted, or null */
  constructor(rooms, earlier = null) {
    this.waiting = new Set(rooms);
    this.offsets = new Map(earlier?.offsets); // where the reader was when it was lost
    this.skipped = earlier?.skipped ?? []; // rooms with too much to send at once; it can be fetched
    this.lost = earlier?.lost ?? []; // rooms of which the server no longer has what was said
    for (const room of this.waiting)
      if (!this.offsets.has(room)) this.offsets.set(room, room.offset);
  }

  /** Take a room that is back: recovered and epoch are those of its join. */
  joined(room, recovered, epoch) {
    if (!this.waiting.delete(room) || recovered !== false) return;
    if (epoch !== room.epoch && room.offset <= 0) return; // nothing was said that could be lost
    (epoch === room.epoch ? this.skipped : this.lost).push(room.name);
  }

  /** Take a room that cannot be joined any more. */
  gone(room) {
    this.waiting.delete(room);
  }

  get isOver() {
    return this.waiting.size === 0;
  }

  summary() {
    let fetched = 0;
    for (const [room, offset] of this.offsets) fetched += Math.max(0, room.caughtUp - offset);
    return { fetched, skipped: this.skipped, lost: this.lost };
  }
}

/**
 * Return what to tell of it: parts for a banner, and whether it is bad. Null if there is nothing.
 * @param {string} lasted - how long the connection was away; empty after a reload
 */
export function sentencesOf({ fetched, skipped, lost }, lasted) {
  const away = lasted && `Back after ${lasted}. `;
  const roomsOf = (names) => names.map((each) => `#${each}`).join(', ');
  if (lost.length) {
    const what = ` the server no longer has what was said in ${roomsOf(lost)} meanwhile.`;
    return { parts: [away, ['Messages were lost here:'], what], isBad: true };
  }
  if (skipped.length) {
    const newest = 'the newest is shown. Scroll up for what the server still has.';
    const parts = [away, ['Much was said'], ` in ${roomsOf(skipped)}: ${newest}`];
    return { parts, isBad: false };
  }
  if (!lasted) return null;
  const was = fetched === 1 ? 'was' : 'were';
  const what = fetched ? ` ${counted(fetched, 'message')} ${was} fetched.` : ' nothing was said.';
  return { parts: [away, ['You missed nothing:'], what], isBad: false };
}
