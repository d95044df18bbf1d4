// The chat, as this page knows it: who the reader is, the conversations, and what is not sent yet.
//
// It takes the server's messages and the reader's wishes. It answers with messages to send and with
// events that say what has changed. It knows no page, no socket and no clock, so tests can run it.
//
// What the server promises, and this relies on: an acked message is stored; a repeated id is acked
// again and not sent twice; after a join with "since" every missed message follows, once and in
// order, or none does and "recovered" is false (docs/netchat.schema.json).

import { Room, Talk, entryOf } from './conversation.js';
import { Entrance } from './entrance.js';
import { CHUNK, fetchHistory, receiveHistory } from './history.js';
import { Homecoming } from './homecoming.js';
import { fold, mentions } from './names.js';
import { Outbox, requestOf } from './outbox.js';
import { PEOPLE } from './people.js';

export const LOBBY = 'lobby';

export class Chat {
  /**
   * @param world - send(message), emit(event), token() for ids, now()
   * @param saved - what toJSON() gave, or less
   */
  constructor(world, saved = {}) {
    this.world = world;
    this.entrance = new Entrance(world, saved);
    this.outbox = new Outbox(saved.unsent);
    this.rooms = new Map((saved.rooms ?? []).map((each) => [each.name, Room.from(each)]));
    this.talks = new Map(
      (saved.talks ?? []).map((each) => [`@${fold(each.nick)}`, Talk.from(each)]),
    );
    this.ignored = new Set(saved.ignored ?? []);
    this.current = saved.current ?? `#${LOBBY}`;
    this.shown = null; // the conversation on the screen, which is the current one if there is any
    this.limits = { message: 8192, nick: 24, topic: 300, history: CHUNK };
    this.attentive = false; // whether the reader sees the end of the current conversation
    this.online = false;
    this.asked = new Set(); // rooms to join, as they were typed
    this.joins = 0; // requests to join a room
    this.joining = new Map(); // their ids, and the rooms as they were asked for
    this.opening = null; // the room that the reader wants to see once it is joined
    // After a lost connection, or a reload, until all rooms are back.
    this.returning = this.rooms.size ? new Homecoming(this.rooms.values()) : null;
  }

  toJSON() {
    const [rooms, talks] = [this.rooms, this.talks].map((each) =>
      [...each.values()].map((one) => one.toJSON()),
    );
    return {
      ...this.entrance.toJSON(),
      unsent: this.outbox.toJSON(),
      current: this.current,
      rooms,
      talks,
    };
  }

  emit(on, more = {}) {
    this.world.emit({ on, ...more });
  }

  get nick() {
    return this.entrance.nick;
  }

  get here() {
    return this.conversation(this.current);
  }

  get conversations() {
    return [...this.rooms.values(), ...this.talks.values()];
  }

  conversation(key) {
    return key[0] === '#' ? this.rooms.get(key.slice(1)) : this.talks.get(key);
  }

  isMe(nick) {
    return fold(nick) === fold(this.nick);
  }

  isIgnored(nick) {
    return this.ignored.has(fold(nick));
  }

  /** Return whether somebody is known to be here; nobody tells of those in other rooms. */
  isHere(nick) {
    return [...this.rooms.values()].some((room) => room.members.has(nick));
  }

  // The connection.

  connected() {
    this.joining.clear();
    this.entrance.begin();
  }

  disconnected() {
    const was = this.online;
    this.online = false;
    for (const room of this.rooms.values()) room.joined = room.loading = false;
    if (was) this.returning = new Homecoming(this.rooms.values(), this.returning);
  }

  receive(message) {
    // Types that are not known are passed over, as the schema says.
    if (Object.hasOwn(HANDLERS, message.type)) HANDLERS[message.type](this, message);
  }

  welcomed(message) {
    this.online = true;
    this.limits = { ...this.limits, ...message.limits };
    this.entrance.welcomed(message);
    for (const room of this.rooms.values()) this.joinAgain(room);
    for (const typed of this.asked) this.sendJoin(typed);
    for (const own of this.outbox.messages) if (own.key[0] === '@') this.pass(own);
  }

  /** Show a sentence in the current conversation. */
  notice(text, isWrong = false) {
    if (this.here) this.show(this.here, { kind: 'notice', text, isWrong, time: this.world.now() });
    this.emit('notice', { text, isWrong });
  }

  refused({ id = '', code, text, field }) {
    const own = this.outbox.find(id);
    if (own !== null) {
      this.outbox.fail(own, text);
      this.notSent(own);
      return;
    }
    if (this.entrance.refused({ id, code, text, field })) return;
    if (this.joining.has(id)) this.notJoined(this.joining.get(id));
    const room = id.startsWith('history ') && this.rooms.get(id.slice(8));
    if (room) room.loading = false;
    this.notice(text, true);
  }

  /** Tell that one of our messages was refused, or cannot be sent. */
  notSent(own) {
    this.emit('unsent', { conversation: this.conversation(own.key) });
    this.emit('notice', { text: `Not sent: ${own.why}.`, isWrong: true });
  }

  // Rooms.

  /** Join a room, and show it. */
  join(typed) {
    const room = this.rooms.get(fold(typed));
    if (room !== undefined) {
      this.open(room.key);
      return;
    }
    this.asked.add(typed);
    this.opening = fold(typed);
    if (this.online) this.sendJoin(typed);
  }

  sendJoin(room, since) {
    const id = `join ${(this.joins += 1)}`;
    this.joining.set(id, room);
    this.world.send({ type: 'join', room, ...(since && { since }), id });
  }

  joinAgain(room) {
    room.joined = false;
    this.sendJoin(room.name, room.since);
  }

  joined(message) {
    const { room: name, epoch, offset, members, count, topic, recovered } = message;
    const room = this.rooms.get(name) ?? this.addRoom(name);
    Object.assign(room, { members: new Set(members), count, topic, joined: true });
    for (const typed of this.asked) if (fold(typed) === fold(name)) this.asked.delete(typed);
    for (const [id, typed] of this.joining) if (fold(typed) === fold(name)) this.joining.delete(id);
    this.returning?.joined(room, recovered, epoch);
    if (recovered === true) {
      room.caughtUp = offset;
      if (room.first === null && !room.loading) this.fetch(room, room.offset + 1);
    } else {
      if (recovered === null && room.read.epoch !== epoch) room.read = { epoch, offset };
      room.restart(epoch, offset);
      this.fetch(room);
      this.emit('reset', { conversation: room });
    }
    for (const own of this.outbox.to(room.key)) this.pass(own);
    if (this.opening === fold(name)) this.open(room.key);
    if (this.opening === null) this.showAny();
    for (const each of ['members', 'topic', 'list']) this.emit(each, { conversation: room });
    this.cameBack();
  }

  addRoom(name) {
    const room = new Room(name);
    this.rooms.set(name, room);
    return room;
  }

  notJoined(typed) {
    this.asked.delete(typed);
    this.opening = null;
    if (this.rooms.has(typed)) this.forget(this.rooms.get(typed));
    this.showAny();
  }

  /** See to it that some conversation is shown. */
  showAny() {
    if (this.here !== undefined && this.here === this.shown) return;
    const next = this.here ?? this.conversations[0];
    if (next) this.open(next.key);
    else if (!this.asked.has(LOBBY)) this.join(LOBBY);
  }

  cameBack() {
    if (!this.returning?.isOver) return;
    const summary = this.returning.summary();
    this.returning = null;
    this.emit('back', summary);
  }

  fetch(room, before) {
    fetchHistory(this, room, before);
  }

  /** Leave a room, or close a private conversation. */
  leave(key) {
    const conversation = this.conversation(key);
    if (conversation === undefined) return;
    this.outbox.drop(key);
    if (conversation.isRoom && this.online)
      this.world.send({ type: 'leave', room: conversation.name });
    this.forget(conversation);
  }

  forget(conversation) {
    this.returning?.gone(conversation);
    if (conversation.isRoom) this.rooms.delete(conversation.name);
    else this.talks.delete(conversation.key);
    this.showAny();
    this.emit('list');
    this.cameBack();
  }

  /** Show a conversation. */
  open(key) {
    const conversation = this.conversation(key);
    if (conversation === undefined) return;
    this.opening = null;
    if (key !== this.current) conversation.drawLine();
    this.current = key;
    this.shown = conversation;
    this.emit('opened', { conversation });
    this.emit('list');
  }

  /** Return the private conversation with somebody; begin it if there is none. */
  talkWith(nick) {
    const key = `@${fold(nick)}`;
    if (!this.talks.has(key)) {
      this.talks.set(key, new Talk(nick));
      this.emit('list');
    }
    return this.talks.get(key);
  }

  // Messages of others.

  said(message) {
    const room = this.rooms.get(message.room);
    if (room === undefined || !this.advance(room, message.offset)) return;
    const entry = entryOf(message);
    const own = this.took(message.id);
    if (own || this.isMe(entry.from)) this.shownAsRead(room, entry);
    else if (!this.isIgnored(entry.from)) this.heard(room, entry, mentions(entry.text, this.nick));
    else room.passOver();
  }

  told(message) {
    if (this.isIgnored(message.from)) return;
    const talk = this.talkWith(message.from);
    this.heard(talk, talk.numbered(entryOf(message)), true);
  }

  /** Take what somebody else has said. */
  heard(conversation, entry, mention) {
    const isSeen = this.attentive && conversation.key === this.current;
    if (isSeen) conversation.markRead();
    else conversation.drawLine();
    if (!isSeen && mention) conversation.mentions += 1;
    this.show(conversation, entry);
    this.emit('heard', { conversation, entry, mention, isSeen });
    this.emit('list');
  }

  /** Show what needs no reading, such as a message of our own. It hides nothing that does. */
  shownAsRead(conversation, entry) {
    conversation.passOver();
    this.show(conversation, entry);
  }

  show(conversation, entry) {
    conversation.append(entry);
    this.emit('append', { conversation, entry });
    const count = conversation.trim();
    if (count) this.emit('trim', { conversation, count });
  }

  /**
   * Count an offset as received. Return false for one that came before, or that comes too early:
   * then messages were dropped on the way, and the room is joined again from the last one on.
   */
  advance(room, offset) {
    if (!room.joined || offset <= room.offset) return false;
    if (offset > room.offset + 1) {
      this.joinAgain(room);
      return false;
    }
    room.offset = offset;
    return true;
  }

  // Own messages.

  /** Send a message to a conversation, now or as soon as possible. */
  say(key, text, action = false) {
    const conversation = this.conversation(key);
    const message = { id: this.world.token(), key, text, action, time: this.world.now() };
    if (!conversation.isRoom) message.to = conversation.nick;
    const own = this.outbox.add(message, this.limits.message);
    conversation.line = null;
    conversation.markRead();
    this.emit('said', { conversation });
    this.emit('unsent', { conversation });
    this.emit('list');
    if (!conversation.isRoom || conversation.joined) this.pass(own);
  }

  /** Send a message, if there is a connection. */
  pass(own) {
    if (own.state !== 'pending' || !this.online) return;
    // It may have been written when the limit was another.
    own.sent = this.outbox.fits(own, this.limits.message);
    if (own.sent) this.world.send(requestOf(own));
    else this.notSent(own);
  }

  /** Take one of our messages off the list of those that are not sent. */
  took(id) {
    const own = this.outbox.take(id);
    if (own !== null) this.emit('unsent', { conversation: this.conversation(own.key) });
    return own;
  }

  /** Take a message back that was not sent, for the reader to change it or to throw it away. */
  takeBack(own) {
    return this.outbox.isMine(own) ? this.took(own.id) : null;
  }

  acked({ id, room: name, offset }) {
    const own = this.took(id);
    const room = this.rooms.get(name);
    // One that is no step forward comes, or has come, as history.
    if (room !== undefined && !this.advance(room, offset)) return;
    const conversation = own && this.conversation(own.key);
    if (!conversation) return;
    const { text, time, action } = own;
    const entry = { kind: 'message', from: this.nick, text, time, ...(action && { action }) };
    this.shownAsRead(
      conversation,
      room === undefined ? conversation.numbered(entry) : { ...entry, offset },
    );
  }

  // Others.

  ignore(nick, isOn = true) {
    if (isOn) this.ignored.add(fold(nick));
    else this.ignored.delete(fold(nick));
    this.notice(
      isOn
        ? `You do not see the messages of ${nick} any more, in this browser.`
        : `You see the messages of ${nick} again.`,
    );
  }
}

const HANDLERS = {
  ...PEOPLE,
  welcome: (chat, message) => chat.welcomed(message),
  joined: (chat, message) => chat.joined(message),
  left: (chat, { room }) => chat.rooms.has(room) && chat.forget(chat.rooms.get(room)),
  message: (chat, message) => chat.said(message),
  private: (chat, message) => chat.told(message),
  ack: (chat, message) => chat.acked(message),
  history: receiveHistory,
  rooms: (chat, { rooms }) => chat.emit('rooms', { rooms }),
  notice: (chat, { text }) => chat.notice(text),
  error: (chat, message) => chat.refused(message),
};
