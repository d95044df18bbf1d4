// Keys that work everywhere on the page.

/**
 * @param actions - rooms(), next(), previous(), newest(): whether each did something; isBusy():
 *     whether a dialog is open, which has keys of its own; type(): the message box takes the focus
 */
export function listenToKeys(target, actions) {
  target.addEventListener('keydown', (event) => {
    const name = nameOf(event);
    if (name === 'Ctrl K') {
      event.preventDefault(); // browsers have a use for it too
      actions.rooms();
      return;
    }
    if (actions.isBusy()) return;
    const action = { 'Alt ArrowUp': actions.previous, 'Alt ArrowDown': actions.next, Escape: actions.newest }[name];
    if (action) {
      event.preventDefault();
      action();
    } else if (isTyped(event)) {
      actions.type();
    }
  });
}

/** Return the name of a key with its modifiers; Cmd counts as Ctrl. */
export function nameOf({ key, ctrlKey, metaKey, altKey, shiftKey }) {
  const names = [(ctrlKey || metaKey) && 'Ctrl', altKey && 'Alt', shiftKey && key.length > 1 && 'Shift'];
  return [...names.filter(Boolean), key.length === 1 ? key.toUpperCase() : key].join(' ');
}

/** Return whether a key is a letter that somebody types beside any field or button. */
function isTyped({ key, ctrlKey, metaKey, altKey, target }) {
  if (ctrlKey || metaKey || altKey || key.length !== 1 || key === ' ') return false;
  return !target.closest?.('input, textarea, select, dialog');
}
