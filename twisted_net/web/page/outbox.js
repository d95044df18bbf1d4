// The reader's own messages that the server has not acked: pending, or failed.
//
// Each has an id, which stays the same however often it is sent: the server takes it once.

const encoder = new TextEncoder();

export class Outbox {
  /** @param saved - the messages that an earlier page had */
  constructor(saved = []) {
    this.byId = new Map(saved.map((each) => [each.id, each])); // in the order of writing
  }

  /** All messages, the oldest first. */
  get messages() {
    return [...this.byId.values()];
  }

  toJSON() {
    return this.messages;
  }

  /** Return the messages to a conversation, the oldest first. */
  to(key) {
    return this.messages.filter((each) => each.key === key);
  }

  /**
   * Add a message: "pending", or "failed" if the server would refuse it.
   * @param {number} most - bytes that a request may have
   */
  add(message, most) {
    const own = { ...message, state: 'pending', sent: false, why: '' };
    this.fits(own, most);
    this.byId.set(own.id, own);
    return own;
  }

  /** Return whether a request may have so many bytes; if not, the message is "failed". */
  fits(own, most) {
    const { length } = encoder.encode(JSON.stringify(requestOf(own)));
    if (length > most) this.fail(own, `longer than ${most.toLocaleString('en')} bytes`);
    return length <= most;
  }

  find(id) {
    return this.byId.get(id) ?? null;
  }

  fail(own, why) {
    Object.assign(own, { state: 'failed', why: why.replace(/\.$/u, '') });
  }

  /** Take a message off the list, because it is acked. */
  take(id) {
    const own = this.find(id);
    this.byId.delete(id);
    return own;
  }

  /** Return whether a message may be taken back. One that was sent may be stored already. */
  isMine(own) {
    return own.state === 'failed' || !own.sent;
  }

  /** Return the last message to a conversation that may be taken back; null if there is none. */
  lastTo(key) {
    return this.to(key).findLast((each) => this.isMine(each)) ?? null;
  }

  /** Forget what was to be sent to a conversation. */
  drop(key) {
    for (const own of this.to(key)) this.byId.delete(own.id);
  }
}

/** Return the request that sends a message. */
export function requestOf({ id, key, to, text, action }) {
  // The schema has no actions in private.
  if (key[0] === '@') return { type: 'private', to, text: action ? `* ${text}` : text, id };
  return { type: 'message', room: key.slice(1), text, ...(action && { action }), id };
}

/** Return what has to be typed for a message. */
export const typedOf = ({ action, text }) => (action ? `/me ${text}` : text.replace(/^\//u, '//'));
