"""The program ``netchat-passwd``: adds, changes and deletes accounts of ``--auth file:FILE``."""

from __future__ import annotations

import argparse
import getpass
import os
import sys
from collections.abc import Callable, Sequence

from twisted_net.accounts.hashes import PREFIX, SALT_BYTES, PasswordHash
from twisted_net.accounts.password_file import (
    PasswordFileError,
    account_line,
    name_of,
    read_accounts,
    rewrite,
)

_DESCRIPTION = (
    "Add an account to a file for netchat --auth file:FILE, or change its password. The password "
    "is asked for twice, or read from the first line of standard input if that is not a terminal. "
    "A new file may be read by its owner only."
)


class _Failed(Exception):
    """The program cannot do it. The text says why."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program, and return its exit status: 0, 1 for a failure, 2 for a wrong command."""
    flags = _parse(arguments)
    try:
        print(flags.action(flags.file, flags.name))
    except (PasswordFileError, _Failed) as error:
        print(f"netchat-passwd: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nnetchat-passwd: nothing was changed", file=sys.stderr)
        return 130
    return 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="netchat-passwd", description=_DESCRIPTION)
    parser.add_argument("file", metavar="FILE", help="the file of accounts")
    parser.add_argument("name", metavar="NAME", nargs="?", default="", help="the account")
    other = parser.add_mutually_exclusive_group()
    other.add_argument(
        *("-D", "--delete"),
        dest="action",
        action="store_const",
        const=delete_account,
        default=set_password,
        help="delete the account",
    )
    other.add_argument(
        *("--hash",),
        dest="action",
        action="store_const",
        const=hash_all,
        help="hash all passwords that are in plain text; takes no NAME",
    )
    flags = parser.parse_args(arguments)
    if bool(flags.name) == (flags.action is hash_all):
        parser.error("--hash takes no NAME" if flags.name else "NAME is missing")
    return flags


def set_password(path: str, name: str) -> str:
    """Add an account, or change its password. Return what was done."""
    key = _check_name(name)
    if os.path.lexists(path):
        read_accounts(path)  # asks for no password in vain, and never spoils another kind of file
    line = account_line(key, PasswordHash.make(_ask(name), os.urandom(SALT_BYTES)))
    known = False

    def change(lines: list[bytes]) -> list[bytes]:
        nonlocal known
        places = [number for number, each in enumerate(lines) if name_of(each) == key]
        known = bool(places)
        kept = [each for each in lines if name_of(each) != key]
        kept.insert(places[0] if places else len(kept), line)
        return kept

    rewrite(path, change)
    return f"{path}: {name}: {'the password was changed' if known else 'added'}"


def delete_account(path: str, name: str) -> str:
    """Delete an account. Return what was done."""
    key = _check_name(name)

    def change(lines: list[bytes]) -> list[bytes]:
        kept = [each for each in lines if name_of(each) != key]
        if len(kept) == len(lines):
            raise _Failed(f"{path}: {name}: there is no such account")
        return kept

    _must_exist(path)
    rewrite(path, change)
    return f"{path}: {name}: deleted"


def hash_all(path: str, _: str) -> str:
    """Hash all passwords that are in plain text. Return what was done."""
    count = 0

    def change(lines: list[bytes]) -> list[bytes]:
        nonlocal count
        changed = []
        for line in lines:
            name, _, secret = line.rstrip().partition(b":")
            if name_of(line) and not secret.startswith(PREFIX.encode()):
                count += 1
                line = account_line(name, PasswordHash.make(secret, os.urandom(SALT_BYTES)))
            changed.append(line)
        return changed

    _must_exist(path)
    rewrite(path, change)
    return f"{path}: {count} password{'s were' if count != 1 else ' was'} hashed"


def _must_exist(path: str) -> None:
    read_accounts(path)  # raises an error that has the line, if one is wrong


def _check_name(name: str) -> bytes:
    if name.startswith("#"):
        raise _Failed(f"{name!r}: a name cannot begin with #")
    if ":" in name or not name.isprintable() or any(each.isspace() for each in name):
        raise _Failed(f"{name!r}: a name cannot have colons, spaces or control characters")
    try:
        return name.encode()
    except UnicodeEncodeError:
        raise _Failed(f"{name!r}: a name must be UTF-8 text") from None


def _ask(name: str) -> bytes:
    if sys.stdin is None:
        raise _Failed("the standard input is closed; it has no password")
    password = _prompted(name) if sys.stdin.isatty() else _piped()
    if not password:
        raise _Failed("the password is empty")
    return password


def _prompted(name: str, ask: Callable[[str], str] | None = None) -> bytes:
    ask = ask or getpass.getpass
    try:
        password = ask(f"Password of {name}: ")
        if password != ask("Again: "):
            raise _Failed("the two passwords differ")
        return password.encode()
    except EOFError:
        raise _Failed("the password is empty") from None
    except UnicodeEncodeError:
        raise _Failed("a password must be UTF-8 text") from None


def _piped() -> bytes:
    line = sys.stdin.buffer.readline().removesuffix(b"\n").removesuffix(b"\r")
    try:
        line.decode()
    except UnicodeDecodeError:
        raise _Failed("a password must be UTF-8 text") from None
    return line


if __name__ == "__main__":
    sys.exit(main())
