// The message box: several lines, completion, and taking back what has not been sent.

import { Choices } from './choices.js';
import { completionsAt, isWhole, withChoice } from './completion.js';
import { byId } from './dom.js';

export class Composer {
  /** @param hooks - enter(text): whether it was taken; known(): for completion; up() */
  constructor(hooks) {
    this.hooks = hooks;
    this.field = byId('text');
    this.found = null; // what is offered
    this.choices = new Choices(this.field, byId('complete'), (choice) => this.complete(choice));
    this.field.addEventListener('input', () => this.offer());
    this.field.addEventListener('blur', () => this.offerNothing());
    this.field.addEventListener('keydown', (event) => this.key(event));
    byId('say').addEventListener('submit', (event) => {
      event.preventDefault();
      this.enter();
      this.focus();
    });
  }

  focus() {
    this.field.focus();
  }

  get text() {
    return this.field.value;
  }

  set text(text) {
    this.field.value = text;
    this.field.setSelectionRange(text.length, text.length);
    this.grow();
  }

  /** Let the box have as many rows as it has lines, for browsers without field-sizing. */
  grow() {
    this.field.rows = Math.min(8, this.text.split('\n').length);
  }

  enter() {
    const { text } = this;
    this.offerNothing();
    if (!text.trim()) return;
    this.text = ''; // first, since a command may go to a conversation with a draft of its own
    if (!this.hooks.enter(text)) this.text = text;
  }

  offer(isAsked = false) {
    this.grow();
    const { value, selectionStart, selectionEnd } = this.field;
    this.found =
      selectionStart === selectionEnd
        ? completionsAt(value, selectionStart, this.hooks.known(), isAsked)
        : null;
    const choices = this.found?.choices ?? [];
    // A word that is complete needs no more help; Tab adds the space, if one belongs there.
    const isOver = (choice) =>
      isAsked ? choice.insert === this.word : isWhole(value, this.found, choice);
    this.choices.show(choices.length === 1 && isOver(choices[0]) ? [] : choices);
    return this.choices.isOpen;
  }

  /** The word that is being completed. */
  get word() {
    return this.text.slice(this.found.from, this.found.to);
  }

  offerNothing() {
    this.found = null;
    this.choices.show([]);
  }

  complete(choice) {
    const { text, caret } = withChoice(this.text, this.found, choice);
    this.field.value = text;
    this.field.setSelectionRange(caret, caret);
    this.grow();
    this.offerNothing();
  }

  key(event) {
    if (event.isComposing || event.ctrlKey || event.metaKey || event.altKey) return;
    const action = this.choices.isOpen ? this.choiceKey(event) : this.plainKey(event);
    if (action) event.preventDefault();
  }

  /** Return whether the key was for the list of choices. */
  choiceKey(event) {
    switch (event.key) {
      case 'ArrowDown':
        this.choices.move(1);
        return true;
      case 'ArrowUp':
        this.choices.move(-1);
        return true;
      case 'Escape':
        this.offerNothing();
        event.stopPropagation();
        return true;
      case 'Tab':
        if (event.shiftKey) return false;
        this.choices.takeSelected();
        return true;
      case 'Enter':
        if (event.shiftKey) return false;
        if (isWhole(this.text, this.found, this.choices.choice)) this.enter();
        else this.choices.takeSelected();
        return true;
      default:
        return false;
    }
  }

  plainKey(event) {
    if (event.key === 'Enter' && !event.shiftKey) {
      this.enter();
      return true;
    }
    // Without a word to complete, Tab moves on, or the keyboard could not leave the box.
    if (event.key === 'Tab' && !event.shiftKey) return this.completeWord();
    if (event.key === 'ArrowUp' && this.text === '') {
      const text = this.hooks.up();
      if (text !== null) this.text = text;
      return text !== null;
    }
    return false;
  }

  completeWord() {
    if (!this.offer(true)) return false;
    if (this.choices.choices.length === 1) this.choices.takeSelected();
    return true;
  }
}
