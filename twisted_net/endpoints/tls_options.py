"""The options of ``nettls:`` that are about TLS."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from typing import Any

from twisted_net.tls.certificates import CertificateSettings
from twisted_net.tls.contexts import parse_tls_version
from twisted_net.tls.passphrases import (
    ENVIRONMENT,
    FILE,
    Passphrase,
    passphrase_from_environment,
    passphrase_from_file,
)
from twisted_net.wire.numbers import shorten

OPTION_OF_SETTING = {
    "cert": "cert",
    "key": "key",
    "tls-dir": "dir",
    "client-ca": "clientCA",
    "ticket-key": "ticketKey",
    FILE: "passphraseFile",
    ENVIRONMENT: "passphraseEnv",
}
"""The option of an endpoint string for what a ``CertificateError`` calls the setting at fault."""


def parse_yes_no(name: str, text: str) -> bool:
    """Parse an option that is on or off.

    :raises ValueError: it is neither ``yes`` nor ``no``; the message names the option.
    """
    if text not in ("yes", "no"):
        raise ValueError(f"{name}={shorten(text)}: must be yes or no")
    return text == "yes"


def _min_tls(name: str, text: str) -> str:
    try:
        return parse_tls_version(text)
    except ValueError as error:
        raise ValueError(f"{name}={shorten(text)}: {error}") from None


def _text(name: str, text: str) -> str:
    return text


_SETTINGS: dict[str, tuple[str, Callable[[str, str], Any]]] = {
    "clientCA": ("client_ca", _text),
    "optionalClientCertificate": ("optional_client_certificate", parse_yes_no),
    "minTLS": ("min_tls", _min_tls),
    "ticketKey": ("ticket_key", _text),
    "allowExpired": ("allow_expired", parse_yes_no),
}

TLS_OPTIONS = ("cert", "key", "dir", "passphraseFile", "passphraseEnv", *_SETTINGS)
"""All options that ``nettls:`` has and ``net:`` has not."""


def take_tls_options(
    options: MutableMapping[str, str],
) -> tuple[Passphrase | None, CertificateSettings]:
    """Remove the options about TLS, and return the passphrase of keys and the other settings.

    :raises ValueError: an invalid value; the message names it.
    """
    settings: Any = {}
    for name, (keyword, parse) in _SETTINGS.items():
        if name in options:
            settings[keyword] = parse(name, options.pop(name))
    if settings.get("optional_client_certificate") and "client_ca" not in settings:
        raise ValueError("optionalClientCertificate=yes: requires clientCA=")
    return _take_passphrase(options), settings


def _take_passphrase(options: MutableMapping[str, str]) -> Passphrase | None:
    file, name = options.pop("passphraseFile", None), options.pop("passphraseEnv", None)
    if file is not None and name is not None:
        raise ValueError("passphraseFile= and passphraseEnv=: only one of them can be given")
    if file is not None:
        return passphrase_from_file(file)
    return None if name is None else passphrase_from_environment(name)
