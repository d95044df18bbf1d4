// Keys that work everywhere on the page.

/**
 * @param actions - rooms(), next(), previous(), newest(); isBusy():
 *     whether a dialog is open, which has keys of its own; type(): the message box takes the focus;
 *     isFree(element): whether that has no use for letters itself
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
    const action = {
      'Alt ArrowUp': actions.previous,
      'Alt ArrowDown': actions.next,
      Escape: actions.newest,
    }[name];
    if (action) {
      event.preventDefault();
      action();
    } else if (isTyped(event) && actions.isFree(event.target)) {
      actions.type();
    }
  });
}

/** Return the name of a key with its modifiers; Cmd counts as Ctrl. */
export function nameOf({ key, ctrlKey, metaKey, altKey, shiftKey }) {
  const names = [
    (ctrlKey || metaKey) && 'Ctrl',
    altKey && 'Alt',
    shiftKey && key.length > 1 && 'Shift',
  ];
  return [...names.filter(Boolean), key.length === 1 ? key.toUpperCase() : key].join(' ');
}

/** Return whether a key is a letter or the like, which somebody types. */
const isTyped = ({ key, ctrlKey, metaKey, altKey }) =>
  !ctrlKey && !metaKey && !altKey && key.length === 1 && key !== ' ';
