// The rows of a conversation, and what a conversation keeps.

import assert from 'node:assert/strict';
import test from 'node:test';

import { MOST_ENTRIES, Room, Talk } from './page/conversation.js';
import { fencesAt } from './page/fences.js';
import * as timeline from './page/timeline.js';
import { copyOf, dayName, foldedText, presenceText, rowsOf, startOfRows } from './page/timeline.js';

const NOON = new Date(2026, 10, 25, 12).getTime();
const MINUTE = 60_000;
const message = (offset, from, text, minutes = 0, more = {}) => ({
  kind: 'message',
  offset,
  from,
  text,
  time: NOON + minutes * MINUTE,
  ...more,
});
const came = (nick) => ({ kind: 'presence', event: 'join', nick, time: NOON });

function rowsOfAll(entries, line = null, state = startOfRows()) {
  return entries.flatMap((each) => rowsOf(state, each, line));
}

const brief = (rows) =>
  rows
    .map(({ row, more, code, joins }) =>
      row === 'message'
        ? `${more ? 'more' : 'message'}${code === null ? '' : joins ? ' joins' : ' code'}`
        : row,
    )
    .join(', ');

test('messages of one sender stand under one name', () => {
  const rows = rowsOfAll([
    message(1, 'bea', 'a'),
    message(2, 'bea', 'b', 1),
    message(3, 'ann', 'c', 1),
    message(4, 'ann', 'd', 9),
  ]);
  assert.equal(brief(rows), 'day, message, more, message, message');
});

test('an action stands alone', () => {
  const rows = rowsOfAll([
    message(1, 'bea', 'a'),
    message(2, 'bea', 'waves', 0, { action: true }),
    message(3, 'bea', 'b'),
  ]);
  assert.equal(brief(rows), 'day, message, message, message');
});

test('each day has a separator', () => {
  const rows = rowsOfAll([message(1, 'bea', 'a'), message(2, 'bea', 'b', 24 * 60)]);
  assert.equal(brief(rows), 'day, message, day, message');
  assert.equal(dayName(NOON, NOON + MINUTE), 'Today');
  assert.equal(dayName(NOON, NOON + 24 * 60 * MINUTE), 'Yesterday');
  // Versions of Unicode's data differ in the comma.
  assert.match(dayName(NOON, NOON + 72 * 60 * MINUTE), /^Wednesday,? 25 November$/u);
  assert.match(dayName(NOON, NOON + 400 * 24 * 60 * MINUTE), /^Wednesday,? 25 November 2026$/u);
});

test('after midnight the name stands again', () => {
  const rows = rowsOfAll([
    message(1, 'bea', 'a', 11 * 60 + 59),
    message(2, 'bea', 'b', 12 * 60 + 1),
  ]);
  assert.equal(brief(rows), 'day, message, day, message');
});

test('the line stands above the first that is new', () => {
  const entries = [1, 2, 3, 4].map((each) => message(each, 'bea', 'x'));
  assert.equal(brief(rowsOfAll(entries, 2)), 'day, message, more, new, message, more');
  assert.equal(brief(rowsOfAll(entries, 0)), 'day, new, message, more, more, more');
  assert.equal(brief(rowsOfAll(entries, 4)), 'day, message, more, more, more');
  // Where a page of history ends does not matter.
  const state = startOfRows();
  assert.equal(
    brief([
      ...rowsOfAll(entries.slice(0, 2), 2, state),
      ...rowsOfAll(entries.slice(2), 2, copyOf(state)),
    ]),
    'day, message, more, new, message, more',
  );
});

test('joins and leaves are folded', () => {
  assert.equal(
    brief(rowsOfAll([came('a'), came('b'), message(1, 'a', 'x'), came('c')])),
    'fold, fold-more, day, message, fold',
  );
  const events = [
    came('a'),
    came('b'),
    { event: 'leave', nick: 'a' },
    { event: 'nick', nick: 'b', to: 'c' },
    { event: 'join', count: 10 },
  ];
  assert.equal(foldedText(events), '12 came, 1 left, 1 changed name');
  assert.deepEqual(events.slice(2).map(presenceText), ['a left', 'b is c now', '10 people came']);
});

test('lines between fences are one block of code', () => {
  const lines = ['```js', 'let a;', '  a = 1;', '```', 'so'];
  const rows = rowsOfAll(lines.map((text, index) => message(index + 1, 'bea', text)));
  assert.equal(brief(rows), 'day, message code, more joins, more joins, more joins, more');
  assert.deepEqual(
    rows.slice(1).map((each) => each.code),
    ['', 'let a;', '  a = 1;', '', null],
  );
});

test('code may stand on the lines of the fences', () => {
  const rows = rowsOfAll(
    ['```ls -l', 'pwd```', 'x'].map((text, index) => message(index + 1, 'bea', text)),
  );
  assert.deepEqual(
    rows.slice(1).map((each) => each.code),
    ['ls -l', 'pwd', null],
  );
});

test("another's message does not end a block, and time does", () => {
  const rows = rowsOfAll([
    message(1, 'bea', '```'),
    message(2, 'ann', 'hm'),
    message(3, 'bea', 'x'),
    message(4, 'bea', 'y', 2),
  ]);
  assert.equal(brief(rows), 'day, message code, message, message code, more');
  assert.deepEqual(
    rows.slice(1).map((each) => each.code),
    ['', null, 'x', null],
  );
});

test('a block within one message opens none', () => {
  const rows = rowsOfAll([message(1, 'bea', '```x```'), message(2, 'bea', 'y')]);
  assert.equal(brief(rows), 'day, message, more');
});

/** Return the code of the entries from a place on, as far as those that are known tell. */
function codeFrom(index, entries) {
  const state = { ...startOfRows(), fences: fencesAt(entries, index) };
  return timeline
    .rowsOfAll(state, entries.slice(index))
    .filter((each) => each.row === 'message')
    .map((each) => each.code);
}

const bea = (...texts) => texts.map((text, index) => message(index + 5, 'bea', text));

test('a block that began before what is shown is code, and what follows is not', () => {
  const block = ['```', 'a', '', 'b', '```', 'so'];
  assert.deepEqual(codeFrom(2, bea(...block)), ['', 'b', '', null]);
  assert.deepEqual(codeFrom(0, bea(...block.slice(1))), ['a', '', 'b', '', null]);
  assert.deepEqual(codeFrom(0, bea('a', '```', 'b', '```', 'c', '```')), [
    ...['a', '', null, '', 'c', ''],
  ]);
});

test('before what is shown, fences tell where a line stands', () => {
  for (const texts of [
    ['see', '```js', 'a', '```', 'so'],
    ['see', '```', 'a', '```', 'so', '```js'],
    ['see `x`', '```', 'a', '```', 'so', '```x```', '```'],
    ['see', '```', 'a', '```', 'so', 'b ```x```', '```'],
  ])
    assert.deepEqual(codeFrom(0, bea(...texts)).slice(0, 5), [null, '', 'a', '', null], texts);
  assert.deepEqual(codeFrom(0, bea('a', 'b```', 'so', '```', 'c')), ['a', 'b', null, '', 'c']);
  assert.deepEqual(codeFrom(0, bea('so', 'no more', 'see `x`')), [null, null, null]);
});

test('where a conversation begins, no block is open', () => {
  const entries = [message(1, 'bea', 'see'), message(2, 'bea', '```'), message(3, 'bea', 'a')];
  assert.deepEqual(codeFrom(0, entries), [null, '', 'a']);
});

test("before what is shown, others' blocks and old ones are not open", () => {
  const entries = [
    message(5, 'ann', 'x'),
    message(6, 'bea', 'a'),
    message(7, 'ann', 'y'),
    message(8, 'bea', '```'),
    message(9, 'ann', 'z', 1),
    message(10, 'ann', '```', 1),
    message(11, 'eve', '```', 1),
    message(12, 'eve', 'b', 1),
  ];
  assert.deepEqual(codeFrom(0, entries), [null, 'a', null, '', null, '', '', 'b']);
});

test('after a gap, it is as if nothing came before', () => {
  const entries = [...bea('```js', 'a'), { kind: 'lost' }, ...bea('b', '```', 'so')];
  assert.deepEqual(codeFrom(0, entries), ['', 'a', 'b', '', null]);
  assert.deepEqual(codeFrom(4, entries), ['', null]);
});

test('states are the same if the same rows follow', () => {
  const after = (entries) => {
    const state = startOfRows();
    timeline.rowsOfAll(state, entries);
    return state;
  };
  const end = message(9, 'ann', 'x', 5);
  assert.ok(timeline.isSame(after([message(5, 'bea', '```'), end]), after([end])));
  assert.ok(!timeline.isSame(after([end, ...bea('```')]), after([end, ...bea('x')])));
});

test('earlier messages come before, once', () => {
  const room = Object.assign(new Room('lobby'), { epoch: 'e', offset: 10 });
  room.append(message(9, 'a', 'x'));
  room.append(message(10, 'a', 'x'));
  assert.deepEqual(
    room.prepend(
      [7, 8, 9, 10].map((each) => message(each, 'a', 'x')),
      true,
    ),
    2,
  );
  assert.deepEqual(
    [room.entries.map((each) => each.offset), room.first, room.more],
    [[7, 8, 9, 10], 7, true],
  );
  room.prepend(
    [message(5, 'eve', 'x'), message(6, 'a', 'x')],
    false,
    (each) => each.from !== 'eve',
  );
  assert.deepEqual(
    [room.entries.map((each) => each.offset), room.first, room.more],
    [[6, 7, 8, 9, 10], 5, false],
  );
});

function roomWithAGap(epoch) {
  const room = Object.assign(new Room('lobby'), { epoch: 'e', offset: 3, more: true });
  for (const offset of [2, 3]) room.append(message(offset, 'a', 'x'));
  room.restart(epoch, 9);
  assert.deepEqual(room.entries, []);
  return room;
}

const shape = (room) => room.entries.map((each) => each.offset ?? each.kind);

test('a gap that fetching closes is none', () => {
  const room = roomWithAGap('e');
  assert.equal(
    room.prepend(
      [6, 7, 8, 9].map((each) => message(each, 'a', 'x')),
      true,
    ),
    4,
  );
  assert.deepEqual(shape(room), [6, 7, 8, 9]);
  assert.equal(
    room.prepend(
      [3, 4, 5].map((each) => message(each, 'a', 'x')),
      true,
    ),
    4,
  );
  assert.deepEqual([shape(room), room.first, room.more], [[2, 3, 4, 5, 6, 7, 8, 9], 2, true]);
});

test('a gap that nothing closes is shown', () => {
  for (const epoch of ['e', 'other']) {
    const room = roomWithAGap(epoch);
    room.prepend([message(8, 'a', 'x'), message(9, 'a', 'x')], false);
    assert.deepEqual([shape(room), room.first, room.more], [[2, 3, 'lost', 8, 9], 8, false]);
  }
});

test('a gap before nothing at all is shown', () => {
  const room = Object.assign(new Room('lobby'), { epoch: 'e', offset: 3 });
  room.append(message(3, 'a', 'x'));
  room.restart('other', 0);
  room.prepend([], false);
  assert.deepEqual(shape(room), [3, 'lost']);
});

test('after a reload, a gap is shown although nothing stands before it', () => {
  const again = () => Object.assign(new Room('lobby'), { epoch: 'e', offset: 3 });
  let room = again();
  room.restart('other', 1);
  room.prepend([message(1, 'a', 'x')], false);
  assert.deepEqual(shape(room), ['lost', 1]);
  room = again();
  room.restart('e', 9);
  room.prepend([message(8, 'a', 'x'), message(9, 'a', 'x')], true);
  room.prepend(
    [2, 3, 4, 5, 6, 7].map((each) => message(each, 'a', 'x')),
    true,
  );
  assert.deepEqual([shape(room), room.first, room.more], [[2, 3, 4, 5, 6, 7, 8, 9], 2, true]);
});

test('unread messages are counted from what was read', () => {
  const room = Object.assign(new Room('lobby'), {
    epoch: 'e',
    offset: 7,
    read: { epoch: 'e', offset: 4 },
  });
  assert.equal(room.unread, 3);
  room.drawLine();
  assert.deepEqual([room.line, room.markRead(), room.markRead(), room.unread], [4, true, false, 0]);
  Object.assign(room, { epoch: 'other', offset: 2 });
  assert.equal(room.unread, 2);
  assert.equal(new Room('x').unread, 0);
});

test('the oldest entries are forgotten, and can be fetched', () => {
  const room = Object.assign(new Room('lobby'), { epoch: 'e' });
  for (let offset = 1; offset <= MOST_ENTRIES; offset += 1) room.append(message(offset, 'a', 'x'));
  assert.equal(room.trim(), 0);
  room.append(message(MOST_ENTRIES + 1, 'a', 'x'));
  assert.equal(room.trim(), MOST_ENTRIES * 0.1 + 1);
  assert.deepEqual(
    [room.entries.length, room.entries[0].offset === room.first, room.more],
    [MOST_ENTRIES * 0.9, true, true],
  );
});

test('a line in another epoch is none', () => {
  const room = Object.assign(new Room('lobby'), { epoch: 'e', offset: 7, line: 4 });
  room.restart('e', 9);
  assert.equal(room.line, 4);
  room.restart('other', 5);
  assert.equal(room.line, null);
});

test('a conversation survives as JSON', () => {
  const room = Object.assign(new Room('lobby'), {
    epoch: 'e',
    offset: 7,
    read: { epoch: 'e', offset: 4 },
    line: 4,
    draft: 'hm',
    mentions: 1,
  });
  assert.deepEqual(Room.from(JSON.parse(JSON.stringify(room))).toJSON(), room.toJSON());
  const talk = new Talk('Bea');
  for (let number = 0; number < 150; number += 1)
    talk.append(talk.numbered({ kind: 'message', from: 'Bea', text: String(number), time: NOON }));
  const again = Talk.from(JSON.parse(JSON.stringify(talk)));
  assert.deepEqual(
    [again.key, again.entries.length, again.offset, again.first, again.unread],
    ['@bea', 100, 150, 51, 150],
  );
});

test('members are counted once, and those of a large room who are not listed, too', () => {
  const room = new Room('lobby');
  Object.assign(room, { members: new Set(['ann', 'bea']), count: 2 });
  room.moved('join', 'bea'); // announced a little after she was listed
  room.moved('leave', 'eve');
  assert.equal(room.count, 2);
  room.moved('leave', 'bea');
  assert.equal(room.count, 1);
  room.count = 1200;
  room.moved('leave', 'eve');
  room.moved('join', 'ann');
  assert.equal(room.count, 1199);
});
