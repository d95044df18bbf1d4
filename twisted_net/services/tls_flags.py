"""The flags about TLS: which belong together, and the certificates that they describe."""

from __future__ import annotations

from typing import NoReturn

from twisted.logger import Logger
from twisted.python import usage

from twisted_net.services.configurable import ConfigurableOptions
from twisted_net.services.starting import StartError, format_endpoint_error
from twisted_net.tls.certificates import Certificates, CertificateSettings
from twisted_net.tls.key_pairs import CertificateError
from twisted_net.tls.passphrases import (
    ENVIRONMENT,
    FILE,
    Passphrase,
    passphrase_from_environment,
    passphrase_from_file,
)

_PAIR = ("cert", "key", "tls-dir")
_FILES = ("client-ca", "keylog", FILE, ENVIRONMENT, "ticket-key")
_SWITCHES = ("self-signed", "optional-client-certificate", "allow-expired")

_log = Logger()


def check_tls_flags(options: ConfigurableOptions) -> None:
    """Check that the flags about TLS suit each other.

    :raises usage.UsageError: they do not; the message names the flag, its value and the reason.
    """
    given = [flag for flag in _PAIR if options[flag] is not None]
    if options["tls-port"] is None:
        for flag in (*given, *_FILES):
            if options[flag] is not None:
                _refuse(options, flag, "requires --tls-port")
        for flag in _SWITCHES:
            if options[flag]:
                _refuse(options, flag, "requires --tls-port")
        if options["min-tls"] != "1.2":
            _refuse(options, "min-tls", "requires --tls-port")
        return
    if options["self-signed"]:
        if given:
            _refuse(options, "self-signed", f"cannot be used with --{given[0]}")
        for flag in ("client-ca", FILE, ENVIRONMENT):
            if options[flag] is not None:
                _refuse(options, flag, "requires --cert and --key, or --tls-dir")
    elif options["tls-dir"] is not None:
        if len(given) > 1:
            _refuse(options, "tls-dir", f"cannot be used with --{given[0]}")
    elif len(given) < 2:
        missing = "--cert" if options["cert"] is None else "--key"
        _refuse(options, "tls-port", f"requires {missing}, --tls-dir or --self-signed")
    if options["optional-client-certificate"] and options["client-ca"] is None:
        _refuse(options, "optional-client-certificate", "requires --client-ca")
    if options[FILE] is not None and options[ENVIRONMENT] is not None:
        _refuse(options, FILE, f"cannot be used with --{ENVIRONMENT}")


def certificates_of(command: str, options: ConfigurableOptions) -> Certificates:
    """Return the certificates that the flags describe.

    :param command: the service's name, for the error.
    :raises StartError: a file cannot be used.
    """
    rules: CertificateSettings = {
        "client_ca": options["client-ca"],
        "optional_client_certificate": bool(options["optional-client-certificate"]),
        "keylog": options["keylog"],
        "min_tls": options["min-tls"],
        "ticket_key": options["ticket-key"],
        "allow_expired": bool(options["allow-expired"]),
    }
    passphrase = _passphrase(options)
    shared = options.shared_certificate
    if shared is not None:
        return Certificates.from_pem(*shared, **rules)
    try:
        if options["self-signed"]:
            return _self_signed(rules)
        if options["tls-dir"] is not None:
            return Certificates.from_directory(options["tls-dir"], passphrase=passphrase, **rules)
        return Certificates.from_files(
            options["cert"], options["key"], passphrase=passphrase, **rules
        )
    except CertificateError as error:
        # Name the flag's own value: the error has the absolute path.
        raise StartError(f"{command}: {options.spell(error.what)}: {error}") from None
    except MemoryError as error:
        why = format_endpoint_error(error)
        raise StartError(f"{command}: {options.spell('tls-port')}: {why}") from None


def _self_signed(rules: CertificateSettings) -> Certificates:
    certificates = Certificates.self_signed(**rules)
    (pair,) = certificates.pairs.values()
    _log.info("Self-signed certificate, SHA-256 {fingerprint}", fingerprint=pair.fingerprint)
    return certificates


def _passphrase(options: ConfigurableOptions) -> Passphrase | None:
    if options[FILE] is not None:
        return passphrase_from_file(options[FILE])
    name = options[ENVIRONMENT]
    return None if name is None else passphrase_from_environment(name)


def _refuse(options: ConfigurableOptions, flag: str, why: str) -> NoReturn:
    raise usage.UsageError(f"{options.spell(flag)}: {why}")
