// Logging in: the dialog, and what the page says where there is no way in, or no login.

export class Login {
  /** @param parts - chat, panels, banner, dialogs */
  constructor(parts) {
    Object.assign(this, parts);
    this.isOffered = false; // once by itself; then it is for the reader to ask for it
  }

  /** Ask for a login, without which the server lets nobody in; or again, since one has failed. */
  wanted(text) {
    const { isOutside, whyNot } = this.chat.entrance;
    if (isOutside) this.drawOutside();
    if (text) this.dialogs.openLogin(text, true);
    else if (!this.isOffered && !whyNot) this.open();
    this.isOffered = true;
  }

  /** Say that the reader is not in, rather than that the page is connecting. */
  drawOutside() {
    const { whyNot } = this.chat.entrance;
    this.panels.drawState('connecting', 'Not logged in');
    const parts = [['You are not logged in.'], ` ${whyNot || 'This server requires a login.'}`];
    this.banner.show(parts, {
      isBad: Boolean(whyNot),
      kind: 'offline',
      label: whyNot ? '' : 'Log in',
      action: () => this.open(),
    });
  }

  /** Open the dialog; or say why a password would be of no use. */
  open() {
    const { isOutside, whyNot } = this.chat.entrance;
    if (whyNot) this.chat.notice(whyNot, true);
    else this.dialogs.openLogin(isOutside ? 'This server requires a login.' : '');
  }
}
