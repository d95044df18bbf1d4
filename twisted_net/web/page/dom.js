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
