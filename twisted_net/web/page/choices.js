// A list of choices beside a field: the arrows move, Enter takes, the field keeps the focus.

import { make, set } from './dom.js';

export class Choices {
  /** @param take - called with the choice that was taken */
  constructor(field, list, take) {
    Object.assign(this, { field, list, take });
    this.choices = [];
    this.selected = 0;
    list.addEventListener('mousedown', (event) => event.preventDefault()); // the focus stays
    list.addEventListener('click', (event) => {
      const option = event.target.closest('[role=option]');
      if (option) take(this.choices[[...list.children].indexOf(option)]);
    });
  }

  get isOpen() {
    return this.choices.length > 0;
  }

  /** The choice that is selected. */
  get choice() {
    return this.choices[this.selected];
  }

  /** Show choices: objects with a label and a note. None hides the list. */
  show(choices) {
    this.choices = choices;
    this.list.replaceChildren(
      ...choices.map(({ label, note }, index) =>
        make(
          'li',
          { role: 'option', id: `${this.list.id}-${index}`, 'aria-selected': 'false' },
          make('b', {}, label),
          make('small', {}, note ?? ''),
        ),
      ),
    );
    this.list.hidden = choices.length === 0;
    this.select(0);
  }

  select(index) {
    this.selected = index;
    [...this.list.children].forEach((each, place) => set(each, 'aria-selected', place === index));
    const option = this.list.children[index];
    set(this.field, 'aria-activedescendant', option ? option.id : null);
    option?.scrollIntoView({ block: 'nearest' });
  }

  move(by) {
    const { length } = this.choices;
    if (length) this.select((this.selected + by + length) % length);
  }

  takeSelected() {
    if (this.isOpen) this.take(this.choice);
  }
}
