// The elements of a conversation's rows.

import { make, spoken } from './dom.js';
import { counted, partsOf } from './format.js';
import { colourOf, initialOf, mentions } from './names.js';
import { clockOf, dayName, foldedText, presenceText } from './timeline.js';

/** Return a text's parts as nodes. */
export function nodesOf(text, me) {
  return partsOf(text, me).map(({ kind, value, href }) => {
    if (kind === 'text') return value;
    if (kind === 'code') return make('code', {}, value);
    if (kind === 'mention') return make('mark', {}, value);
    if (kind === 'block') return codeBlock(value);
    return make('a', { href, target: '_blank', rel: 'noopener noreferrer nofollow' }, value);
  });
}

// It scrolls, so it has to be reachable by keys.
const codeBlock = (text) =>
  make('pre', { tabindex: 0, role: 'group', 'aria-label': 'Code' }, make('code', {}, text));

export const square = (nick) =>
  make('span', { class: `av c${colourOf(nick)}`, 'aria-hidden': 'true' }, initialOf(nick));

const nameOf = (nick) => make('b', { class: `nick c${colourOf(nick)}` }, nick);

const whenOf = (time) => make('time', { datetime: new Date(time).toISOString() }, clockOf(time));

/** Rows that come one after another, such as those of a page of history. */
export class Rows {
  constructor(element, me) {
    Object.assign(this, { element, me });
    this.code = null; // the last block of fenced code, which may go on
    this.fold = null;
  }

  add(row) {
    const maker = this[`${row.row}Row`.replace(/-(.)/u, (_, letter) => letter.toUpperCase())];
    const element = maker.call(this, row);
    if (element) this.element.append(element);
    return element;
  }

  dayRow({ time }) {
    const name = make('span', {}, dayName(time, Date.now()));
    return make('div', { class: 'day', 'data-time': time }, name);
  }

  newRow() {
    return make(
      'div',
      { class: 'new', role: 'separator', 'aria-label': 'New messages' },
      make('span', { 'aria-hidden': 'true' }, 'New'),
    );
  }

  lostRow() {
    return make('div', { class: 'lost' }, make('span', {}, 'Messages were lost here'));
  }

  noticeRow({ entry }) {
    return make('p', { class: entry.isWrong ? 'aside bad' : 'aside' }, ...nodesOf(entry.text, ''));
  }

  topicRow({ entry: { from, topic } }) {
    if (!topic) return make('p', { class: 'aside' }, `${from} took the topic away`);
    return make('p', { class: 'aside' }, `${from} changed the topic: `, ...nodesOf(topic, ''));
  }

  foldRow({ entry }) {
    const list = make('ul', { hidden: true });
    const button = make('button', { type: 'button', 'aria-expanded': 'false' });
    button.addEventListener('click', () => {
      list.hidden = !list.hidden;
      button.setAttribute('aria-expanded', String(!list.hidden));
    });
    this.fold = { entries: [], list, button };
    this.foldMoreRow({ entry });
    return make('div', { class: 'aside fold' }, button, list);
  }

  foldMoreRow({ entry }) {
    if (this.fold === null) return this.foldRow({ entry });
    const { entries, list, button } = this.fold;
    entries.push(entry);
    list.append(make('li', {}, `${clockOf(entry.time)} ${presenceText(entry)}`));
    button.textContent = entries.length === 1 ? presenceText(entry) : foldedText(entries);
    return null;
  }

  messageRow({ entry, more, code, joins }) {
    if (joins && (this.code || !code)) {
      if (code) this.code.append(this.code.textContent ? `\n${code}` : code);
      return null;
    }
    this.code = null;
    const { from, text, time, action } = entry;
    const isHit = from !== this.me && mentions(text, this.me);
    const classes = ['m', more && 'more', isHit && 'hit'].filter(Boolean).join(' ');
    const article = make('article', {
      class: classes,
      title: new Date(time).toLocaleString('en-GB'),
      'data-offset': entry.offset,
    });
    if (action) {
      article.append(...this.actionOf(entry));
      return article;
    }
    if (!more) article.append(...this.head(from, time));
    if (code !== null) {
      const block = codeBlock(code);
      this.code = block.firstChild;
      article.append(block);
    } else {
      article.append(make('p', {}, ...nodesOf(text, this.me)));
    }
    return article;
  }

  head(from, time) {
    return [square(from), make('header', {}, nameOf(from), whenOf(time))];
  }

  /** Return what somebody does: a sentence that begins with the name. */
  actionOf({ from, text, time }) {
    const sentence = make('em', {}, nameOf(from), ' ', ...nodesOf(text, this.me));
    return [square(from), make('p', {}, sentence, ' ', whenOf(time))];
  }

  /** Return the row of a message of our own that is not sent, or not acked. */
  unsent(own, isMore, hooks) {
    const article = make('article', { class: `m ${isMore ? 'more ' : ''}mine ${own.state}` });
    if (!isMore) article.append(...this.head(this.me, own.time));
    const said = [own.action ? `/me ${own.text}` : own.text];
    if (own.state === 'pending') {
      said.push(
        make('span', { class: 'state', title: 'Not confirmed yet' }, '◌', spoken(' sending')),
      );
    } else {
      const keyOf = (action) => ({ type: 'button', 'data-key': `${own.id} ${action}` });
      const edit = make('button', keyOf('edit'), 'Edit');
      const discard = make('button', keyOf('discard'), 'Discard');
      edit.addEventListener('click', () => hooks.edit(own));
      discard.addEventListener('click', () => hooks.discard(own));
      said.push(make('span', { class: 'state' }, `Not sent: ${own.why}.`, edit, discard));
    }
    article.append(make('p', {}, ...said));
    return article;
  }
  /** Return the row that stands for messages of our own that are not shown. */
  moreUnsent(count) {
    return make('p', { class: 'aside' }, `and ${counted(count, 'more message')} to be sent`);
  }
}
