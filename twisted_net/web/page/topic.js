// The topic: one line under or beside the name, as long as there is room, and all of it on demand.

import { byId, oncePerFrame, set } from './dom.js';

export class Topic {
  constructor() {
    this.element = byId('topic');
    this.button = byId('topic-more');
    this.measureSoon = oncePerFrame(() => this.measure());
    this.button.addEventListener('click', () => this.toggle());
    this.element.addEventListener('click', (event) => {
      if (!this.button.hidden && !event.target.closest('a')) this.toggle();
    });
    new ResizeObserver(() => this.measureSoon()).observe(this.element);
  }

  get isOpen() {
    return this.button.getAttribute('aria-expanded') === 'true';
  }

  /** Show a topic; what was opened is closed if it is another. */
  show(nodes) {
    const { textContent } = this.element;
    this.element.replaceChildren(...nodes);
    if (this.element.textContent !== textContent) this.toggle(false);
    this.measureSoon();
  }

  toggle(isOpen = !this.isOpen) {
    set(this.button, 'aria-expanded', isOpen);
    this.element.classList.toggle('whole', isOpen);
    // A long one scrolls, so it has to be reachable by keys.
    set(this.element, 'tabindex', isOpen ? 0 : null);
    this.measureSoon();
  }

  /** Offer the rest of a topic that does not fit. */
  measure() {
    const { scrollWidth, clientWidth } = this.element;
    this.button.hidden = !this.isOpen && scrollWidth <= clientWidth;
  }
}
