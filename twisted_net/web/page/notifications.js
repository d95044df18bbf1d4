// Notifications of the desktop, once the reader has asked for them; and what is read out.

import { byId } from './dom.js';

/** Notifications for mentions and private messages that the reader does not see. */
export class Notifications {
  /** @param hooks - open(key), changed() */
  constructor(isOn, hooks) {
    this.hooks = hooks;
    this.button = byId('notify');
    // Browsers have none where the page came without TLS, except from this machine.
    this.button.hidden = !('Notification' in window) || !window.isSecureContext;
    this.isOn = isOn && !this.button.hidden && Notification.permission === 'granted';
    this.button.addEventListener('click', () => this.toggle());
    this.draw();
  }

  draw() {
    this.button.setAttribute('aria-pressed', String(this.isOn));
  }

  async toggle() {
    this.isOn = !this.isOn && (await Notification.requestPermission()) === 'granted';
    this.draw();
    this.hooks.changed();
  }

  tell(conversation, { from, text }) {
    if (!this.isOn) return;
    const title = conversation.isRoom ? `${from} in #${conversation.title}` : from;
    let shown;
    try {
      shown = new Notification(title, {
        body: text.slice(0, 200),
        tag: conversation.key,
        icon: 'icon.svg',
      });
    } catch {
      this.isOn = false; // Chrome for Android has them for service workers alone
      this.button.hidden = true;
      this.draw();
      this.hooks.changed();
      return;
    }
    shown.onclick = () => {
      window.focus();
      this.hooks.open(conversation.key);
      shown.close();
    };
  }
}

const EVERY = 1000; // milliseconds between two lines
const MOST = 3; // lines that may wait; more are only counted

/** Reads messages out to users of screen readers: one line a second, and none of the past. */
export class Announcer {
  /** @param element - a polite live region; later(action, ms): as setTimeout */
  constructor(element, later = (action, milliseconds) => setTimeout(action, milliseconds)) {
    Object.assign(this, { element, later });
    this.waiting = [];
    this.isPausing = false;
  }

  say(line) {
    this.waiting.push(line);
    if (!this.isPausing) this.next();
  }

  next() {
    this.isPausing = this.waiting.length > 0;
    if (!this.isPausing) return;
    const { length } = this.waiting;
    this.element.textContent = length > MOST ? `${length} new messages` : this.waiting[0];
    this.waiting = length > MOST ? [] : this.waiting.slice(1);
    this.later(() => this.next(), EVERY);
  }
}
