// The connection: its states, backoff, close codes and pings; announcing; and what is saved.

import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';

import { Connection, delayOf } from './page/connection.js';
import { Announcer } from './page/notifications.js';
import { Saved } from './page/saved.js';
import { Chat } from './page/chat.js';

let sockets, timers, now, states, received, connection, isSeen;

class Socket {
  constructor() {
    Object.assign(this, { readyState: 0, sent: [], closedWith: null });
    sockets.push(this);
  }

  send(text) {
    this.sent.push(JSON.parse(text));
  }

  close(code) {
    this.closedWith = code;
    this.readyState = 2;
  }

  opens() {
    this.readyState = 1;
    this.onopen();
  }

  says(message) {
    this.onmessage({ data: JSON.stringify(message) });
  }

  ends(code, reason = '') {
    this.readyState = 3;
    this.onclose({ code, reason });
  }
}

/** Let the time pass; run what is due. */
function pass(milliseconds) {
  now += milliseconds;
  for (;;) {
    const due = timers.find((each) => each.at <= now);
    if (!due) return;
    timers.splice(timers.indexOf(due), 1);
    due.action();
  }
}

beforeEach(() => {
  [sockets, timers, now, states, received, isSeen] = [[], [], 0, [], [], false];
  connection = new Connection(
    'ws://x/ws',
    {
      open: () => new Socket(),
      now: () => now,
      random: () => 0.5,
      later: (action, milliseconds) => {
        const timer = { action, at: now + milliseconds };
        timers.push(timer);
        return timer;
      },
      cancel: (timer) => timers.includes(timer) && timers.splice(timers.indexOf(timer), 1),
      isSeen: () => isSeen,
    },
    {
      opened: () => connection.send({ type: 'hello' }),
      received: (message) => received.push(message.type),
      changed: (state) => states.push(state),
    },
  );
});

function open() {
  connection.start();
  const socket = sockets.at(-1);
  socket.opens();
  socket.says({ type: 'welcome', heartbeat: 45 });
  return socket;
}

test('it is open once the server has welcomed it', () => {
  const socket = open();
  assert.deepEqual(
    [states, socket.sent, received],
    [['connecting', 'open'], [{ type: 'hello' }], ['welcome']],
  );
});

test('it comes back, later each time and with jitter', () => {
  assert.deepEqual(
    [1, 2, 8, 40].map((each) => delayOf(each, 0)),
    [200, 200, 200, 200],
  );
  assert.deepEqual(
    [1, 2, 8, 2000].map((each) => delayOf(each, 1)),
    [400, 800, 30_000, 30_000],
  );
  connection.start();
  for (let attempt = 1; attempt <= 4; attempt += 1) {
    sockets.at(-1).ends(1006);
    assert.equal(connection.retryAt - now, delayOf(attempt, 0.5));
    assert.equal(connection.state, 'waiting');
    pass(connection.retryAt - now);
  }
  assert.equal(sockets.length, 5);
  assert.equal(connection.lostAt, null);
  sockets.at(-1).opens();
  sockets.at(-1).says({ type: 'welcome', heartbeat: 45 });
  assert.equal(connection.attempts, 0);
});

test('a restart is waited for', () => {
  const socket = open();
  pass(7);
  socket.says({
    type: 'goodbye',
    code: 'draining',
    text: 'The server is restarting.',
    retry: true,
  });
  socket.ends(1012);
  assert.deepEqual(
    [connection.state, connection.why, connection.lostAt],
    ['waiting', 'The server is restarting.', 7],
  );
});

test('a goodbye that is final stops it; otherwise the close code decides', () => {
  const socket = open();
  socket.says({
    type: 'goodbye',
    code: 'kicked',
    text: 'An operator closed the connection.',
    retry: false,
  });
  socket.ends(1008);
  assert.deepEqual(
    [connection.state, connection.why],
    ['stopped', 'An operator closed the connection.'],
  );
  for (const [code, state] of [
    [1000, 'stopped'],
    [1001, 'waiting'],
    [1006, 'waiting'],
    [1008, 'stopped'],
    [1009, 'stopped'],
    [1011, 'waiting'],
    [1012, 'waiting'],
    [1013, 'waiting'],
    [1014, 'waiting'],
  ]) {
    connection.stop('');
    open().ends(code);
    assert.equal(connection.state, state, code);
  }
});

test('a slow reader comes back, because its goodbye says so', () => {
  const socket = open();
  socket.says({ type: 'goodbye', code: 'slow', text: 'You read too slowly.', retry: true });
  socket.ends(1008);
  assert.equal(connection.state, 'waiting');
});

test('a refusal has no goodbye; its close frame has the code of the reason', () => {
  connection.start();
  sockets[0].ends(1013, 'full');
  assert.deepEqual([connection.state, connection.why], ['waiting', 'The server is full.']);
  open().ends(1008, 'slow');
  assert.equal(connection.state, 'waiting');
  open().ends(1008, 'denied');
  assert.deepEqual(
    [connection.state, connection.why],
    ['stopped', 'Your address may not connect here.'],
  );
});

test('pings are answered, and silence is asked about', () => {
  const socket = open();
  socket.says({ type: 'ping' });
  assert.deepEqual(socket.sent.at(-1), { type: 'pong' });
  pass(44_000);
  socket.says({ type: 'message' });
  pass(44_999);
  assert.equal(socket.sent.length, 2);
  pass(1);
  assert.deepEqual(socket.sent.at(-1), { type: 'ping' });
  socket.says({ type: 'pong' });
  pass(45_000);
  pass(10_000);
  assert.deepEqual(
    [connection.state, connection.why, socket.closedWith],
    ['waiting', 'The server does not answer.', 1000],
  );
  assert.equal(socket.onclose, null);
});

const pings = (socket) => socket.sent.filter((each) => each.type === 'ping').length;

test('who looks at the page sees soon that nobody answers', () => {
  isSeen = true;
  const socket = open();
  pass(20_000);
  assert.deepEqual([pings(socket), connection.state], [1, 'open']);
  pass(3000);
  assert.equal(connection.state, 'probing');
  socket.says({ type: 'pong' });
  assert.equal(connection.state, 'open');
  pass(20_000);
  pass(3000);
  pass(7000);
  assert.deepEqual(
    [states.slice(1), connection.why, connection.lostAt],
    [['open', 'probing', 'open', 'probing', 'waiting'], 'The server does not answer.', 53_000],
  );
});

test('a request without an answer is asked about, however many follow', () => {
  const socket = open();
  for (let second = 0; second < 5; second += 1) {
    connection.send({ type: 'message' });
    pass(1000);
  }
  assert.equal(pings(socket), 1);
  connection.send({ type: 'message' });
  connection.hurry();
  pass(10_000);
  assert.deepEqual([pings(socket), connection.state], [1, 'waiting']);
});

test('an answer to a request is enough', () => {
  const socket = open();
  connection.send({ type: 'message' });
  pass(4000);
  socket.says({ type: 'ack' });
  pass(44_000);
  assert.equal(pings(socket), 0);
});

test('without a network it is doubtful at once, and a server on this machine answers', () => {
  const socket = open();
  connection.suspect();
  assert.deepEqual([pings(socket), connection.state], [1, 'probing']);
  connection.suspect();
  socket.says({ type: 'pong' });
  assert.deepEqual([pings(socket), connection.state], [1, 'open']);
  connection.suspect();
  pass(7000);
  assert.equal(connection.state, 'waiting');
  connection.suspect();
  assert.equal(connection.state, 'waiting');
});

test('a page that slept, or whose timers are late, asks once more before it gives up', () => {
  const socket = open();
  pass(60_000); // a hidden tab, where timers end once a minute
  assert.deepEqual([pings(socket), connection.state], [1, 'open']);
  pass(60_000);
  assert.deepEqual([pings(socket), connection.state], [2, 'open']);
  socket.says({ type: 'pong' });
  pass(60_000);
  pass(60_000);
  assert.deepEqual([pings(socket), connection.state], [4, 'open']);
  pass(60_000);
  assert.equal(connection.state, 'waiting');
});

test('a connection that is closed while it is doubtful was lost', () => {
  const socket = open();
  connection.suspect();
  socket.ends(1006);
  assert.deepEqual([connection.state, connection.why], ['waiting', 'The connection was lost.']);
  open();
  connection.suspect();
  connection.stop('Bye.');
  assert.deepEqual([connection.state, connection.why], ['stopped', 'Bye.']);
});

test('an attempt that nobody answers is given up', () => {
  connection.start();
  pass(10_000);
  assert.equal(connection.state, 'waiting');
});

test('it can be hurried, and has one socket at a time', () => {
  connection.start();
  connection.start();
  connection.hurry();
  assert.equal(sockets.length, 1);
  sockets[0].ends(1006);
  connection.hurry();
  assert.equal(sockets.length, 2);
  pass(60_000 - now);
  const socket = open();
  connection.hurry();
  assert.deepEqual(socket.sent.at(-1), { type: 'ping' });
});

test('nothing is sent to no connection, and nonsense stops it', () => {
  connection.send({ type: 'message' });
  const socket = open();
  socket.onmessage({ data: '{' });
  assert.equal(connection.state, 'stopped');
  connection.start();
  assert.equal(connection.state, 'connecting');
});

test('one line a second is read out, and many are counted', () => {
  const element = { textContent: '' };
  const waiting = [];
  const announcer = new Announcer(element, (action) => waiting.push(action));
  announcer.say('a');
  assert.equal(element.textContent, 'a');
  announcer.say('b');
  assert.equal(element.textContent, 'a');
  waiting.shift()();
  assert.equal(element.textContent, 'b');
  for (let number = 0; number < 7; number += 1) announcer.say('x');
  waiting.shift()();
  assert.equal(element.textContent, '7 new messages');
  waiting.shift()();
  announcer.say('c');
  assert.equal(element.textContent, 'c');
});

class Storage {
  constructor() {
    this.map = new Map();
  }

  getItem(key) {
    return this.map.get(key) ?? null;
  }

  setItem(key, value) {
    this.map.set(key, value);
  }

  removeItem(key) {
    this.map.delete(key);
  }
}

function chatOf(saved) {
  const chat = new Chat({ send() {}, emit() {}, token: () => 't1', now: () => 1 }, saved);
  return chat;
}

function savedChat() {
  const chat = chatOf({});
  chat.receive({ type: 'welcome', nick: 'ann', session: 's1', limits: {} });
  chat.receive({
    type: 'joined',
    room: 'lobby',
    epoch: 'e',
    offset: 4,
    members: [],
    count: 0,
    topic: '',
    recovered: null,
  });
  chat.say('#lobby', 'unsent');
  return chat;
}

test('a reload has everything; a new tab has the name and the rooms', () => {
  const [tab, browser] = [new Storage(), new Storage()];
  const saved = new Saved(tab, browser);
  assert.deepEqual(saved.load(), { wishes: '', ignored: [], notify: false, names: [] });
  saved.mark(true);
  const chat = savedChat();
  chat.entrance.rename('bea', false);
  chat.ignore('eve');
  saved.save(chat, { notify: true });
  saved.mark(false);
  const found = saved.load();
  assert.deepEqual(
    [
      found.session,
      found.wishes,
      found.unsent[0].state,
      found.rooms[0].offset,
      found.ignored,
      found.notify,
    ],
    ['s1', 'bea', 'pending', 4, ['eve'], true],
  );
  assert.equal(chatOf(found).outbox.messages.length, 1);
  assert.deepEqual(new Saved(new Storage(), browser).load(), {
    wishes: 'bea',
    ignored: ['eve'],
    notify: true,
    names: ['lobby'],
  });
});

test('a duplicated tab begins a session of its own, and sends nothing twice', () => {
  const [tab, browser] = [new Storage(), new Storage()];
  const saved = new Saved(tab, browser);
  saved.mark(true);
  saved.save(savedChat(), {});
  const found = saved.load(); // the other is still open
  assert.deepEqual([found.session, found.nick, found.unsent[0].state], ['', '', 'failed']);
  assert.ok(found.unsent[0].why);
});

test('where too much is said in private, the rest is saved all the same', () => {
  const tab = new Storage();
  const chat = savedChat();
  const talk = chat.talkWith('bea');
  talk.append(talk.numbered({ kind: 'message', from: 'bea', text: 'x'.repeat(10_000), time: 1 }));
  tab.setItem = (key, value) => {
    if (value.length > 5000) throw new Error('full');
    tab.map.set(key, value);
  };
  new Saved(tab, null).save(chat, {});
  const { rooms, talks, unsent } = new Saved(tab, null).load();
  assert.deepEqual(
    [rooms[0].offset, unsent.length, talks[0].nick, talks[0].entries],
    [4, 1, 'bea', []],
  );
});

test('storage that fails, or holds nonsense, is as if it were empty', () => {
  const broken = {
    getItem() {
      throw new Error('no');
    },
    setItem() {
      throw new Error('full');
    },
    removeItem() {
      throw new Error('no');
    },
  };
  for (const storage of [broken, null]) {
    const saved = new Saved(storage, storage);
    saved.mark(true);
    saved.save(savedChat(), {});
    assert.equal(saved.load().wishes, '');
  }
  const nonsense = new Storage();
  for (const text of ['{', '7', 'null', '{"version":0,"rooms":[]}']) {
    nonsense.setItem('netchat.tab', text);
    nonsense.setItem('netchat.browser', text);
    assert.deepEqual(new Saved(nonsense, nonsense).load().names, []);
  }
});
