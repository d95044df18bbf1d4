"""Adds a member to the database of chat_accounts.py: ``python chat_accounts_add.py ann``."""

import hashlib
import secrets
import sqlite3
import sys
from contextlib import closing
from getpass import getpass

name, salt = sys.argv[1], secrets.token_bytes(16)
password = getpass() if sys.stdin.isatty() else input()
secret = hashlib.scrypt(password.encode(), salt=salt, n=1 << 14, r=8, p=1)
with closing(sqlite3.connect("members.db")) as db, db:
    db.execute("CREATE TABLE IF NOT EXISTS members (name TEXT PRIMARY KEY, salt, hash)")
    db.execute("INSERT OR REPLACE INTO members VALUES (?, ?, ?)", (name, salt, secret))
