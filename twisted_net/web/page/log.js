// The messages on the screen: the end of a conversation, and more of it as the reader scrolls up.
//
// Entries stand in pages of 50, which the browser does not lay out while they are out of sight
// (content-visibility). New ones are added once a frame, however many have come.

import { byId, hide, make, oncePerFrame, replaceItems } from './dom.js';
import { fencesAt } from './fences.js';
import { counted } from './format.js';
import { Rows } from './rows.js';
import { copyOf, dayName, isSame, rowsOf, rowsOfAll, startOfRows } from './timeline.js';

const PAGE = 50;
const FIRST_PAGES = 2;
const MOST_PAGES = 250; // in the document; above, the oldest are taken out of it
const MOST_UNSENT = 50; // messages in the document; of more, as after a large paste, the number
const NEAR = 600; // pixels from the upper end at which more is shown, or fetched

export class Log {
  /** @param hooks - edit(own), discard(own), looked(); left(): what had the focus is gone */
  constructor(chat, hooks) {
    Object.assign(this, { chat, hooks });
    this.scroller = byId('log');
    this.element = byId('pages');
    this.unsent = byId('unsent');
    this.jump = byId('jump');
    this.conversation = null;
    this.me = chat.nick; // the name whose mentions are marked
    this.pages = [];
    this.hidden = 0; // entries before those on the screen
    this.following = true; // whether the end stays in sight
    this.missed = 0; // messages that have come below what is in sight
    this.queue = [];
    this.isUnsentOld = false;
    this.lastTop = 0; // where it was scrolled to
    this.lastSize = ''; // of all of it, and of what is in sight
    this.flush = oncePerFrame(() => this.flushed());
    this.scroller.addEventListener('scroll', () => this.scrolled(), { passive: true });
    this.jump.addEventListener('click', () => this.toEnd());
    const observer = new ResizeObserver(() => this.following && this.stick());
    observer.observe(this.scroller);
    observer.observe(this.element);
    observer.observe(this.unsent);
  }

  /** Show a conversation from its end. */
  show(conversation) {
    this.conversation = conversation;
    this.queue = [];
    this.pages = [];
    this.element.replaceChildren();
    this.hidden = conversation.entries.length;
    this.beginning();
    for (let count = 0; count < FIRST_PAGES && this.hidden; count += 1) this.showOlder();
    this.drawUnsent();
    this.following = true;
    this.missed = 0;
    this.stick();
    this.more();
  }

  /** Show it anew, because more than its ends has changed. */
  reset() {
    if (this.conversation) this.show(this.conversation);
  }

  /**
   * Take the reader's name, which may be another. What is shown is drawn again: mentions of the
   * name that the reader has now are marked, in earlier messages too, as after a reload.
   */
  named() {
    if (this.me === this.chat.nick) return;
    this.me = this.chat.nick;
    if (this.conversation === null) return;
    if (this.following) {
      this.reset();
      return;
    }
    this.keepPlace(() => {
      for (const page of this.pages) this.draw(page, page.start);
    });
    this.drawUnsent();
  }

  /** Show a new entry, with the next frame. */
  append(entry) {
    this.queue.push(entry);
    this.flush();
  }

  unsentChanged() {
    this.isUnsentOld = true;
    this.flush();
  }

  flushed() {
    const entries = this.queue;
    this.queue = [];
    if (entries.length > PAGE * FIRST_PAGES && this.following) {
      this.reset();
    } else {
      for (const entry of entries) this.addNewest(entry);
    }
    if (this.start?.className === 'empty') this.beginning();
    if (this.isUnsentOld) this.drawUnsent();
    if (!this.following) this.missed += entries.filter((each) => each.kind === 'message').length;
    if (this.following) {
      this.shorten();
      this.stick();
    }
    this.drawJump();
    this.hooks.looked();
  }

  addNewest(entry) {
    const { line } = this.conversation;
    let page = this.pages.at(-1);
    if (page === undefined || page.entries.length >= PAGE)
      page = this.newPage(page ? copyOf(page.state) : startOfRows());
    page.entries.push(entry);
    const rows = rowsOf(page.state, entry, line);
    if (rows.some((each) => each.row === 'new')) this.eraseLine();
    if (rows.some((each) => each.row === 'day')) this.nameDays();
    for (const row of rows) page.rows.add(row);
  }

  /** Name the days again: what was today may be yesterday. */
  nameDays() {
    for (const day of this.element.querySelectorAll('.day')) {
      day.firstChild.textContent = dayName(Number(day.dataset.time), Date.now());
    }
  }

  newPage(state, before = null) {
    const element = make('div', { class: 'page' });
    this.element.insertBefore(element, before);
    const page = {
      element,
      entries: [],
      start: copyOf(state),
      state,
      rows: new Rows(element, this.me),
    };
    if (before === null) this.pages.push(page);
    else this.pages.unshift(page);
    return page;
  }

  draw(page, start) {
    const { line } = this.conversation;
    page.start = copyOf(start);
    page.state = copyOf(start);
    // Code and folded lists in it can have the focus.
    if (page.element.contains(document.activeElement)) this.scroller.focus({ preventScroll: true });
    page.element.replaceChildren();
    page.rows = new Rows(page.element, this.me);
    for (const row of rowsOfAll(page.state, page.entries, line)) page.rows.add(row);
  }

  /** Show up to a page more, above what is shown. */
  showOlder() {
    const { entries } = this.conversation;
    const from = Math.max(0, this.hidden - PAGE);
    const page = this.newPage(startOfRows(), this.pages[0]?.element ?? null);
    page.entries = entries.slice(from, this.hidden);
    this.hidden = from;
    this.draw(page, { ...startOfRows(), fences: fencesAt(entries, from) });
    // What was the first page may belong to the same day, sender or block of code.
    this.drawFrom(1, page.state);
    this.beginning();
  }

  /** Draw a page again after another state, and those below as far as that changes them. */
  drawFrom(index, state) {
    for (const page of this.pages.slice(index)) {
      if (isSame(page.start, state)) return;
      this.draw(page, state);
      state = page.state;
    }
  }

  /** Take earlier messages that have been fetched. */
  prepended(count) {
    this.hidden += count;
    const start = this.pages[0]?.start;
    if (start) {
      // Now it is known whether a block of code was open.
      const fences = fencesAt(this.conversation.entries, this.hidden);
      if (!isSame(start, { ...start, fences }))
        this.keepPlace(() => this.drawFrom(0, { ...start, fences }));
    }
    this.more();
  }

  /** Take it that the oldest entries were forgotten. */
  trimmed(count) {
    while (this.hidden < count && this.pages.length > 1) this.dropOldest();
    this.hidden = Math.max(0, this.hidden - count);
  }

  dropOldest() {
    const page = this.pages.shift();
    page.element.remove();
    this.hidden += page.entries.length;
  }

  /** Show or fetch more while the upper end is near. */
  more() {
    const { conversation, scroller } = this;
    if (conversation === null || scroller.scrollTop > NEAR) return;
    if (this.hidden > 0) {
      this.keepPlace(() => this.showOlder());
      requestAnimationFrame(() => this.more());
    } else if (conversation.isRoom && conversation.more) {
      this.chat.fetch(conversation);
    }
    this.beginning();
  }

  /** Change what stands above without moving what the reader sees. */
  keepPlace(change) {
    const { scroller } = this;
    if (this.following) {
      change();
      this.stick();
      return;
    }
    // At the very top, browsers keep the top in place, and not what is seen.
    if (scroller.scrollTop === 0) scroller.scrollTop = 1;
    const top = scroller.getBoundingClientRect().top;
    const seen = [...this.element.querySelectorAll('.m')].find(
      (each) => each.getBoundingClientRect().bottom > top,
    );
    const place = seen?.getBoundingClientRect().top;
    const page = seen?.closest('.page');
    change();
    if (!seen) return;
    // It may have been drawn again, or belong to a block of code now.
    const isNow = (each) => Number(each.dataset.offset) <= Number(seen.dataset.offset);
    const now = seen.isConnected ? seen : [...page.querySelectorAll('.m')].findLast(isNow);
    if (now) scroller.scrollTop += now.getBoundingClientRect().top - place;
    this.measure();
  }

  /** Say where the conversation begins, or that it is empty. */
  beginning() {
    this.start?.remove();
    this.start = null;
    const { conversation } = this;
    if (conversation.loading || conversation.more || this.hidden) return;
    const isEmpty = !conversation.entries.some((each) => each.kind === 'message');
    if (isEmpty && conversation.isRoom && !conversation.joined) return;
    const text = this.beginningText(isEmpty);
    this.start = make('p', { class: isEmpty ? 'empty' : 'began' }, text);
    this.element.prepend(this.start);
  }

  beginningText(isEmpty) {
    const { isRoom, title, first } = this.conversation;
    if (isEmpty) return `Nothing has been said ${isRoom ? `in #${title}` : `with ${title}`} yet.`;
    if (first > 1) return 'Earlier messages are not kept.';
    return isRoom ? `The beginning of #${title}` : 'The beginning of this conversation';
  }

  shorten() {
    while (this.pages.length > MOST_PAGES) this.dropOldest();
  }

  drawUnsent() {
    this.isUnsentOld = false;
    const { conversation } = this;
    const rows = new Rows(this.unsent, this.me);
    const own = this.chat.outbox.to(conversation.key);
    const last = this.pages.at(-1)?.state.sender;
    const shown = own
      .slice(0, MOST_UNSENT)
      .map((each, index) => rows.unsent(each, index > 0 || last === this.me, this.hooks));
    if (own.length > MOST_UNSENT) shown.push(rows.moreUnsent(own.length - MOST_UNSENT));
    replaceItems(this.unsent, shown, this.hooks.left);
    if (own.length && this.start?.className === 'empty') this.start.remove();
  }

  /** Take the line "New" away. */
  eraseLine() {
    this.element.querySelector('.new')?.remove();
  }

  // Scrolling.

  get isAtEnd() {
    const { scrollTop, scrollHeight, clientHeight } = this.scroller;
    return scrollHeight - scrollTop - clientHeight < 40;
  }

  stick() {
    this.scroller.scrollTop = this.scroller.scrollHeight;
    this.measure();
  }

  /** Keep how it stands. Return whether it has another size than before. */
  measure() {
    const { scrollTop, scrollHeight, clientHeight } = this.scroller;
    const size = `${scrollHeight} ${clientHeight}`;
    const isResized = size !== this.lastSize;
    Object.assign(this, { lastTop: scrollTop, lastSize: size });
    return isResized;
  }

  scrolled() {
    const { lastTop } = this;
    const isResized = this.measure();
    if (this.isAtEnd) {
      this.following = true;
      this.missed = 0;
      this.hooks.looked();
    } else if (this.following && isResized) {
      // The browser has scrolled: the window, the message box or a message has another size.
      this.stick();
    } else if (this.lastTop < lastTop - 1) {
      this.following = false;
    }
    this.drawJump();
    this.more();
  }

  drawJump() {
    const { jump, missed } = this;
    hide(jump, this.following, this.hooks.left);
    const text = missed ? `↓ ${counted(missed, 'new message')}` : '↓ Newest';
    if (jump.textContent !== text) jump.textContent = text;
  }

  /** Go to the newest message. */
  toEnd() {
    this.following = true;
    this.missed = 0;
    this.drawJump();
    this.stick();
    this.hooks.looked();
  }
}
