// Fenced code. A message is one line, so a block of code is several messages of one sender, from a
// line that begins with a fence to one that ends with it.

import { FENCE } from './format.js';

export const PATIENCE = 60_000; // milliseconds between two lines of a block
const LOOKBACK = 500; // entries; a block that is longer is looked at from its middle on

/**
 * Return the line of fenced code that a message is, null for none; and whether it goes on with the
 * code of the sender's last message.
 * @param fences - the senders of open blocks, and when they sent the last line; it is changed
 */
export function fenced(fences, { from, text, time }) {
  const open = fences.get(from);
  if (open !== undefined && time - open < PATIENCE) {
    const end = text.trimEnd();
    if (!end.endsWith(FENCE)) {
      fences.set(from, time);
      return [text, true];
    }
    fences.delete(from);
    return [end.slice(0, -FENCE.length), true];
  }
  fences.delete(from);
  if (!text.startsWith(FENCE) || text.indexOf(FENCE, FENCE.length) > 0) return [null, false];
  fences.set(from, time);
  const first = text.slice(FENCE.length);
  return [/^\s*[\w+#.-]*\s*$/u.test(first) ? '' : first, false]; // a word there names the language
}

/** Return the blocks that are open before an entry, as far as the entries tell. */
export function fencesAt(entries, index) {
  let from = Math.max(0, index - LOOKBACK);
  const isBeginning = from === 0 && entries.find((each) => each.kind === 'message')?.offset === 1;
  let fences = isBeginning ? new Map() : openBefore(entries, from);
  for (; from < index; from += 1) {
    const entry = entries[from];
    if (entry.kind === 'lost') fences = openBefore(entries, from + 1);
    else if (entry.kind === 'message' && !entry.action) fenced(fences, entry);
  }
  return fences;
}

/**
 * Return the blocks that were open before an entry, although nobody knows what came before it. What
 * its sender sent after it tells: a line that can only begin a block, or only end one. If there is
 * none, it is taken that the last block is ended: so one was open if the number of fences is odd.
 */
export function openBefore(entries, index) {
  const found = new Map();
  const runs = new Map(); // of each sender: the last time, the fences so far, whether it is decided
  let latest = null;
  for (; index < entries.length; index += 1) {
    const { kind, from, text, time, action } = entries[index];
    if (kind === 'lost') break;
    if (kind !== 'message' || action) continue;
    latest ??= time;
    if (time - latest >= PATIENCE) break; // whatever was open is not any more
    if (!runs.has(from)) runs.set(from, { begin: latest, time: latest, count: 0, isOver: false });
    const run = runs.get(from);
    run.isOver ||= time - run.time >= PATIENCE;
    if (run.isOver) continue;
    run.time = latest = time;
    const state = stateBefore(text);
    if (state === 'either') run.count += 1;
    run.isOver = state === 'inside' || state === 'outside';
    const isOpen = (state === 'inside') !== (run.count % 2 === 1);
    if (isOpen) found.set(from, run.begin);
    else found.delete(from);
  }
  return found;
}

/** Return where a line stands: inside a block or outside; either, if it ends or begins one. */
function stateBefore(text) {
  const first = text.indexOf(FENCE);
  if (first < 0) return 'unknown';
  if (text.indexOf(FENCE, first + FENCE.length) > 0) return 'outside'; // a block within the line
  const isEnd = text.trimEnd().endsWith(FENCE);
  if (first > 0) return isEnd ? 'inside' : 'unknown';
  return isEnd ? 'either' : 'outside';
}
