// How the reader comes in: the session, the name and the account.

const MOST_NAMES = 20; // that are tried one after another, if they are taken

// Why nobody can log in here, by what is known of it.
const WHY_NOT = {
  '': 'There is no connection yet that could tell whether one can log in.',
  no: 'There are no accounts here.',
  tls: 'Passwords are taken over TLS only: open this page at an https address.',
  yes: '',
};

export class Entrance {
  /** @param world - send(message), emit(event); saved - what toJSON() gave */
  constructor(world, saved) {
    this.world = world;
    this.nick = saved.nick ?? ''; // as the server has confirmed it
    this.wishes = saved.wishes ?? ''; // the name that the reader has chosen
    this.session = saved.session ?? '';
    this.account = '';
    this.accounts = ''; // what is known of logging in: "", "no", "tls" or "yes"
    this.credentials = null; // never saved
    this.earlier = null; // those of the account, while others are tried
    this.isIn = false; // whether this connection has had its welcome
    this.isOutside = false; // whether the server wants a login that it does not have
    this.rejected = 0; // names that were taken, on this connection
    this.began = ''; // the name that the reader had chosen when this connection said hello
  }

  toJSON() {
    const { nick, wishes, session } = this;
    return { nick, wishes, session };
  }

  /** Say hello on a new connection. */
  begin() {
    this.isIn = false;
    this.rejected = 0;
    this.began = this.wishes;
    if (this.credentials) this.askForAccounts();
    else this.hello(this.wishes || (this.session && this.nick));
  }

  /** Why one cannot log in; empty if one can. */
  get whyNot() {
    return WHY_NOT[this.accounts];
  }

  /**
   * Ask whether there are accounts, and whether this connection is secret enough for a password.
   * Nobody can log in without one; what is missing tells. No password goes on its way before.
   */
  askForAccounts() {
    if (this.isIn) this.world.send({ type: 'login', user: '', password: '', id: 'accounts' });
    else this.world.send({ type: 'hello', user: '?', id: 'accounts' });
  }

  /** Take the answer. */
  accountsAre(code) {
    this.accounts = { missing: 'yes', 'not-secret': 'tls' }[code] ?? 'no';
    this.world.emit({ on: 'me' });
    if (this.isIn) return;
    if (this.credentials && this.accounts === 'yes')
      this.hello(this.wishes || (this.session && this.nick));
    else this.askToLogIn('');
  }

  hello(nick) {
    const fields = { nick, session: this.session, ...this.credentials };
    const given = Object.entries(fields).filter(([, value]) => value);
    this.world.send({ type: 'hello', ...Object.fromEntries(given) });
  }

  welcomed({ nick, session }) {
    Object.assign(this, { nick, session, isIn: true, account: this.credentials?.user ?? '' });
    this.isOutside = false;
    if (!this.account) this.askForAccounts();
    // It may have been typed after the hello.
    if (this.wishes && this.wishes !== this.began) this.rename(this.wishes, true);
    this.world.emit({ on: 'me' });
  }

  named({ nick }) {
    if (this.account === '' && this.credentials !== null) this.account = this.credentials.user;
    Object.assign(this, { nick, wishes: nick });
    this.world.emit({ on: 'me' });
  }

  rename(nick, isOnline) {
    this.wishes = nick;
    if (isOnline) this.world.send({ type: 'nick', nick, id: 'nick' });
  }

  /** Log in, or come in with an account. */
  login(user, password) {
    this.earlier = this.account ? this.credentials : null;
    this.credentials = { user, password };
    if (this.isIn) this.world.send({ type: 'login', user, password, id: 'login' });
    else this.hello('');
  }

  /** Take an error. Return whether it was about coming in. */
  refused({ id, code, text, field }) {
    if (id === 'accounts') {
      this.accountsAre(code);
      return true;
    }
    if (id === 'login' && this.earlier !== null) {
      this.credentials = this.earlier; // we are still logged in
      return false;
    }
    if (code === 'login-first' && !this.isIn) {
      this.askForAccounts();
      return true;
    }
    if (code === 'login-failed' || id === 'login') {
      this.askToLogIn(text);
      return true;
    }
    if (this.isIn) {
      if (id === 'nick') this.wishes = this.nick;
      return false;
    }
    this.notLetIn(code, text, field);
    return true;
  }

  notLetIn(code, text, field) {
    if (code === 'login-late') return; // a goodbye follows; what was chosen is of use all the same
    if (code === 'taken' && this.rejected < MOST_NAMES) {
      this.rejected += 1;
      const name = [...(this.wishes || this.nick)].slice(0, 20).join('');
      this.hello(`${name}-${this.rejected + 1}`);
    } else if (code === 'banned') {
      this.isOutside = false; // another login is of no use, and another name would only hide it
      this.world.emit({ on: 'banned', text });
    } else if (this.credentials) {
      this.askToLogIn(text);
    } else if (this.wishes || this.session) {
      // What was saved, or typed without a connection, is of no use here.
      if (field === 'session' || !this.wishes) this.session = '';
      else this.wishes = '';
      this.world.emit({ on: 'notice', text, isWrong: true });
      this.hello(this.wishes || (this.session && this.nick));
    } else {
      this.world.emit({ on: 'notice', text, isWrong: true });
    }
  }

  /** @param text - what went wrong; empty if nothing was tried */
  askToLogIn(text) {
    this.credentials = null;
    this.isOutside = !this.isIn;
    this.world.emit({ on: 'me' });
    this.world.emit({ on: 'login', text });
  }
}
