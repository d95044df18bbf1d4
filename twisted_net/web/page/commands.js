// What is typed in the message box: messages and commands. A command is a request to the server, or
// something that the page does itself.

import { bareRoom } from './names.js';

const [NAME, REST] = ['NAME', 'TEXT'];

// word, usage, help; and what it makes of its arguments and the current conversation.
const TABLE = [
  ['/join', 'ROOM', 'join a room', (room) => room && { do: 'join', room: bareRoom(room) }],
  [
    '/leave',
    '[ROOM]',
    'leave a room, or close a private conversation',
    (room) => ({ do: 'leave', room: bareRoom(room) }),
  ],
  [
    '/msg',
    `${NAME} [${REST}]`,
    'send a private message',
    (to, text) => to && { do: 'talk', to: to.replace(/^@/u, ''), text },
    2,
  ],
  ['/me', REST, 'say what you do', (text) => text && { do: 'say', text, action: true }],
  ['/nick', NAME, 'change your name', (nick) => nick && { do: 'nick', nick }],
  [
    '/topic',
    `[${REST}]`,
    'set the topic; - takes it away',
    (topic) => topic && { do: 'topic', topic: topic === '-' ? '' : topic },
  ],
  ['/who', '', 'list the people in the room', () => ({ do: 'who' })],
  ['/rooms', '', 'list the rooms', () => ({ do: 'rooms' })],
  [
    '/ignore',
    NAME,
    'hide the messages of someone on this page',
    (nick) => nick && { do: 'ignore', nick },
  ],
  ['/unignore', NAME, 'show them again', (nick) => nick && { do: 'unignore', nick }],
  ['/login', '', 'log in to your account', () => ({ do: 'login' })],
  [
    '/kick',
    `${NAME} [WHY]`,
    "close someone's connection (operators)",
    (nick, text) => nick && request('kick', { nick, text }),
    2,
  ],
  ['/ban', `${NAME} [MINUTES [WHY]]`, 'ban someone (operators)', ban, 3],
  ['/unban', NAME, 'end a ban (operators)', (nick) => nick && request('unban', { nick })],
  ['/bans', '', 'list the bans (operators)', () => request('bans', {})],
  ['/mute', `${NAME} [MINUTES]`, 'stop someone from sending messages (operators)', mute, 2],
  ['/help', '', 'list the commands and the keys', () => ({ do: 'help' })],
  ['/quit', '', 'leave the chat', () => ({ do: 'quit' })],
];

export const COMMANDS = TABLE.map(([word, usage, help, make, count = 1]) => ({
  word,
  usage: `${word} ${usage}`.trim(),
  help,
  make,
  count,
}));

const BY_WORD = new Map(COMMANDS.map((each) => [each.word, each]));

function request(type, fields) {
  return {
    do: 'request',
    message: {
      type,
      ...Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== '')),
    },
  };
}

const whole = (typed) => (/^\d{1,8}$/u.test(typed) ? Number(typed) : null);

function ban(nick, minutes, text) {
  const number = minutes ? whole(minutes) : 60;
  return nick && number !== null && request('ban', { nick, minutes: number, text });
}

function mute(nick, minutes) {
  const number = minutes ? whole(minutes) : 10;
  return nick && number !== null && request('mute', { nick, minutes: number });
}

/**
 * Return what to do about a text that was entered: a list of steps, each with a "do". A wrong
 * command is one step, "error", and the text stays in the box.
 *
 * A message is one line, so several lines are as many messages; a command is the only line. Only
 * there, two slashes stand for one: in code, they begin a comment.
 */
export function stepsOf(typed) {
  const lines = typed.split(/\r\n|\r|\n/u).filter((line) => line.trim());
  const first = lines[0] ?? '';
  if (lines.length !== 1) return lines.map((text) => ({ do: 'say', text }));
  if (first.startsWith('//')) return [{ do: 'say', text: first.slice(1) }];
  return [first.startsWith('/') ? commandOf(first.trim()) : { do: 'say', text: first }];
}

function commandOf(line) {
  const [, word, rest] = /^(\S+)\s*(.*)$/su.exec(line);
  const command = BY_WORD.get(word.toLowerCase());
  if (command === undefined)
    return { do: 'error', text: `There is no command ${word}. /help lists commands.` };
  return (
    command.make(...wordsOf(rest, command.count)) || {
      do: 'error',
      text: `Usage: ${command.usage}`,
    }
  );
}

/** Split into words, the last of which is the whole rest; those that are missing are empty. */
function wordsOf(rest, count) {
  const words = [];
  let left = rest.trim();
  while (words.length < count - 1) {
    const [, word, more] = /^(\S*)\s*(.*)$/su.exec(left);
    words.push(word);
    left = more;
  }
  return [...words, left];
}
