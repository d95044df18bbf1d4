// The connection to the server: a WebSocket, and when to try again.
//
// It begins in "waiting". Every attempt is "connecting" until the server has sent its welcome; then
// it is "open", and "probing" while it may be dead. After its end comes "waiting", for a time with
// jitter that grows with each attempt that failed; or "stopped", if the server has said that coming
// back is of no use.

import { REASONS } from './reasons.js';

const STEPS = {
  waiting: { attempt: 'connecting', stop: 'stopped' },
  connecting: { welcome: 'open', lost: 'waiting', stop: 'stopped' },
  open: { doubt: 'probing', lost: 'waiting', stop: 'stopped' },
  probing: { answer: 'open', lost: 'waiting', stop: 'stopped' },
  stopped: { attempt: 'connecting' },
};

const FIRST = 200; // milliseconds; as policy/backoff.py
const LONGEST = 30_000;

// Close codes after which coming back is of no use, if the server has told no reason: everything
// went as it should (1000), or it would go wrong again (RFC 6455, 7.4.1).
const FINAL = new Set([1000, 1002, 1003, 1007, 1008, 1009, 1010]);

const OPENING = 10_000; // milliseconds until an attempt is given up
// Milliseconds of silence before a ping. Where nobody looks, it is the heartbeat of the welcome.
const WATCHED = 20_000; // while somebody looks at the page
const ASKED = 5_000; // after a request, since each has an answer
const DOUBT = 3_000; // milliseconds without an answer to a ping until that is shown
const ANSWERING = 10_000; // milliseconds until a ping has to be answered
const SLEPT = 5_000; // milliseconds that a timer may be late

/** Return the milliseconds to wait before an attempt; the first is 1. As in policy/backoff.py. */
export const delayOf = (attempt, random) =>
  FIRST + random * (Math.min(LONGEST, FIRST * 2 ** attempt) - FIRST);

export class Connection {
  /**
   * @param {string} url
   * @param world - open(url) makes a WebSocket; now(), random(), later(f, ms), cancel(timer);
   *     isSeen(): whether somebody may be looking at the page
   * @param hooks - opened(): say hello; received(message); changed(state)
   */
  constructor(url, world, hooks) {
    Object.assign(this, { url, world, hooks });
    this.state = 'waiting';
    this.why = ''; // a sentence, for people
    this.lostAt = null; // when it was open last; null before it has ever been
    this.retryAt = null;
    this.heartbeat = 45_000;
    this.attempts = 0;
    this.goodbye = null;
    this.socket = null;
    this.timer = null;
    this.dueAt = Infinity; // when the timer ends
    this.isAsking = false; // whether a ping is not answered
    this.isAskedAgain = false;
  }

  /** Whether there is a connection, as far as is known. */
  get isUp() {
    return this.state === 'open' || this.state === 'probing';
  }

  step(name) {
    const next = STEPS[this.state][name];
    if (next === undefined) throw new Error(`${name} in ${this.state}`);
    this.state = next;
    this.hooks.changed(next);
  }

  /** Connect, now. Does nothing while there is a connection. */
  start() {
    if (this.state === 'connecting' || this.isUp) return;
    this.setTimer(() => this.drop('The server does not answer.'), OPENING);
    this.goodbye = null;
    this.attempts += 1;
    this.retryAt = null;
    const socket = this.world.open(this.url);
    this.socket = socket;
    socket.onopen = () => this.hooks.opened();
    socket.onmessage = (event) => this.receive(event.data);
    socket.onclose = (event) => this.closed(event.code, event.reason);
    this.step('attempt');
  }

  /** Connect now rather than later, for example because the network is back. */
  hurry() {
    if (this.state === 'waiting') this.start();
    else if (this.isUp && !this.isAsking) this.ping();
  }

  /** Take it that there is no network. A server on this machine answers all the same. */
  suspect() {
    if (this.state !== 'open') return;
    if (!this.isAsking) this.ping();
    this.doubt();
  }

  /** End the connection, and do not come back. */
  stop(why) {
    this.forget();
    this.why = why;
    if (this.isUp) this.lostAt = this.world.now();
    if (this.state !== 'stopped') this.step('stop');
  }

  /** Send a message. A message to no connection is lost: the chat sends it again. */
  send(message) {
    if (this.socket?.readyState !== 1) return;
    this.socket.send(JSON.stringify(message));
    const isRequest = message.type !== 'ping' && message.type !== 'pong';
    // A later one does not put it off.
    const isSooner = this.world.now() + ASKED < this.dueAt;
    if (isRequest && this.isUp && !this.isAsking && isSooner)
      this.setTimer(() => this.ping(), ASKED);
  }

  receive(data) {
    let message;
    try {
      message = JSON.parse(data);
    } catch {
      return this.stop('What this server sends is not understood.');
    }
    if (message.type === 'ping') this.send({ type: 'pong' });
    if (message.type === 'goodbye') this.goodbye = message;
    if (message.type === 'welcome') {
      this.heartbeat = message.heartbeat * 1000;
      this.attempts = 0;
      this.why = '';
      this.step('welcome');
    }
    if (this.isUp) this.listen();
    return this.hooks.received(message);
  }

  // A browser answers the protocol's pings by itself and shows them to nobody. So this asks with a
  // ping of its own, when nothing has been heard for some time.
  listen() {
    this.isAsking = this.isAskedAgain = false;
    if (this.state === 'probing') this.step('answer');
    const most = this.world.isSeen() ? WATCHED : Infinity;
    this.setTimer(() => this.ping(), Math.min(this.heartbeat, most));
  }

  ping() {
    this.isAsking = true;
    this.send({ type: 'ping' });
    // Where nobody looks, browsers let timers end once a minute, so one has to do.
    if (this.world.isSeen() && this.state === 'open') this.setTimer(() => this.doubt(), DOUBT);
    else this.giveUpIn(ANSWERING);
  }

  /** Show that a ping is not answered. */
  doubt() {
    this.step('doubt');
    this.giveUpIn(ANSWERING - DOUBT);
  }

  giveUpIn(milliseconds) {
    const due = this.world.now() + milliseconds;
    this.setTimer(() => {
      // If this page slept, the answer may be behind the timer.
      const hasSlept = this.world.now() - due > SLEPT;
      if (!hasSlept || this.isAskedAgain) return this.drop('The server does not answer.');
      this.isAskedAgain = true;
      return this.ping();
    }, milliseconds);
  }

  /** Give a connection up that may be dead: its close may never be told. */
  drop(why) {
    this.forget();
    this.lost(why);
  }

  closed(code, reason) {
    this.forget();
    const [retry, text] = this.verdict(code, reason);
    if (!retry) this.stop(text || 'The server has closed the connection.');
    else
      this.lost(
        text ||
          (this.isUp ? 'The connection was lost.' : 'The server cannot be reached.'),
      );
  }

  /** Return whether coming back is of use, and why the connection was closed, if that was told. */
  verdict(code, reason) {
    if (this.goodbye !== null) return [this.goodbye.retry, this.goodbye.text];
    if (Object.hasOwn(REASONS, reason)) return REASONS[reason];
    return [!FINAL.has(code), ''];
  }

  lost(why) {
    const wait = delayOf(Math.max(1, this.attempts), this.world.random());
    if (this.isUp) this.lostAt = this.world.now();
    this.why = why;
    this.retryAt = this.world.now() + wait;
    this.setTimer(() => this.start(), wait);
    this.step('lost');
  }

  forget() {
    const { socket } = this;
    this.setTimer(null);
    this.isAsking = this.isAskedAgain = false;
    this.socket = null;
    if (socket === null) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    if (socket.readyState < 2) socket.close(1000);
  }

  setTimer(action, milliseconds) {
    if (this.timer !== null) this.world.cancel(this.timer);
    this.timer = action && this.world.later(action, milliseconds);
    this.dueAt = action ? this.world.now() + milliseconds : Infinity;
  }
}
