// Making elements. Texts become text nodes; nothing is ever parsed as HTML.

export const byId = (id) => document.getElementById(id);

/** Return a new element. An attribute that is false, null or undefined is left out. */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== false && value !== null && value !== undefined)
      element.setAttribute(name, value === true ? '' : value);
  }
  element.append(...children.filter((each) => each !== null && each !== undefined));
  return element;
}

/** Set an attribute, or take it away if the value is null. */
export function set(element, name, value) {
  if (value === null) element.removeAttribute(name);
  else if (element.getAttribute(name) !== String(value)) element.setAttribute(name, value);
}

/**
 * Replace what a list holds. The focus stays on what has the same data-key, or goes to the next one
 * that is still there (of the same kind, if a second word of the key tells one); if there is none,
 * left() finds it a place. A browser would drop it.
 */
export function replaceItems(list, items, left) {
  const keyed = () => [...list.querySelectorAll('[data-key]')];
  const focused = list.contains(document.activeElement) && document.activeElement.dataset.key;
  const keys = keyed().map((each) => each.dataset.key);
  list.replaceChildren(...items);
  if (!focused) return;
  const kindOf = (key) => key.split(' ')[1];
  const wanted = keys.slice(keys.indexOf(focused)).filter((key) => kindOf(key) === kindOf(focused));
  const now = new Map(keyed().map((each) => [each.dataset.key, each]));
  const next = wanted.map((key) => now.get(key)).find(Boolean);
  if (next) next.focus();
  else left();
}

/** Hide an element. If the focus was in it, left() finds that a place. */
export function hide(element, isHidden, left) {
  const hadFocus = isHidden && element.contains(document.activeElement);
  element.hidden = isHidden;
  if (hadFocus) left();
}

/** Return an element for one who reads with a screen reader. */
export const spoken = (text) => make('span', { class: 'sr' }, text);

/** Do something before the next frame, once, however often it is asked for. */
export function oncePerFrame(action) {
  let frame = 0;
  return () => {
    frame ||= requestAnimationFrame(() => {
      frame = 0;
      action();
    });
  };
}
