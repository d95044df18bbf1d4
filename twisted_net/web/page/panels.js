// What stands around the messages: rooms, private conversations, members, the title and the state
// of the connection.

import { byId, hide, make, oncePerFrame, replaceItems, set, spoken } from './dom.js';
import { fold, sorted } from './names.js';
import { nodesOf, square } from './rows.js';
import { Topic } from './topic.js';

const timesOf = (number) => (number === 1 ? ' time' : ' times');

export class Panels {
  /** @param hooks - open(key), talk(nick); left(): what had the focus is gone */
  constructor(chat, hooks) {
    Object.assign(this, { chat, hooks });
    this.app = byId('app');
    this.topic = new Topic();
    this.listSoon = oncePerFrame(() => this.listed());
    this.listedFor = null; // the conversation that was the current one when the lists were drawn
    this.drawMembers = oncePerFrame(() => this.membersListed());
    byId('burger').addEventListener('click', () => this.openPanel('rooms'));
    byId('who').addEventListener('click', () => this.toggleMembers());
    byId('app').addEventListener('click', (event) => {
      if (!event.target.closest('nav, aside, .burger, .who')) this.closePanels();
    });
    this.phone = matchMedia('(max-width: 640px)');
    this.phone.addEventListener('change', () => this.drawHead());
    this.narrow = matchMedia('(max-width: 900px)');
    this.narrow.addEventListener('change', () => this.closePanels());
    this.closePanels();
  }

  // Panels of a narrow window.

  openPanel(name) {
    const isOpen = this.app.classList.toggle(`${name}-open`);
    set(byId('burger'), 'aria-expanded', isOpen);
    if (isOpen) document.querySelector(`#${name} a, #${name} button`)?.focus();
  }

  toggleMembers() {
    const isOpen = !this.app.classList.toggle('no-members');
    set(byId('who'), 'aria-expanded', isOpen);
    if (isOpen && this.narrow.matches) document.querySelector('#members button')?.focus();
  }

  /** Close what lies over the conversation. Return whether something did. */
  closePanels() {
    const wasOpen =
      this.app.classList.contains('rooms-open') ||
      (this.narrow.matches && !this.app.classList.contains('no-members'));
    this.app.classList.remove('rooms-open');
    this.app.classList.toggle('no-members', this.narrow.matches || !this.chat.here?.isRoom);
    set(byId('burger'), 'aria-expanded', false);
    set(byId('who'), 'aria-expanded', !this.app.classList.contains('no-members'));
    return wasOpen;
  }

  // The lists.

  drawList() {
    if (document.hidden) this.drawTitle(); // it is seen, but there are no frames
    this.listSoon();
  }

  listed() {
    const { chat } = this;
    const itemsOf = (conversations) => [...conversations].map((each) => this.itemOf(each));
    replaceItems(byId('room-list'), itemsOf(chat.rooms.values()), this.hooks.left);
    replaceItems(byId('talk-list'), itemsOf(chat.talks.values()), this.hooks.left);
    byId('talks').hidden = chat.talks.size === 0;
    if (this.listedFor !== chat.current) {
      this.listedFor = chat.current;
      byId('rooms').querySelector('[aria-current]')?.scrollIntoView({ block: 'nearest' });
    }
    this.drawTitle();
  }

  itemOf(conversation) {
    const { chat } = this;
    const { key, title, unread, mentions, isRoom } = conversation;
    const isCurrent = key === chat.current;
    const isHere = !isRoom && chat.isHere(title);
    const mark = isRoom
      ? make('span', { class: 'hash', 'aria-hidden': 'true' }, '#')
      : make('span', { class: isHere ? 'dot on' : 'dot', 'aria-hidden': 'true' });
    const number = mentions || unread;
    const badge =
      number === 0
        ? null
        : make(
            'b',
            { class: mentions ? 'badge mention' : 'badge' },
            mentions && isRoom ? spoken(', mentioned, ') : spoken(', '),
            number > 999 ? '999+' : String(number),
            spoken(mentions && isRoom ? timesOf(mentions) : ' unread'),
          );
    const link = make(
      'a',
      {
        href: `#${isRoom ? '' : '@'}${encodeURIComponent(title)}`,
        class: unread ? 'unread' : null,
        'aria-current': isCurrent ? 'page' : null,
        'data-key': key,
      },
      mark,
      make('span', { class: 'name' }, title),
      isHere ? spoken(' (here)') : null,
      badge,
    );
    link.addEventListener('click', (event) => {
      event.preventDefault();
      this.hooks.open(key);
    });
    return make('li', {}, link);
  }

  drawTitle() {
    const { chat } = this;
    const mentioned = chat.conversations.reduce((sum, each) => sum + each.mentions, 0);
    const others = chat.conversations.some((each) => each.unread);
    const name = chat.current[0] === '#' ? chat.current : (chat.here?.title ?? chat.current);
    document.title = `${mentioned ? `(${mentioned}) ` : others ? '• ' : ''}${name} – netchat`;
    byId('burger-badge').hidden = mentioned === 0;
    byId('burger-badge').replaceChildren(
      spoken(', mentioned, '),
      String(mentioned),
      spoken(timesOf(mentioned)),
    );
  }

  /** Show whose conversation it is: name, topic, members. */
  drawHead() {
    const { here } = this.chat;
    if (here === undefined) return;
    const { title, isRoom } = here;
    const mark = isRoom
      ? make('span', { class: 'hash', 'aria-hidden': 'true' }, '#')
      : square(title);
    byId('title').replaceChildren(mark, title);
    this.topic.show(
      isRoom
        ? nodesOf(here.topic, '')
        : ['Only the two of you see this. The server keeps nothing of it.'],
    );
    const where = isRoom ? `#${title}` : title;
    byId('log').setAttribute(
      'aria-label',
      isRoom ? `Messages in ${title}` : `Messages with ${title}`,
    );
    byId('text-label').textContent = `Message to ${title}`;
    byId('text').placeholder = this.phone.matches
      ? `Message ${where}`
      : `Message ${where}   ( / for commands, Tab completes names )`;
    this.drawMembers();
  }

  membersListed() {
    const { here } = this.chat;
    byId('who').hidden = !here?.count; // of a room that was not joined, nobody knows
    if (!here?.isRoom) return;
    byId('who').textContent = `${here.count} here`;
    byId('members-title').textContent = here.count ? `Here, ${here.count}` : 'Here';
    byId('members').setAttribute('aria-label', `Members of ${here.title}`);
    const me = [...here.members].filter((each) => this.chat.isMe(each));
    const others = sorted([...here.members].filter((each) => !this.chat.isMe(each)));
    const items = [...me, ...others].map((nick) => this.memberOf(nick));
    replaceItems(byId('member-list'), items, this.hooks.left);
  }

  memberOf(nick) {
    const name = make('span', { class: 'name' }, nick);
    if (this.chat.isMe(nick))
      return make('li', {}, make('span', {}, square(nick), name, make('small', {}, 'you')));
    const button = make(
      'button',
      { type: 'button', title: `Talk to ${nick} in private`, 'data-key': fold(nick) },
      square(nick),
      name,
    );
    button.addEventListener('click', () => this.hooks.talk(nick));
    return make('li', {}, button);
  }

  /** Show who the reader is. */
  drawMe() {
    const { nick, account, accounts, isOutside } = this.chat.entrance;
    byId('my-name').textContent = nick || '…';
    byId('my-square').replaceWith(Object.assign(square(nick || '?'), { id: 'my-square' }));
    const guest =
      { yes: 'guest', tls: 'guest (login over TLS only)' }[accounts] ?? 'guest, no login';
    const who = isOutside ? 'not logged in' : guest;
    byId('my-account').textContent = account && !isOutside ? `logged in as ${account}` : who;
    hide(byId('log-in'), accounts !== 'yes' || Boolean(account), this.hooks.left);
  }

  /** Show the state of the connection. */
  drawState(state, text) {
    byId('conn').className = `conn ${state}`;
    byId('conn-text').textContent = text;
  }
}

/** A line above the messages that says what happened, until it is dismissed or out of date. */
export class Banner {
  /** @param left - what had the focus is gone */
  constructor(left) {
    this.left = left;
    this.action = null;
    byId('banner-close').addEventListener('click', () => this.hide());
    byId('banner-action').addEventListener('click', () => this.action?.());
  }

  /**
   * @param parts - texts; one in a list of its own is shown bold
   * @param more - isBad, label and action of a button, kind: for hide
   */
  show(parts, { isBad = false, label = '', action = null, kind = '' } = {}) {
    this.kind = kind;
    this.action = action;
    byId('banner-text').replaceChildren(
      ...parts.map((each) => (Array.isArray(each) ? make('b', {}, ...each) : each)),
    );
    byId('banner').className = isBad ? 'banner bad' : 'banner';
    hide(byId('banner-action'), !label, this.left);
    byId('banner-action').textContent = label;
    byId('banner').hidden = false;
  }

  /** Hide it; or only if it is of a kind. */
  hide(kind) {
    if (kind === undefined || kind === this.kind) hide(byId('banner'), true, this.left);
  }
}
