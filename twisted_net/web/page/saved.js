// What survives a reload, and what survives the browser.
//
// A tab's own: the session, the rooms with the offsets from which it goes on, read marks, private
// conversations, and messages that are not sent. Two tabs must not share a session: the server
// closes the older connection of the two. All tabs': the name, the names of the rooms, settings.

const TAB = 'netchat.tab';
export const BROWSER = 'netchat.browser';
const OPEN = 'netchat.open';
const VERSION = 1;
const DOUBTFUL = 'this tab is a copy or was restored, and it may be sent already';

/** Return one of the browser's storages; null where the reader has forbidden it. */
export function storageOrNull(name) {
  try {
    return window[name];
  } catch {
    return null;
  }
}

export class Saved {
  /** @param tab, browser - storages as sessionStorage and localStorage; either may fail */
  constructor(tab, browser) {
    Object.assign(this, { tab, browser });
  }

  /**
   * Return what a page begins with.
   *
   * A tab that was duplicated has the other's session, which is in use, so it begins one of its
   * own. While a page is open its storage says so, and the page takes that back when it is left.
   * After a crash it still stands there. What was not acked may be sent, by the other tab or
   * before the crash, and another session cannot tell: so it is the reader who decides.
   */
  load() {
    const browser = read(this.browser, BROWSER);
    const tab = read(this.tab, TAB);
    const shared = {
      wishes: browser.wishes ?? '',
      ignored: browser.ignored ?? [],
      notify: browser.notify ?? false,
    };
    const rooms = (browser.rooms ?? []).filter((each) => typeof each === 'string');
    if (tab.rooms === undefined) return { ...shared, names: rooms };
    const isCopy = get(this.tab, OPEN) !== null;
    const doubtful = (tab.unsent ?? []).map((each) => ({
      ...each,
      state: 'failed',
      why: DOUBTFUL,
    }));
    const own = isCopy ? { session: '', nick: '', unsent: doubtful } : {};
    return {
      ...tab,
      wishes: tab.wishes || shared.wishes,
      ignored: shared.ignored,
      notify: shared.notify,
      ...own,
      names: [],
    };
  }

  /** Return the names that are ignored, in whichever tab that was said. */
  ignored() {
    return read(this.browser, BROWSER).ignored ?? [];
  }

  save(chat, settings) {
    const { rooms, ignored } = chat;
    const { wishes } = chat.entrance;
    const state = { version: VERSION, ...chat.toJSON() };
    // Where the rooms go on, and what is not sent, matters more than old private messages.
    if (!write(this.tab, TAB, state)) {
      const talks = state.talks.map((each) => ({ ...each, entries: [] }));
      write(this.tab, TAB, { ...state, talks });
    }
    write(this.browser, BROWSER, {
      version: VERSION,
      wishes,
      rooms: [...rooms.keys()],
      ignored: [...ignored],
      ...settings,
    });
  }

  /** Say that the page is open, or that it is left. */
  mark(isOpen) {
    try {
      if (isOpen) this.tab.setItem(OPEN, '1');
      else this.tab.removeItem(OPEN);
    } catch {
      /* without storage, nothing survives */
    }
  }
}

function get(storage, key) {
  try {
    return storage.getItem(key);
  } catch {
    return null; // storage may be forbidden
  }
}

function read(storage, key) {
  try {
    const found = JSON.parse(get(storage, key));
    return found?.version === VERSION ? found : {};
  } catch {
    return {};
  }
}

function write(storage, key, value) {
  try {
    storage.setItem(key, JSON.stringify(value));
    return true;
  } catch {
    return false; // full or forbidden: the page works, and forgets
  }
}
