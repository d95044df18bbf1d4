// Dialogs: the way to a room, the reader's name, the login, and help.

import { Choices } from './choices.js';
import { COMMANDS } from './commands.js';
import { byId, make } from './dom.js';
import { bareRoom, fold } from './names.js';

export const KEYS = [
  ['Enter', 'send'],
  ['Shift Enter', 'a new line'],
  ['Tab', 'complete a name, a room or a command'],
  ['↑', 'in an empty box: edit what has not been sent'],
  ['Ctrl K', 'go to a room or a person'],
  ['Alt ↑', 'the conversation above'],
  ['Alt ↓', 'the conversation below'],
  ['Esc', 'to the newest message'],
];

export class Dialogs {
  /**
   * @param hooks - known(): rooms and people; go(typed), rename(nick), login(user, password);
   *     refresh(): asks for the list of rooms
   */
  constructor(hooks) {
    this.hooks = hooks;
    this.rooms = []; // the server's list, when it was asked for last
    for (const button of document.querySelectorAll('[data-close]')) {
      button.addEventListener('click', () => button.closest('dialog').close());
    }
    this.search = byId('rooms-search');
    this.choices = new Choices(this.search, byId('rooms-found'), ({ go }) => this.go(go));
    this.search.addEventListener('input', () => this.find());
    this.search.addEventListener('keydown', (event) => {
      const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
      if (!by) return;
      event.preventDefault();
      this.choices.move(by);
    });
    this.onSubmit('rooms-dialog', () => this.choices.takeSelected());
    this.onSubmit('name-dialog', () => this.hooks.rename(byId('name-field').value.trim()));
    this.onSubmit('login-dialog', () => {
      this.hooks.login(byId('login-user').value, byId('login-password').value);
      byId('login-password').value = '';
    });
    byId('help-keys').append(
      ...KEYS.flatMap(([keys, does]) => [
        make(
          'dt',
          {},
          ...keys
            .split(' ')
            .flatMap((each, index) =>
              index ? [' ', make('kbd', {}, each)] : [make('kbd', {}, each)],
            ),
        ),
        make('dd', {}, does),
      ]),
    );
    byId('help-commands').append(
      ...COMMANDS.flatMap(({ usage, help }) => [make('dt', {}, usage), make('dd', {}, help)]),
    );
  }

  get isOpen() {
    return document.querySelector('dialog[open]') !== null;
  }

  onSubmit(id, action) {
    byId(id)
      .querySelector('form')
      .addEventListener('submit', (event) => {
        event.preventDefault(); // the page's policy lets no form be sent
        byId(id).close();
        action();
      });
  }

  open(id) {
    if (!byId(id).open) byId(id).showModal();
  }

  // Rooms.

  openRooms() {
    this.search.value = '';
    this.hooks.refresh();
    this.find();
    this.open('rooms-dialog');
    this.search.focus();
  }

  /** Take the server's list of rooms. */
  listed(rooms) {
    this.rooms = rooms;
    if (byId('rooms-dialog').open) this.find();
  }

  find() {
    const typed = this.search.value.trim();
    const { rooms, people } = this.hooks.known();
    const found = new Map();
    for (const [name, note] of rooms) found.set(`#${name}`, note);
    for (const [name, note] of people) found.set(`@${name}`, note);
    const wanted = fold(typed);
    const like = [...found].filter(
      ([label]) => fold(label).startsWith(wanted) || fold(label.slice(1)).includes(wanted),
    );
    // The name as it was typed comes first, then those that begin with it.
    const rankOf = (label) =>
      [label, label.slice(1)].some((each) => fold(each) === wanted)
        ? 0
        : [label, label.slice(1)].some((each) => fold(each).startsWith(wanted))
          ? 1
          : 2;
    const choices = like
      .map(([label, note]) => ({ label, note, go: label }))
      .sort((one, other) => rankOf(one.label) - rankOf(other.label))
      .slice(0, 49);
    const isNew =
      typed && !typed.startsWith('@') && !found.has(`#${fold(bareRoom(typed))}`) && bareRoom(typed);
    if (isNew)
      choices.push({
        label: `#${bareRoom(typed)}`,
        note: 'join, or begin',
        go: `#${bareRoom(typed)}`,
      });
    this.choices.show(choices);
  }

  go(label) {
    byId('rooms-dialog').close();
    this.hooks.go(label);
  }

  // The others.

  openName(nick, most) {
    const field = byId('name-field');
    field.value = nick;
    field.maxLength = most;
    this.open('name-dialog');
    field.select();
  }

  openLogin(why = '', isWrong = false) {
    byId('login-why').textContent = why;
    byId('login-why').className = isWrong ? 'bad' : '';
    this.open('login-dialog');
    byId(byId('login-user').value ? 'login-password' : 'login-user').focus();
  }

  openHelp() {
    this.open('help-dialog');
  }
}
