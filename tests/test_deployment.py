"""Check the files in ``docs/deployment`` as far as their text goes.

:mod:`tests.live.test_deployment` runs them.
"""

from __future__ import annotations

import configparser
import re
import shlex
import textwrap
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.dockerfile import (
    DEPLOYMENT,
    build_context,
    container_command,
    health_check,
    instructions,
    last_stage,
    parse_dockerfile,
)
from twisted_net.services import chat
from twisted_net.services.live_flags import LIVE_FLAGS
from twisted_net.web.admin.access import PROBES

CHECKOUT = DEPLOYMENT.parent.parent


def parse_flags(words: list[str]) -> chat.Options:
    """Parse the flags of netchat, as ``twistd`` does.

    :raises StartError: one is wrong.
    """
    options = chat.Options()
    options.parseOptions(words)
    return options


def netchat_flags(words: list[str]) -> list[str]:
    """Return the flags after the service's name."""
    return words[words.index("netchat") + 1 :]


def read_unit(name: str) -> dict[str, dict[str, list[str]]]:
    """Return the sections of a unit, with all values of each setting in order."""
    text = re.sub(r"\\\n\s*", "", (DEPLOYMENT / name).read_text())
    found: dict[str, dict[str, list[str]]] = {}
    settings: dict[str, list[str]] = {}
    for line in text.splitlines():
        if line.startswith("["):
            settings = found.setdefault(line.strip("[]"), {})
        elif line and not line.startswith("#"):
            key, _, value = line.partition("=")
            settings.setdefault(key, []).append(value)
    return found


class DockerfileTests(SynchronousTestCase):
    """The rules of ``hadolint``, and a few more."""

    def setUp(self) -> None:
        self.parsed = parse_dockerfile((DEPLOYMENT / "Dockerfile").read_text())

    def test_parsing(self) -> None:
        """Continued lines are joined, and comments between them left out."""
        text = '# x\nFROM a:1 AS b\nRUN c \\\n    # d\n    && e\nFROM f:2\nCMD ["g"]\n'
        self.assertEqual(
            parse_dockerfile(text),
            [
                (0, "FROM", "a:1 AS b"),
                (0, "RUN", "c && e"),
                (1, "FROM", "f:2"),
                (1, "CMD", '["g"]'),
            ],
        )
        self.assertRaises(ValueError, lambda: parse_dockerfile("CMD g")[0].words)

    def test_bases_are_pinned(self) -> None:
        """Each stage begins with an exact version, and all with the same one."""
        bases = {each.text.partition(" ")[0] for each in self.parsed if each.name == "FROM"}
        self.assertEqual(len(bases), 1)
        self.assertRegex(bases.pop(), r"^python:\d+\.\d+\.\d+-slim-\w+$")

    def test_not_root(self) -> None:
        """The container's user is a number that is not root's, and comes before the command."""
        names = [each.name for each in last_stage()]
        (user,) = instructions("USER")
        self.assertRegex(user, r"^[1-9]\d*:[1-9]\d*$")  # runAsNonRoot of Kubernetes needs a number
        self.assertLess(names.index("USER"), names.index("ENTRYPOINT"))
        self.assertNotIn("RUN", names[names.index("USER") :])

    def test_exec_form(self) -> None:
        """No shell stands between the container's signals and twistd."""
        for each in self.parsed:
            if each.name in ("CMD", "ENTRYPOINT", "HEALTHCHECK", "VOLUME"):
                self.assertTrue(each.words, each)
        names = [each.name for each in self.parsed]
        for name in ("CMD", "ENTRYPOINT", "HEALTHCHECK", "USER", "STOPSIGNAL"):
            self.assertEqual(names.count(name), 1, name)

    def test_layers(self) -> None:
        """No caches, no ADD, no packages of unknown versions, no tools of the build."""
        for each in self.parsed:
            self.assertNotIn(each.name, ("ADD", "MAINTAINER", "SHELL"))
            if each.name == "RUN":
                for words in re.findall(r"pip install [^&]*", each.text):
                    self.assertIn("--no-cache-dir", words)
                self.assertNotRegex(each.text, r"\b(sudo|apt-get|cd|curl|wget|chmod 777)\b")
            if each.name == "WORKDIR":
                self.assertTrue(each.text.startswith("/"))
        self.assertFalse(any("pip" in text for text in instructions("RUN")))

    def test_one_port_and_one_volume(self) -> None:
        """EXPOSE, the health check and the command name one port, and the store is a volume."""
        options = parse_flags(netchat_flags(container_command()))
        self.assertEqual(instructions("EXPOSE"), [str(options["port"])])
        self.assertIn(f"'localhost', {options['port']},", health_check()[-1])
        (volume,) = next(each.words for each in last_stage() if each.name == "VOLUME")
        self.assertEqual(options["store"], f"sqlite:{volume}/chat.db")
        self.assertEqual(instructions("WORKDIR"), [volume])
        compose = (DEPLOYMENT / "compose.yaml").read_text()
        self.assertIn(f'- "{options["port"]}:{options["port"]}"', compose)
        self.assertIn(f"- messages:{volume}\n", compose)

    def test_the_container_has_time_to_stop(self) -> None:
        """compose waits longer than --drain."""
        compose = (DEPLOYMENT / "compose.yaml").read_text()
        found = re.search(r"stop_grace_period: (\d+)s", compose)
        assert found is not None
        options = parse_flags(netchat_flags(container_command()))
        self.assertGreater(int(found[1]), options["drain"])

    def test_what_is_sent_to_the_engine(self) -> None:
        """The files of the package alone: no history, no tests, no certificates that lie about."""
        text = (DEPLOYMENT / "Dockerfile.dockerignore").read_text()
        lines = [line for line in text.splitlines() if line and not line.startswith("#")]
        self.assertEqual(lines[0], "*")
        for name in build_context():
            self.assertTrue((CHECKOUT / name).exists(), name)
        config = configparser.ConfigParser()
        config.read(CHECKOUT / "setup.cfg")
        needed = {"setup.cfg", "pyproject.toml", config["metadata"]["license_files"]}
        needed.add(config["metadata"]["long_description"].removeprefix("file: "))
        packages = config["options"]["packages"].split()
        needed |= {each.partition(".")[0] for each in packages}
        self.assertEqual(set(build_context()), needed)


class KubernetesTests(SynchronousTestCase):
    """``kubernetes.yaml``, as far as its text goes; ``kubectl`` reads it in a live test."""

    def setUp(self) -> None:
        self.text = (DEPLOYMENT / "kubernetes.yaml").read_text()

    def one(self, pattern: str) -> str:
        """Return what the only match of a pattern has in its group."""
        (found,) = re.findall(pattern, self.text)
        return str(found)

    def options(self) -> chat.Options:
        """Return the options of a pod, from its flags and its file."""
        block = self.one(r"netchat\.conf: \|\n((?:    .*\n)+)")
        path = Path(self.mktemp())
        path.write_text(textwrap.dedent(block))
        words = re.findall(r"^            - (--.*)$", self.text, re.MULTILINE)
        self.config = f"--config={self.one('- --config=(.*)')}"
        self.assertEqual(words[0], self.config)
        return parse_flags([f"--config={path}", *words[1:]])

    def test_the_flags(self) -> None:
        """They are netchat's, and ports, files and the store are where the rest says."""
        options = self.options()
        for name, flag in (("chat", "port"), ("chat-tls", "tls-port")):
            self.assertIn(f"{{name: {name}, containerPort: {options[flag]}}}", self.text)
        self.assertEqual(options["admin"], f"tcp:{self.one('name: admin, containerPort: (.*)}')}")
        places = re.findall(r"mountPath: (.*?),", self.text)
        for path in (options["cert"], options["admin-token-file"], self.config.partition("=")[2]):
            self.assertIn(str(Path(path).parent), places)
        self.assertEqual(options["store"], f"$({self.one('- name: (NETCHAT_.*)')})")
        user = instructions("USER")[-1].partition(":")[0]
        self.assertEqual(self.one("runAsUser: (.*)"), user)

    def test_most_of_the_file_needs_no_restart(self) -> None:
        """What one changes in it is obeyed by the pods that run."""
        block = self.one(r"netchat\.conf: \|\n((?:    .*\n)+)")
        names = set(re.findall(r"([a-z-]+) = ", block))
        self.assertEqual(names - LIVE_FLAGS, {"log-format"})

    def test_there_is_time_to_stop(self) -> None:
        """Kubernetes waits for preStop and for --drain, and for the last connections."""
        options = self.options()
        before = int(self.one(r'command: \[sleep, "(\d+)"\]'))
        grace = int(self.one(r"terminationGracePeriodSeconds: (\d+)"))
        self.assertGreaterEqual(grace, before + options["drain"] + 10)
        misses = int(self.one(r"periodSeconds: 5\n +failureThreshold: (\d+)"))
        self.assertGreater(before, 5 * misses, "it is out of the balancer before SIGTERM")

    def test_the_probes(self) -> None:
        """They ask for what needs no token."""
        for probe, path in (("readiness", "/readyz"), ("liveness", "/healthz")):
            found = self.one(rf"{probe}Probe:\n +httpGet: {{path: (\S+), port: admin}}")
            self.assertEqual(found, path)
            self.assertIn(path, PROBES)


class UnitTests(SynchronousTestCase):
    """``netchat.service`` and ``netchat.socket``."""

    def setUp(self) -> None:
        self.service = read_unit("netchat.service")["Service"]
        self.socket = read_unit("netchat.socket")["Socket"]

    def test_the_socket_is_the_service_s(self) -> None:
        """The service asks for the socket by its name."""
        words = shlex.split(self.service["ExecStart"][0])
        options = parse_flags(netchat_flags(words))
        (name,) = self.socket["FileDescriptorName"]
        self.assertEqual(options["listen"], [f"systemd:domain=INET6:name={name}"])
        self.assertEqual(self.socket["BindIPv6Only"], ["both"])
        self.assertNotIn("Accept", self.socket)

    def test_systemd_is_told(self) -> None:
        """systemd waits until it is ready, looks whether it lives, and lets it end."""
        self.assertEqual(self.service["Type"], ["notify"])
        self.assertEqual(self.service["Restart"], ["on-failure"])
        self.assertGreaterEqual(int(self.service["WatchdogSec"][0]), 10)
        words = shlex.split(self.service["ExecStart"][0])
        drain = parse_flags(netchat_flags(words))["drain"]
        self.assertGreater(int(self.service["TimeoutStopSec"][0]), drain)
        self.assertEqual(self.service["ExecReload"], ["/bin/kill -HUP $MAINPID"])

    def test_each_setting_once(self) -> None:
        """Only the filter of system calls has two lines."""
        for name in ("netchat.service", "netchat.socket"):
            for settings in read_unit(name).values():
                several = {key for key, values in settings.items() if len(values) > 1}
                self.assertLessEqual(several, {"SystemCallFilter"})


class ProxyTests(SynchronousTestCase):
    """The flags that the files of proxies name for netchat."""

    def test_the_flags_are_right(self) -> None:
        """They parse, and name the ports and the socket that the proxy connects to."""
        for name in ("haproxy.cfg", "nginx-site.conf"):
            text = (DEPLOYMENT / name).read_text()
            words = re.findall(r"^#   (--.*)$", text, re.MULTILINE)
            options = parse_flags(shlex.split(" ".join(words)))
            (web,) = options["web"]
            path = Path(web.split(":")[1])
            self.assertIn(f"{path}", text.partition("\n\n")[2])
            self.assertEqual(options["trusted-proxy"], ["unix"])
            self.assertIn("option forwardfor" if name == "haproxy.cfg" else "X-Forwarded-For", text)
            for flag in ("port", "tls-port"):
                if options[flag] is not None:
                    self.assertIn(f"127.0.0.1:{options[flag]} send-proxy-v2", text)
