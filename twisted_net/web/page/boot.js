// Loads the page again if one of its files has not come.
//
// The chat's port takes a silent connection for a person with a terminal, and greets it after a
// moment. A request that the network delays for longer gets the greeting for an answer, and is
// lost. This is a script of its own, and no module, so that it runs before the others are loaded.

(() => {
  const KEY = 'netchat.loads';
  const MOST = 5;
  const LATER = 300; // milliseconds, the first time
  let isFailing = false;

  /** Return how often the page was loaded in vain; Infinity without a storage that could end it. */
  function failures() {
    try {
      const count = Number(sessionStorage.getItem(KEY)) + 1;
      sessionStorage.setItem(KEY, String(count));
      return count;
    } catch {
      return Infinity;
    }
  }

  // This event does not bubble, so it is caught on its way down.
  function failed({ target }) {
    if (isFailing || !(target instanceof Element) || !target.matches('script, link')) return;
    isFailing = true;
    const count = failures();
    if (count <= MOST) setTimeout(() => location.reload(), LATER * count);
  }

  // All files have come, or failed, by then.
  function loaded() {
    removeEventListener('error', failed, true);
    if (isFailing) return;
    try {
      sessionStorage.removeItem(KEY);
    } catch {
      // there is none
    }
  }

  addEventListener('error', failed, true);
  addEventListener('load', loaded);
})();
