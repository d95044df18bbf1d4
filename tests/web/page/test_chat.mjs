// The chat: coming in, rooms, messages that are sent once, and what a reconnection brings.

import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';

import { Chat } from './page/chat.js';

let chat, sent, events, tokens;

function begin(saved) {
  [sent, events, tokens] = [[], [], 0];
  chat = new Chat(
    {
      send: (message) => sent.push(message),
      emit: (event) => events.push(event),
      token: () => `t${(tokens += 1)}`,
      now: () => 1000,
    },
    saved,
  );
  return chat;
}

/** Return what was sent since the last time, of a type. */
function taken(type) {
  const found = sent.filter((each) => each.type === type);
  sent.length = 0;
  return found;
}

const told = (on) => events.filter((each) => each.on === on);
const limits = {
  message: 200,
  nick: 24,
  topic: 300,
  id: 64,
  rooms: 50,
  history: 100,
  recover: 1000,
};
const welcome = (nick = 'ann') => ({
  type: 'welcome',
  nick,
  session: 's1',
  server: 'x',
  heartbeat: 45,
  limits,
});
const joined = (offset, more = {}) => ({
  type: 'joined',
  room: 'lobby',
  epoch: 'e',
  offset,
  members: ['ann', 'bea'],
  count: 2,
  topic: '',
  recovered: null,
  ...more,
});
const said = (offset, text = 'x', more = {}) => ({
  type: 'message',
  room: 'lobby',
  offset,
  from: 'bea',
  text,
  time: '2026-11-26T06:33:00.000Z',
  ...more,
});
const page = (...offsets) => ({
  type: 'history',
  room: 'lobby',
  epoch: 'e',
  messages: offsets.map((each) => said(each)),
  more: false,
});

function enter(offset = 0) {
  chat.join('lobby');
  chat.connected();
  chat.receive(welcome());
  chat.receive(joined(offset));
  chat.receive(page());
  sent.length = 0;
  events.length = 0;
}

/** Lose the connection, and come back as far as the welcome. */
function reconnect() {
  chat.disconnected();
  chat.connected();
}

function comeBack() {
  reconnect();
  chat.receive(welcome());
}

const lobby = () => chat.rooms.get('lobby');
const shape = () => lobby().entries.map((each) => each.text ?? each.kind);

beforeEach(() => begin());

test('it says hello, joins and fetches history', () => {
  chat.join('#lobby'.slice(1));
  chat.connected();
  assert.deepEqual(sent, [{ type: 'hello' }]);
  chat.receive(welcome('guest-1'));
  assert.deepEqual(
    taken('join').map((each) => each.room),
    ['lobby'],
  );
  chat.receive(joined(70));
  assert.deepEqual(taken('history'), [
    { type: 'history', room: 'lobby', limit: 50, id: 'history lobby' },
  ]);
  chat.receive({ ...page(69, 70), more: true });
  assert.deepEqual(
    [lobby().unread, lobby().more, chat.current, told('opened').length],
    [0, true, '#lobby', 1],
  );
  chat.fetch(lobby());
  assert.equal(taken('history')[0].before, 69);
});

test('a guest keeps the name that the server gave, in its session only', () => {
  enter();
  assert.deepEqual(chat.toJSON().wishes, '');
  comeBack();
  assert.deepEqual(taken('hello'), [{ type: 'hello', nick: 'ann', session: 's1' }]);
  begin({ wishes: 'bea' }).connected();
  assert.deepEqual(sent, [{ type: 'hello', nick: 'bea' }]);
});

test('a name that is typed between the hello and the welcome is asked for', () => {
  begin().connected();
  chat.entrance.rename('ann', chat.online);
  assert.deepEqual(taken('nick'), []);
  chat.receive(welcome('guest-1'));
  assert.deepEqual(taken('nick'), [{ type: 'nick', nick: 'ann', id: 'nick' }]);
  comeBack();
  assert.deepEqual(taken('nick'), []); // the hello has it
});

test('a name that is taken is varied', () => {
  begin({ wishes: 'ann' }).connected();
  const refuse = () => chat.receive({ type: 'error', code: 'taken', text: 'The name is taken.' });
  refuse();
  refuse();
  assert.deepEqual(
    sent.map((each) => each.nick),
    ['ann', 'ann-2', 'ann-3'],
  );
});

test('what was saved and is of no use is dropped', () => {
  begin({ wishes: 'x y', session: 'nonsense' }).connected();
  chat.receive({
    type: 'error',
    code: 'bad-field',
    text: 'session: it is what a welcome gave.',
    field: 'session',
  });
  assert.deepEqual(sent.at(-1), { type: 'hello', nick: 'x y' });
  chat.receive({ type: 'error', code: 'bad-name', text: 'A name has no space.', field: 'nick' });
  assert.deepEqual(sent.at(-1), { type: 'hello' });
});

test('a wrong name that was typed offline costs neither the session nor the name before', () => {
  enter();
  chat.disconnected();
  chat.entrance.rename('a b', chat.online);
  chat.connected();
  chat.receive({ type: 'error', code: 'bad-name', text: 'A name has no space.', field: 'nick' });
  assert.deepEqual(sent.at(-1), { type: 'hello', nick: 'ann', session: 's1' });
  assert.deepEqual(told('notice').at(-1).text, 'A name has no space.');
});

test('who is banned does not come in under another name', () => {
  enter();
  chat.disconnected();
  chat.connected();
  sent.length = 0;
  const text = 'You are banned for 5 minutes more.';
  chat.receive({ type: 'error', code: 'banned', text });
  assert.deepEqual([sent, told('banned')], [[], [{ on: 'banned', text }]]);
  assert.equal(chat.entrance.session, 's1');
});

test('who is logged in stays so if a second login is refused', () => {
  chat.connected();
  chat.entrance.login('ann', 'right');
  chat.receive(welcome());
  chat.entrance.login('bea', 'other');
  chat.receive({ type: 'error', code: 'again', text: 'You are logged in already.', id: 'login' });
  assert.equal(told('login').length, 0);
  sent.length = 0;
  reconnect();
  chat.receive({ type: 'error', code: 'missing', text: 'x', id: 'accounts' });
  assert.equal(taken('hello')[1].user, 'ann');
});

test('whether one can log in is asked of the server', () => {
  for (const [code, accounts] of [
    ['missing', 'yes'],
    ['not-secret', 'tls'],
    ['no-accounts', 'no'],
  ]) {
    begin();
    chat.connected();
    chat.receive(welcome());
    assert.equal(taken('login')[0].id, 'accounts');
    chat.receive({ type: 'error', code, text: 'x', id: 'accounts' });
    assert.equal(chat.entrance.accounts, accounts);
  }
  assert.equal(told('login').length, 0);
});

const wantLogin = (code) => {
  chat.connected();
  chat.receive({ type: 'error', code: 'login-first', text: 'A user and a password are needed.' });
  assert.deepEqual(sent.at(-1), { type: 'hello', user: '?', id: 'accounts' });
  assert.equal(told('login').length, 0);
  chat.receive({ type: 'error', code, text: 'x', field: 'user', id: 'accounts' });
};

test('a server that wants a login over TLS only gets no password', () => {
  begin({ wishes: 'bea' });
  wantLogin('not-secret');
  assert.deepEqual(told('login'), [{ on: 'login', text: '' }]);
  assert.match(chat.entrance.whyNot, /TLS only/u);
  assert.ok(chat.entrance.isOutside);
  chat.receive({ type: 'error', code: 'login-late', text: 'You have to say hello.' });
  assert.equal(chat.entrance.wishes, 'bea');
  assert.ok(!JSON.stringify(sent).includes('password'));
});

test('whoever is banned is not asked to log in again', () => {
  wantLogin('missing');
  chat.entrance.login('ann', 'secret');
  chat.receive({ type: 'error', code: 'banned', text: 'You are banned.' });
  assert.equal(told('banned').length, 1);
  assert.ok(!chat.entrance.isOutside);
});

test('no password goes over a connection that is not secret any more', () => {
  wantLogin('missing');
  chat.entrance.login('ann', 'secret');
  chat.receive(welcome());
  sent.length = 0;
  reconnect();
  chat.receive({ type: 'error', code: 'not-secret', text: 'x', id: 'accounts' });
  assert.ok(!JSON.stringify(sent).includes('secret'));
  assert.match(chat.entrance.whyNot, /TLS only/u);
});

test('a server that wants a login gets one, and again after a lost connection', () => {
  wantLogin('missing');
  assert.deepEqual(told('login'), [{ on: 'login', text: '' }]);
  assert.equal(chat.entrance.whyNot, '');
  chat.entrance.login('ann', 'secret');
  assert.deepEqual(sent.at(-1), { type: 'hello', user: 'ann', password: 'secret' });
  chat.receive({
    type: 'error',
    code: 'login-failed',
    text: 'The login failed.',
    field: 'password',
  });
  assert.equal(told('login').length, 2);
  chat.entrance.login('ann', 'right');
  chat.receive(welcome());
  assert.equal(chat.entrance.account, 'ann');
  sent.length = 0;
  reconnect();
  chat.receive({ type: 'error', code: 'missing', text: 'x', id: 'accounts' });
  assert.equal(taken('hello')[1].password, 'right');
  assert.ok(!JSON.stringify(chat).includes('right'));
});

test('a guest logs in later', () => {
  enter();
  chat.entrance.login('ann', 'secret');
  chat.receive({ type: 'nick', nick: 'ann' });
  assert.equal(chat.entrance.account, 'ann');
});

test('a message is pending, then acked', () => {
  enter();
  chat.say('#lobby', 'hi');
  assert.deepEqual(sent, [{ type: 'message', room: 'lobby', text: 'hi', id: 't1' }]);
  assert.deepEqual([chat.outbox.messages[0].state, shape()], ['pending', []]);
  chat.receive({ type: 'ack', id: 't1', room: 'lobby', offset: 1 });
  assert.deepEqual([chat.outbox.messages, shape(), lobby().unread], [[], ['hi'], 0]);
});

test('of thousands of messages, each ack is found at once, and the order stays', () => {
  enter();
  const count = 40_000;
  for (let number = 1; number <= count; number += 1) chat.say('#lobby', String(number));
  assert.deepEqual(
    sent.map((each) => each.text),
    Array.from({ length: count }, (_, index) => String(index + 1)),
  );
  const begin = performance.now();
  for (let number = count; number > 2; number -= 1)
    chat.receive({ type: 'ack', id: `t${number}`, room: 'lobby', offset: 0 });
  assert.ok(performance.now() - begin < 1000);
  assert.deepEqual(
    chat.outbox.messages.map((each) => each.text),
    ['1', '2'],
  );
});

test('a refused message has failed, and can be taken back', () => {
  enter();
  chat.say('#lobby', 'hi');
  const [own] = chat.outbox.messages;
  assert.equal(chat.takeBack(own), null); // it may be stored
  chat.receive({ type: 'error', code: 'muted', text: 'You may not speak.', id: 't1' });
  assert.deepEqual([own.state, own.why], ['failed', 'You may not speak']);
  assert.equal(chat.takeBack(own).text, 'hi');
  assert.deepEqual(chat.outbox.messages, []);
});

test('what is too long is not sent', () => {
  enter();
  chat.say('#lobby', 'ä'.repeat(100));
  assert.deepEqual([sent, chat.outbox.messages[0].why], [[], 'longer than 200 bytes']);
});

test('what became too long for the server, while it was away, is not sent', () => {
  enter();
  chat.disconnected();
  chat.say('#lobby', 'a'.repeat(100));
  chat.connected();
  chat.receive({ ...welcome(), limits: { ...limits, message: 99 } });
  sent.length = 0;
  chat.receive(joined(0, { recovered: true }));
  const [own] = chat.outbox.messages;
  assert.deepEqual([own.state, taken('message')], ['failed', []]);
  assert.equal(chat.takeBack(own).text.length, 100);
});

test('what was written offline is sent later, once, with its id', () => {
  enter();
  chat.disconnected();
  chat.say('#lobby', 'one');
  assert.equal(chat.outbox.lastTo('#lobby').text, 'one'); // it may still be edited
  assert.deepEqual(sent, []);
  chat.connected();
  chat.receive(welcome());
  assert.deepEqual(taken('message'), []);
  chat.receive(joined(0, { recovered: true }));
  assert.deepEqual(
    taken('message').map((each) => each.id),
    ['t1'],
  );
  assert.equal(chat.outbox.lastTo('#lobby'), null);
});

test('what was not acked is sent again with the same id', () => {
  enter();
  chat.say('#lobby', 'one');
  comeBack();
  chat.receive(joined(1, { recovered: true }));
  assert.deepEqual(
    sent.filter((each) => each.type === 'message').map((each) => each.id),
    ['t1', 't1'],
  );
  chat.receive(said(1, 'one', { from: 'ann', id: 't1' })); // it was stored the first time
  chat.receive({ type: 'ack', id: 't1', room: 'lobby', offset: 1 });
  assert.deepEqual([shape(), chat.outbox.messages], [['one'], []]);
});

test('an ack of a message that came as history shows it once', () => {
  enter(5);
  chat.say('#lobby', 'one');
  chat.receive({ type: 'ack', id: 't1', room: 'lobby', offset: 3 });
  assert.deepEqual([shape(), chat.outbox.messages], [[], []]);
});

test('a reconnection goes on where it stopped', () => {
  enter();
  chat.receive(said(1, 'a'));
  comeBack();
  assert.deepEqual(taken('join'), [
    { type: 'join', room: 'lobby', since: { epoch: 'e', offset: 1 }, id: 'join 2' },
  ]);
  chat.receive(joined(3, { recovered: true }));
  for (const [offset, text] of [
    [2, 'b'],
    [3, 'c'],
    [3, 'c'],
  ])
    chat.receive(said(offset, text));
  assert.deepEqual(
    [shape(), told('back')],
    [['a', 'b', 'c'], [{ on: 'back', fetched: 2, skipped: [], lost: [] }]],
  );
});

test('the first connection brings no banner, and neither does a room that is joined later', () => {
  enter();
  assert.deepEqual(told('back'), []);
  comeBack();
  chat.receive(joined(0, { recovered: true }));
  chat.receive(joined(4, { room: 'ops' }));
  assert.equal(told('back').length, 1);
});

test('what is lost is said', () => {
  enter();
  chat.receive(said(1, 'a'));
  comeBack();
  chat.receive(joined(0, { epoch: 'other', recovered: false }));
  chat.receive({ ...page(), epoch: 'other' });
  assert.deepEqual(
    [shape(), told('back')],
    [['a', 'lost'], [{ on: 'back', fetched: 0, skipped: [], lost: ['lobby'] }]],
  );
});

test('where nothing was said, nothing is lost', () => {
  enter();
  chat.disconnected();
  chat.connected();
  chat.receive(welcome());
  chat.receive(joined(0, { epoch: 'f', recovered: false }));
  chat.receive({ ...page(), epoch: 'f' });
  assert.deepEqual(told('back')[0].lost, []);
  assert.deepEqual(
    lobby().entries.filter((each) => each.kind === 'lost'),
    [],
  );
});

test('what is said in a new epoch is not of the past', () => {
  enter();
  chat.disconnected();
  chat.connected();
  chat.receive(welcome());
  chat.receive(joined(9, { recovered: true }));
  assert.equal(lobby().caughtUp, 9);
  chat.disconnected();
  chat.connected();
  chat.receive(welcome());
  chat.receive(joined(0, { epoch: 'f', recovered: false }));
  assert.equal(lobby().caughtUp, -1);
});

test('too much to follow at once is not lost', () => {
  enter();
  chat.receive(said(1, 'a'));
  comeBack();
  chat.receive(joined(2000, { recovered: false }));
  chat.receive({ ...page(2000), more: true });
  assert.deepEqual([shape(), told('back')[0].skipped], [['x'], ['lobby']]);
});

test('a connection that breaks again on its return counts from the first', () => {
  enter();
  chat.receive(joined(0, { room: 'ops' }));
  comeBack();
  chat.receive(joined(2, { recovered: true }));
  chat.receive(said(1));
  comeBack();
  chat.receive(joined(3, { recovered: true }));
  chat.receive(joined(0, { room: 'ops', recovered: true }));
  assert.equal(told('back')[0].fetched, 3);
});

test('a room that is left is not waited for', () => {
  enter();
  chat.receive(joined(0, { room: 'ops' }));
  comeBack();
  chat.receive(joined(0, { recovered: true }));
  assert.equal(told('back').length, 0);
  chat.leave('#ops');
  assert.equal(told('back').length, 1);
});

test('history of another epoch comes too late', () => {
  enter(5);
  chat.receive({ ...page(1, 2), epoch: 'old' });
  assert.deepEqual(shape(), []);
  chat.fetch(lobby());
  assert.equal(taken('history').length, 1); // and it is asked for again
});

test('a gap is asked for', () => {
  enter();
  chat.receive(said(1));
  chat.receive(said(3));
  assert.deepEqual(taken('join')[0].since, { epoch: 'e', offset: 1 });
  chat.receive(said(4)); // until it has joined again, nothing counts
  chat.receive(joined(4, { recovered: true }));
  for (const offset of [2, 3, 4]) chat.receive(said(offset, String(offset)));
  assert.deepEqual(shape(), ['x', '2', '3', '4']);
});

test('a room that is not let in any more is dropped', () => {
  begin({
    current: '#ops',
    rooms: [
      {
        name: 'ops',
        epoch: 'e',
        offset: 3,
        read: { epoch: 'e', offset: 3 },
        line: null,
        mentions: 0,
        draft: '',
      },
    ],
  });
  chat.connected();
  chat.receive(welcome());
  chat.receive({
    type: 'error',
    code: 'too-many-rooms',
    text: 'There are too many rooms already.',
    id: taken('join')[0].id,
  });
  assert.equal(chat.rooms.size, 0);
  assert.deepEqual(taken('join').map((each) => each.room), ['lobby']); // something is shown
});

test('whatever room there is is shown, if the one that was wanted cannot be joined', () => {
  chat.asked.add('den');
  chat.join('no such\u202e room');
  chat.connected();
  chat.receive(welcome());
  const [den, bad] = taken('join');
  chat.receive(joined(0, { room: 'den' }));
  assert.equal(chat.here, undefined);
  chat.receive({ type: 'error', code: 'bad-name', text: 'The room has a space.', id: bad.id });
  assert.deepEqual([den.room, chat.current, chat.asked.size], ['den', '#den', 0]);
  sent.length = 0;
  comeBack();
  assert.deepEqual(taken('join').map((each) => each.room), ['den']);
});

test('the lobby is shown if the room of the address cannot be joined', () => {
  begin();
  chat.join('lobby');
  chat.join('no room');
  chat.connected();
  chat.receive(welcome());
  chat.receive(joined(0));
  const { id } = sent.find((each) => each.room === 'no room');
  chat.receive({ type: 'error', code: 'bad-name', text: 'A room has no space.', id });
  assert.equal(told('opened').at(-1).conversation.key, '#lobby');
});

test('a reload goes on from the last offset, and fetches what stood before', () => {
  enter();
  chat.receive(said(1));
  chat.say('#lobby', 'unsent');
  const saved = JSON.parse(JSON.stringify(chat));
  begin(saved).connected();
  chat.receive(welcome());
  assert.deepEqual(sent[0], { type: 'hello', nick: 'ann', session: 's1' });
  assert.deepEqual(taken('join')[0].since, { epoch: 'e', offset: 1 });
  chat.receive(joined(2, { recovered: true }));
  assert.deepEqual(
    sent.filter((each) => each.type === 'history').map((each) => each.before),
    [2],
  );
  assert.deepEqual(
    taken('message').map((each) => each.id),
    ['t1'],
  );
});

test('the line and the unread count survive a reload', () => {
  enter();
  chat.receive(said(1, 'a'));
  chat.receive(said(2, 'hi ann'));
  assert.deepEqual([lobby().line, lobby().unread, lobby().mentions], [0, 2, 1]);
  begin(JSON.parse(JSON.stringify(chat)));
  assert.deepEqual([lobby().line, lobby().unread, lobby().mentions], [0, 2, 1]);
});

test('the line stays while a conversation is in sight, and goes when one comes back', () => {
  enter();
  chat.receive(joined(0, { room: 'ops' }));
  chat.receive(said(1));
  lobby().markRead();
  chat.open('#lobby');
  assert.equal(lobby().line, 0);
  chat.open('#ops');
  chat.open('#lobby');
  assert.equal(lobby().line, null);
});

test('what the reader sees is read, and the line stays', () => {
  enter();
  chat.receive(said(1));
  chat.attentive = true;
  lobby().markRead();
  chat.receive(said(2));
  assert.deepEqual([lobby().unread, lobby().line], [0, 0]);
  chat.attentive = false;
  chat.receive(said(3));
  assert.deepEqual([lobby().unread, lobby().line], [1, 2]);
});

test('what was not sent to a room goes with it', () => {
  enter();
  chat.disconnected();
  chat.say('#lobby', 'never mind');
  chat.leave('#lobby');
  assert.deepEqual(chat.outbox.messages, []);
});

test('a refused name is not asked for again', () => {
  enter();
  chat.entrance.rename('root', true);
  assert.deepEqual(taken('nick'), [{ type: 'nick', nick: 'root', id: 'nick' }]);
  chat.receive({ type: 'error', code: 'taken', text: 'The name root is taken.', id: 'nick' });
  assert.deepEqual(
    [chat.entrance.wishes, told('notice')[0].text],
    ['ann', 'The name root is taken.'],
  );
});

test('a wrong password is not tried again', () => {
  enter();
  chat.entrance.login('ann', 'wrong');
  chat.receive({
    type: 'error',
    code: 'login-failed',
    text: 'The login failed.',
    field: 'password',
  });
  sent.length = 0;
  comeBack();
  assert.equal(taken('hello')[0].password, undefined);
});

test('private messages have a conversation each', () => {
  enter();
  chat.receive({ type: 'private', from: 'Bea', text: 'psst', time: '2026-11-26T06:33:00.000Z' });
  const talk = chat.talks.get('@bea');
  assert.deepEqual([talk.unread, talk.mentions, told('heard')[0].mention], [1, 1, true]);
  chat.say('@bea', 'what?');
  assert.deepEqual(taken('private'), [{ type: 'private', to: 'Bea', text: 'what?', id: 't1' }]);
  chat.receive({ type: 'ack', id: 't1' });
  assert.deepEqual(
    talk.entries.map((each) => [each.offset, each.text]),
    [
      [1, 'psst'],
      [2, 'what?'],
    ],
  );
});

test('a private conversation follows a new name', () => {
  enter();
  chat.open(chat.talkWith('bea').key);
  chat.receive({ type: 'presence', room: 'lobby', event: 'nick', nick: 'bea', to: 'Zoe' });
  chat.say(chat.current, 'hi');
  assert.deepEqual(
    [chat.current, taken('private')[0].to, [...lobby().members]],
    ['@zoe', 'Zoe', ['ann', 'Zoe']],
  );
  chat.disconnected();
  chat.say(chat.current, 'later');
  chat.receive({ type: 'presence', room: 'lobby', event: 'nick', nick: 'Zoe', to: 'eva' });
  chat.connected();
  chat.receive(welcome());
  assert.deepEqual(
    taken('private').map((each) => each.to),
    ['eva', 'eva'],
  );
  chat.receive({ type: 'ack', id: 't2' });
  assert.deepEqual(
    chat.talks.get('@eva').entries.map((each) => each.text),
    ['later'],
  );
});

test('members come and go, and the reader stays', () => {
  enter();
  for (const [event, nick] of [
    ['join', 'carl'],
    ['leave', 'bea'],
    ['leave', 'ann'],
    ['leave', 'nobody'],
  ]) {
    chat.receive({ type: 'presence', room: 'lobby', event, nick });
  }
  assert.deepEqual([[...lobby().members], lobby().count], [['ann', 'carl'], 2]);
  chat.receive({ type: 'presence', room: 'lobby', event: 'join', count: 10 });
  assert.equal(taken('who').length, 1);
  chat.receive({ type: 'nick', nick: 'anna' });
  assert.deepEqual([chat.nick, [...lobby().members]], ['anna', ['carl', 'anna']]);
  chat.receive({ type: 'nick', nick: 'carl' }); // whose user has left; nobody says so to us
  assert.deepEqual([[...lobby().members], lobby().count], [['carl'], 1]);
});

test('nothing is heard of somebody who is ignored', () => {
  enter();
  chat.ignore('BEA');
  events.length = 0;
  chat.receive(said(1));
  chat.receive({ type: 'private', from: 'bea', text: 'psst', time: '2026-11-26T06:33:00.000Z' });
  assert.deepEqual([told('heard'), lobby().unread, chat.talks.size, lobby().offset], [[], 0, 0, 1]);
  chat.receive(said(2, 'hello', { from: 'carl' })); // and no gap is seen
  assert.deepEqual(taken('join'), []);
});

test('who is ignored raises nothing, whatever else is unread', () => {
  enter();
  chat.receive(said(1));
  chat.ignore('eve');
  events.length = 0;
  chat.receive(said(2, 'hi ann', { from: 'eve' }));
  chat.receive(said(3, 'hi ann', { from: 'Eve' }));
  assert.deepEqual([told('heard'), lobby().unread, lobby().mentions, lobby().line], [[], 1, 0, 0]);
  chat.receive(said(4));
  assert.equal(lobby().unread, 2);
  begin({ ...JSON.parse(JSON.stringify(chat)), ignored: ['eve'] });
  assert.equal(lobby().unread, 2);
  chat.connected();
  chat.receive(welcome());
  chat.receive(joined(5, { recovered: true }));
  chat.receive(said(5, 'x', { from: 'eve' }));
  chat.receive(page(1, 2, 3, 4, 5)); // they are not counted again
  assert.equal(lobby().unread, 2);
  lobby().markRead();
  chat.receive(said(6, 'x', { from: 'eve' }));
  chat.receive(said(7));
  assert.deepEqual([lobby().unread, lobby().line], [1, 6]);
});

test('who is ignored raises nothing in what is fetched because it was too much to follow', () => {
  enter();
  chat.ignore('eve');
  chat.receive(said(1));
  comeBack();
  chat.receive(joined(6, { recovered: false }));
  const fetched = (from, ...offsets) => ({
    ...page(),
    messages: offsets.map((each) => said(each, 'x', { from })),
    more: true,
  });
  chat.receive(fetched('eve', 4, 5, 6));
  chat.receive(fetched('eve', 4, 5, 6));
  assert.equal(lobby().unread, 3);
  chat.receive(fetched('bea', 1, 2, 3));
  assert.equal(lobby().unread, 3);
  begin({ ...JSON.parse(JSON.stringify(chat)), ignored: ['eve'] });
  assert.equal(lobby().unread, 3);
  comeBack();
  chat.receive(joined(1, { epoch: 'other', recovered: false }));
  assert.equal(lobby().unread, 1);
  chat.receive({ ...fetched('eve', 1), epoch: 'other' });
  assert.equal(lobby().unread, 0);
});

test('own messages need no reading, and hide nothing that does', () => {
  enter();
  chat.say('#lobby', 'one');
  chat.receive(said(1));
  chat.receive({ type: 'ack', id: 't1', room: 'lobby', offset: 2 });
  chat.receive(said(3, 'from elsewhere', { from: 'ann' }));
  assert.equal(lobby().unread, 1);
  chat.receive({ type: 'private', from: 'bea', text: 'psst', time: '2026-11-26T06:33:00.000Z' });
  const talk = chat.talkWith('bea');
  talk.markRead();
  chat.say('@bea', 'two');
  chat.receive({ type: 'private', from: 'bea', text: 'psst', time: '2026-11-26T06:33:00.000Z' });
  chat.receive({ type: 'ack', id: 't2' });
  assert.equal(talk.unread, 1);
});

test('leaving goes to another conversation, and the lobby is always there', () => {
  enter();
  chat.receive(joined(0, { room: 'ops' }));
  chat.open('#ops');
  chat.leave('#ops');
  assert.deepEqual([taken('leave'), chat.current], [[{ type: 'leave', room: 'ops' }], '#lobby']);
  chat.leave('#lobby');
  assert.deepEqual(
    taken('join').map((each) => each.room),
    ['lobby'],
  );
});

test('unknown types are passed over', () => {
  for (const type of ['dance', 'toString', '__proto__', undefined]) chat.receive({ type });
  assert.deepEqual(events, []);
});
