// The page: makes the parts, and passes what happens in one to the others.

import { Chat, LOBBY } from './chat.js';
import { stepsOf } from './commands.js';
import { knownOf } from './completion.js';
import { Composer } from './composer.js';
import { Connection } from './connection.js';
import { Dialogs } from './dialogs.js';
import { byId, oncePerFrame } from './dom.js';
import { lasted } from './format.js';
import { sentencesOf } from './homecoming.js';
import { listenToKeys } from './keyboard.js';
import { Log } from './log.js';
import { Login } from './login.js';
import { bareRoom, fold } from './names.js';
import { Announcer, Notifications } from './notifications.js';
import { typedOf } from './outbox.js';
import { Banner, Panels } from './panels.js';
import { BROWSER, Saved, storageOrNull } from './saved.js';

const SUBPROTOCOL = 'netchat.v1';
const SAVE_AFTER = 300; // milliseconds

const now = () => Date.now();
const token = () =>
  [...crypto.getRandomValues(new Uint8Array(9))]
    .map((each) => each.toString(16).padStart(2, '0'))
    .join('');

const saved = new Saved(storageOrNull('sessionStorage'), storageOrNull('localStorage'));
const before = saved.load();
const url = new URL('ws', document.baseURI);
url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';

const connection = new Connection(
  url.href,
  {
    open: (address) => new WebSocket(address, SUBPROTOCOL),
    now,
    random: Math.random,
    later: (action, milliseconds) => setTimeout(action, milliseconds),
    cancel: (timer) => clearTimeout(timer),
    isSeen: () => document.visibilityState === 'visible',
  },
  {
    opened: () => chat.connected(),
    received: (message) => {
      chat.receive(message);
      saveSoon();
    },
    changed: (state) => stateChanged(state),
  },
);

const chat = new Chat(
  {
    send: (message) => connection.send(message),
    emit: (event) => EVENTS[event.on]?.(event),
    token,
    now,
  },
  before,
);

const panels = new Panels(chat, {
  open: (key) => openHere(key),
  talk: (nick) => talkTo(nick),
  left: () => goOn(),
});
const banner = new Banner(() => goOn());
const announcer = new Announcer(byId('announcer'));
const notifications = new Notifications(before.notify ?? false, {
  open: (key) => openHere(key),
  changed: () => saveSoon(),
});
const log = new Log(chat, {
  looked: () => look(),
  edit: (own) => editUnsent(own),
  discard: (own) => chat.takeBack(own),
  left: () => goOn(),
});
const composer = new Composer({
  enter: (text) => entered(text),
  known: () => {
    // One may join any room: the server's list is asked for once, with the first letter.
    if (/^\/join\s+#?[^#\s]$/iu.test(composer.text)) askForRooms();
    return knownOf(chat, dialogs.rooms);
  },
  up: () => takeLastUnsent(),
});
const dialogs = new Dialogs({
  known: () => knownOf(chat, dialogs.rooms),
  refresh: () => askForRooms(),
  go: (label) => (label[0] === '@' ? talkTo(label.slice(1)) : joinRoom(label)),
  rename: (nick) => nick && renameMe(nick),
  login: (user, password) => logIn(user, password),
});

const login = new Login({ chat, panels, banner, dialogs });

const askForRooms = () => connection.send({ type: 'rooms' });

// Saving.

let savePending = null;

function saveNow() {
  clearTimeout(savePending);
  savePending = null;
  if (chat.here) chat.here.draft = composer.text;
  saved.save(chat, { notify: notifications.isOn });
}

function saveSoon() {
  savePending ??= setTimeout(saveNow, SAVE_AFTER);
}

// Events of the chat.

const EVENTS = {
  append: ({ conversation, entry }) => conversation === chat.here && log.append(entry),
  prepend: ({ conversation, count }) => conversation === chat.here && log.prepended(count),
  trim: ({ conversation, count }) => conversation === chat.here && log.trimmed(count),
  reset: ({ conversation }) => conversation === chat.here && log.reset(),
  unsent: ({ conversation }) => conversation === chat.here && log.unsentChanged(),
  // A paste may be thousands of lines, and each is a message.
  said: oncePerFrame(() => {
    log.eraseLine();
    log.toEnd();
  }),
  opened: ({ conversation }) => shown(conversation),
  list: () => panels.drawList(),
  members: ({ conversation }) => conversation === chat.here && panels.drawMembers(),
  topic: ({ conversation }) => conversation === chat.here && panels.drawHead(),
  renamed: ({ conversation }) => {
    panels.drawHead();
    nameAddress(conversation);
  },
  me: () => {
    panels.drawMe();
    log.named();
  },
  back: (event) => cameBack(event),
  heard: (event) => heard(event),
  login: ({ text }) => login.wanted(text),
  banned: ({ text }) => connection.stop(text),
  notice: ({ text, isWrong }) => {
    announcer.say(text);
    if (chat.here === undefined) banner.show([text], { isBad: isWrong });
  },
  rooms: ({ rooms }) => dialogs.listed(rooms),
};

let draftsOf = null; // the conversation whose draft is in the message box

function shown(conversation) {
  if (draftsOf && draftsOf !== conversation) draftsOf.draft = composer.text;
  if (draftsOf !== conversation) composer.text = conversation.draft;
  draftsOf = conversation;
  log.show(conversation);
  panels.closePanels();
  panels.drawHead();
  nameAddress(conversation);
  look();
  saveSoon();
}

/** Let the page's address name a conversation, for a reload and for others. */
function nameAddress({ isRoom, title }) {
  history.replaceState(null, '', `#${encodeURIComponent(isRoom ? title : `@${title}`)}`);
}

function openHere(key) {
  chat.open(key);
  goOn();
}

/** Let the keyboard go on in the message box; on a phone that would bring up another keyboard. */
function goOn() {
  if (!matchMedia('(pointer: coarse)').matches) composer.focus();
}

function talkTo(nick) {
  if (!chat.isMe(nick)) openHere(chat.talkWith(nick).key);
}

function joinRoom(typed) {
  chat.join(bareRoom(typed));
  composer.focus();
}

/** Count what the reader sees as read. */
function look() {
  chat.attentive = document.visibilityState === 'visible' && document.hasFocus() && log.following;
  if (chat.attentive && chat.here?.markRead()) {
    panels.drawList();
    saveSoon();
  }
}

function heard({ conversation, entry, mention, isSeen }) {
  if (conversation.caughtUp >= entry.offset) return; // a part of the past
  if (conversation === chat.here) announcer.say(`${entry.from}: ${entry.text}`);
  if (mention && !isSeen) notifications.tell(conversation, entry);
}

// The connection.

function stateChanged(state) {
  if (state === 'open') {
    panels.drawState(state, 'Connected');
    banner.hide('offline');
    return;
  }
  if (state === 'probing') {
    panels.drawState(state, 'No answer…');
    banner.show(['The server does not answer. What you write is kept.'], {
      isBad: true,
      kind: 'offline',
    });
    return;
  }
  chat.disconnected();
  if (state === 'connecting') {
    panels.drawState(state, 'Connecting…');
  } else if (state === 'waiting') {
    panels.drawState(state, 'Reconnecting…');
    const seconds = Math.ceil((connection.retryAt - now()) / 1000);
    // Short breaks need no banner.
    if (connection.attempts > 1) {
      banner.show(
        [`${connection.why} Next attempt in ${lasted(seconds * 1000)}. What you write is kept.`],
        { isBad: true, kind: 'offline', label: 'Try now', action: () => connection.hurry() },
      );
    }
  } else if (chat.entrance.isOutside) {
    login.drawOutside(); // the server does not wait for ever
  } else {
    panels.drawState(state, 'Not connected');
    banner.show([connection.why], {
      isBad: true,
      kind: 'offline',
      label: 'Connect',
      action: () => connection.start(),
    });
  }
}

/** Say what a reconnection has brought; of a reload, only what is missing. */
function cameBack(summary) {
  const away = connection.lostAt === null ? '' : lasted(now() - connection.lostAt);
  const told = sentencesOf(summary, away);
  if (told) banner.show(told.parts, { isBad: told.isBad });
}

function logIn(user, password) {
  if (connection.state === 'stopped') connection.start();
  chat.entrance.login(user, password);
}

// What the reader enters.

/** Do what was typed. Return whether the box may be emptied. */
function entered(text) {
  const steps = stepsOf(text);
  const wrong = steps.find((each) => each.do === 'error');
  if (wrong) {
    chat.notice(wrong.text, true);
    return false;
  }
  if (chat.here === undefined && steps.some((each) => each.do === 'say')) return false;
  for (const step of steps) DO[step.do](step);
  saveSoon();
  return true;
}

const DO = {
  say: ({ text, action }) => chat.say(chat.current, text, action),
  join: ({ room }) => joinRoom(room),
  leave: ({ room }) => chat.leave(room ? `#${fold(room)}` : chat.current),
  talk: ({ to, text }) => {
    talkTo(to);
    if (text) chat.say(chat.talkWith(to).key, text);
  },
  nick: ({ nick }) => renameMe(nick),
  topic: ({ topic }) =>
    chat.here?.isRoom &&
    connection.send({ type: 'topic', room: chat.here.name, topic, id: 'topic' }),
  who: () =>
    chat.here?.isRoom && chat.notice(`In #${chat.here.name}: ${[...chat.here.members].join(', ')}`),
  rooms: () => dialogs.openRooms(),
  ignore: ({ nick }) => chat.ignore(nick),
  unignore: ({ nick }) => chat.ignore(nick, false),
  login: () => login.open(),
  help: () => dialogs.openHelp(),
  quit: () => {
    connection.send({ type: 'quit' });
    connection.stop('You have left the chat.');
  },
  request: ({ message }) => connection.send(message),
};

function editUnsent(own) {
  const taken = chat.takeBack(own);
  if (taken === null) return;
  composer.text = [typedOf(taken), composer.text].filter((each) => each.trim()).join('\n');
  composer.focus();
}

function takeLastUnsent() {
  const own = chat.outbox.lastTo(chat.current);
  if (own === null) return null;
  chat.takeBack(own);
  return typedOf(own);
}

function renameMe(nick) {
  chat.entrance.rename(nick, chat.online);
  saveSoon();
}

/** Go to the conversation above (-1) or below (1). */
function step(by) {
  const all = chat.conversations;
  const place = all.findIndex((each) => each.key === chat.current);
  if (all.length) openHere(all[(place + by + all.length) % all.length].key);
}

listenToKeys(document, {
  rooms: () => dialogs.openRooms(),
  previous: () => step(-1),
  next: () => step(1),
  newest: () => {
    panels.closePanels();
    log.eraseLine();
    if (chat.here) chat.here.line = null;
    log.toEnd();
    composer.focus();
  },
  isBusy: () => dialogs.isOpen,
  type: () => composer.focus(),
  isFree: (element) => element === document.body || element === byId('log'),
});

byId('find-room').addEventListener('click', () => dialogs.openRooms());
byId('rename').addEventListener('click', () => dialogs.openName(chat.nick, chat.limits.nick));
byId('log-in').addEventListener('click', () => login.open());
byId('help').addEventListener('click', () => dialogs.openHelp());
byId('skip').addEventListener('click', (event) => {
  event.preventDefault();
  composer.focus();
});
byId('text').addEventListener('input', saveSoon);

window.addEventListener('focus', look);
window.addEventListener('blur', look);
window.addEventListener('online', () => connection.hurry());
window.addEventListener('offline', () => connection.suspect());
window.addEventListener('storage', ({ key }) => {
  if (key === BROWSER) chat.ignored = new Set(saved.ignored()); // another tab has changed it
});
window.addEventListener('hashchange', () => openFragment());
document.addEventListener('visibilitychange', () => {
  look();
  if (document.visibilityState === 'visible') connection.hurry();
  else saveNow();
});
window.addEventListener('pagehide', () => {
  saveNow();
  saved.mark(false);
});
window.addEventListener('pageshow', (event) => {
  saved.mark(true);
  if (event.persisted) connection.hurry();
});

/** Go to the room or the person that the address names: #ops, #@bea. */
function openFragment() {
  let name = '';
  try {
    name = decodeURIComponent(location.hash.slice(1));
  } catch {
    /* it names nothing */
  }
  if (name.startsWith('@')) talkTo(name.slice(1));
  else if (name) chat.join(name);
  return Boolean(name);
}

// Begin.

const names = before.names ?? [];
for (const name of names) chat.asked.add(name);
if (chat.here) chat.open(chat.current);
else if (chat.conversations.length) chat.showAny();
else chat.join(names.includes(LOBBY) ? LOBBY : (names[0] ?? LOBBY));
openFragment();
panels.drawList();
saved.mark(true);
connection.start();
