"""Completion of flags and their values in a shell.

zsh asks ``twistd`` itself, through the file ``_twisted`` that comes with zsh; for it, each service
describes its values (``twisted.python.usage.Completions``). bash has a file of its own::

    python -m twisted_net.services.completion > /etc/bash_completion.d/twistd
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from typing import Any

from twisted.python import usage

from twisted_net.policy.limits import OverflowPolicy
from twisted_net.services.help import FlagGroup

SERVICES = ("netchat", "netecho", "netidle")

_MODULES = {"netchat": "chat", "netecho": "echo", "netidle": "idle"}

CHOICES: Mapping[str, Sequence[str]] = {
    "log-ends": ("all", "notable"),
    "log-level": ("debug", "info", "warn", "error", "critical"),
    "log-format": ("text", "json"),
    "min-tls": ("1.2", "1.3"),
    "slow": tuple(policy.value for policy in OverflowPolicy),
}
"""The values of flags that have few."""

_PATHS = {"FILE": "file", "DIR": "directory"}  # what --help calls a value

_OF_TWISTD = {
    **dict.fromkeys(("logfile", "pidfile", "file", "python", "source", "profile"), "file"),
    **dict.fromkeys(("chroot", "rundir"), "directory"),
}

_BASH = """\
# Completion of twistd with netchat, netecho and netidle, for bash 4 or newer. Made by
# python -m twisted_net.services.completion

_twistd_netchat() {
    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}
    local service="" word flags
    # "--flag=value" is three words.
    if [[ $current == "=" ]]; then
        current=""
    elif [[ $previous == "=" ]]; then
        previous=${COMP_WORDS[COMP_CWORD - 2]}
    fi
    for word in "${COMP_WORDS[@]:1:COMP_CWORD - 1}"; do
        case $word in
            @SERVICES@) service=$word ;;
        esac
    done
    COMPREPLY=()
    case $service$previous in
@VALUES@
    esac
    case $service in
@FLAGS@
    esac
    COMPREPLY=($(compgen -W "$flags" -- "$current"))
}
complete -o bashdefault -o default -F _twistd_netchat twistd
"""


def shell_completions(groups: Sequence[FlagGroup], repeatable: Sequence[str]) -> Any:
    """Return what Twisted's completion for zsh has to know of a service.

    :param groups: all flags, with the names of their values.
    :param repeatable: flags that may be given several times.
    """
    actions = {flag: _action(flag, value) for flag, value in _values(groups)}
    return usage.Completions(multiUse=list(repeatable), optActions=actions)  # type: ignore[no-untyped-call]


def _values(groups: Sequence[FlagGroup]) -> Iterator[tuple[str, str]]:
    for group in groups:
        for flag, value in group.flags.items():
            if value:
                yield flag, value


def _action(flag: str, value: str) -> Any:
    if flag in CHOICES:
        return usage.CompleteList(CHOICES[flag], descr=value)  # type: ignore[no-untyped-call]
    match _PATHS.get(value):
        case "file":
            return usage.CompleteFiles(descr=value)  # type: ignore[no-untyped-call]
        case "directory":
            return usage.CompleteDirs(descr=value)  # type: ignore[no-untyped-call]
    return usage.Completer(descr=value)  # type: ignore[no-untyped-call]


def bash_completion() -> str:
    """Return the file for bash."""
    from twisted.scripts.twistd import ServerOptions  # type: ignore[attr-defined]  # of the platform

    values: list[str] = []
    flags: list[str] = []
    for service in SERVICES:
        options = import_module(f"twisted_net.services.{_MODULES[service]}").Options
        with_value = dict(_values(options.groups))
        kinds = {flag: _PATHS.get(value, "") for flag, value in with_value.items()}
        values += _value_cases(service, kinds)
        names = [flag for group in options.groups for flag in group.flags]
        flags.append(_flag_case(service, names, with_value))
    own = ServerOptions()  # type: ignore[no-untyped-call]
    with_value = {each[:-1]: "" for each in own.longOpt if each.endswith("=")}
    kinds = {flag: _OF_TWISTD.get(flag, "") for flag in with_value}
    values += _value_cases("", kinds)
    names = [each.rstrip("=") for each in own.longOpt if not each.startswith("_")]
    flags.append(_flag_case("", sorted(names), with_value, SERVICES))
    return (
        _BASH.replace("@SERVICES@", " | ".join(SERVICES))
        .replace("@VALUES@", "\n".join(values))
        .replace("@FLAGS@", "\n".join(flags))
    )


def _value_cases(service: str, kinds: Mapping[str, str]) -> Iterator[str]:
    """Give cases for what comes after a flag."""
    by_command: dict[str, list[str]] = {}
    for flag, kind in kinds.items():
        if service and flag in CHOICES:
            command = f'COMPREPLY=($(compgen -W "{" ".join(CHOICES[flag])}" -- "$current"))'
        elif kind:
            # Names with spaces stay whole, and bash quotes them.
            letter = "d" if kind == "directory" else "f"
            command = (
                f'compopt -o filenames; mapfile -t COMPREPLY < <(compgen -{letter} -- "$current")'
            )
        else:
            command = ":"
        by_command.setdefault(command, []).append(f"{service}--{flag}")
    for command, patterns in by_command.items():
        yield f"        {' | '.join(patterns)})\n            {command}\n            return ;;"


def _flag_case(
    service: str, names: Sequence[str], with_value: Mapping[str, str], more: Sequence[str] = ()
) -> str:
    words = " ".join([*more, *(f"--{name}" for name in names)])
    return f'        {service or "*"}) flags="{words}" ;;'


if __name__ == "__main__":
    sys.stdout.write(bash_completion())
