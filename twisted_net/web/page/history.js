// What was said before: it is asked for in pages, from the newest on.

import { entryOf } from './conversation.js';

export const CHUNK = 50; // messages in one request

/** Ask for the messages before an offset, or for the last ones. */
export function fetchHistory(chat, room, before = room.first ?? undefined) {
  if (!chat.online || !room.joined || room.loading) return;
  room.loading = true;
  const limit = Math.min(CHUNK, chat.limits.history);
  chat.world.send({
    type: 'history',
    room: room.name,
    ...(before && { before }),
    limit,
    id: `history ${room.name}`,
  });
}

/** Take a page. */
export function receiveHistory(chat, { room: name, epoch, messages, more }) {
  const room = chat.rooms.get(name);
  if (room === undefined) return;
  room.loading = false;
  if (epoch !== room.epoch) return;
  const isShown = ({ from }) => !chat.isIgnored(from);
  room.countPast(messages, (each) => isShown(each) && !chat.isMe(each.from));
  const count = room.prepend(messages.map(entryOf), more, isShown);
  chat.emit('prepend', { conversation: room, count });
  chat.emit('list');
}
