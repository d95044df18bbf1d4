// Who is in the rooms, and what they are called: the server's messages about people.

import { fold } from './names.js';

/** Take somebody who came, left, or has another name; or many at once, who are only counted. */
function presence(chat, message) {
  const { room: name, event, nick, to, count } = message;
  const room = chat.rooms.get(name);
  if (room === undefined) return;
  // We are here: one of our name who leaves is this page's own connection before this one.
  if (nick !== undefined && event !== 'nick' && chat.isMe(nick)) return;
  if (nick === undefined) chat.world.send({ type: 'who', room: name, id: 'who' });
  else room.moved(event, nick, to);
  if (event === 'nick') renamed(chat, nick, to);
  chat.show(room, { kind: 'presence', event, nick, to, count, time: chat.world.now() });
  chat.emit('members', { conversation: room });
  chat.emit('list');
}

/** Go on with a private conversation under the other's new name. */
function renamed(chat, nick, to) {
  const talk = chat.talks.get(`@${fold(nick)}`);
  const key = `@${fold(to)}`;
  if (talk === undefined || (chat.talks.has(key) && chat.talks.get(key) !== talk)) return;
  chat.talks.delete(talk.key);
  for (const own of chat.outbox.to(talk.key)) Object.assign(own, { key, to });
  const isCurrent = chat.current === talk.key;
  if (isCurrent) chat.current = key;
  Object.assign(talk, { key, title: to });
  chat.talks.set(key, talk);
  if (isCurrent) chat.emit('renamed', { conversation: talk });
}

/** Take the reader's own new name. */
function named(chat, message) {
  for (const room of chat.rooms.values()) {
    if (room.members.has(chat.nick)) room.moved('nick', chat.nick, message.nick);
    chat.emit('members', { conversation: room });
  }
  chat.entrance.named(message);
}

/** Take the list of a room's members. */
function who(chat, { room: name, members, count }) {
  const room = chat.rooms.get(name);
  if (room === undefined) return;
  Object.assign(room, { members: new Set(members), count });
  chat.emit('members', { conversation: room });
}

/** Take a topic, and who has changed it. */
function topic(chat, { room: name, topic: text, from }) {
  const room = chat.rooms.get(name);
  if (room === undefined) return;
  room.topic = text;
  chat.emit('topic', { conversation: room });
  if (from) chat.show(room, { kind: 'topic', from, topic: text, time: chat.world.now() });
}

const timeOf = (text) => new Date(text).toLocaleString('en-GB');

/** Take the list of bans, which an operator has asked for. */
function banned(chat, { bans }) {
  if (!bans.length) chat.notice('Nobody is banned.');
  for (const { nick, until, from, text } of bans) {
    chat.notice(
      `${nick} is banned by ${from} until ${timeOf(until)}${text && `: ${text}`}`,
    );
  }
}

/** What to do about each type of message about people. */
export const PEOPLE = { presence, who, nick: named, topic, bans: banned };
