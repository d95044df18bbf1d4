"""Tests for :mod:`twisted_net.services.twistd_flags` and ``privileges``."""

from __future__ import annotations

import encodings
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from tests.services.test_options import SERVICES
from twisted_net.accounts import plugin_kinds
from twisted_net.services import echo, options
from twisted_net.services.privileges import FilesInUse
from twisted_net.services.starting import StartError
from twisted_net.services.twistd_flags import check_twistd_flags, load_everything, why_not_written

DEFAULTS: dict[str, Any] = {
    **dict.fromkeys(("chroot", "uid", "gid", "logfile", "logger", "syslog", "umask"), None),
    "nodaemon": 1,
    "debug": False,
    "euid": 0,
    "rundir": ".",
    "pidfile": "",
}
"""The flags of ``twistd -n --pidfile=``."""


class AllPowerful:
    """A system in which everything is allowed, and every user exists."""

    def __init__(self, *forbidden: int, users: bool = True) -> None:
        self._forbidden = forbidden
        self._users = users

    def may(self, capability: int) -> bool:
        return capability not in self._forbidden

    def user_exists(self, uid: int) -> bool:
        return self._users


class FlagsCase(SynchronousTestCase):
    """Tests with a directory, which is the working directory."""

    def setUp(self) -> None:
        self.here = Path(self.mktemp()).absolute()
        self.here.mkdir(parents=True)
        self.addCleanup(os.chdir, os.getcwd())
        os.chdir(self.here)
        # The tests run as root too, whom no mode keeps out.
        access = os.access

        def may(path: Any, mode: int, **more: Any) -> bool:
            return "forbidden" not in os.path.abspath(path) and access(path, mode, **more)

        self.patch(os, "access", may)
        self.patch(os, "supports_effective_ids", {may})

    def root(self) -> str:
        """Return a directory that can be the root."""
        root = self.mktemp()
        for name in ("dev", "etc", "run"):
            (Path(root) / name).mkdir(parents=True)
        os.symlink("/dev/null", f"{root}/dev/null")
        (Path(root) / "etc/passwd").write_text("root:x:0:0::/:\nchat:x:1234:1234::/:\n")
        return root

    def problem(self, system: Any = None, **flags: Any) -> str:
        """Return what is wrong with twistd's flags; empty if nothing is."""
        try:
            check_twistd_flags({**DEFAULTS, **flags}, system or AllPowerful())
        except ValueError as error:
            return str(error)
        return ""


class CheckTests(FlagsCase):
    """Each start that fails in the kernel has a line that names the flag and the file."""

    def test_nothing_is_wrong(self) -> None:
        """Usual flags pass, and no file is made or changed."""
        root = self.root()
        Path("old.pid").write_text("1")
        for flags in (
            {},
            {"pidfile": "twistd.pid"},
            {"pidfile": "old.pid"},
            {"nodaemon": 0},
            {"nodaemon": 0, "logfile": "chat.log", "pidfile": "x.pid", "rundir": "/"},
            {"uid": 1234, "gid": 1234},
            {"chroot": root, "uid": 1234, "pidfile": "/run/x.pid", "rundir": "/run"},
        ):
            self.assertEqual(self.problem(**flags), "", flags)
        self.assertEqual(sorted(os.listdir(".")), sorted({"old.pid", root.split("/")[0]}))
        self.assertEqual(Path("old.pid").read_text(), "1")

    def test_twist(self) -> None:
        """The flags of twist are others: there is nothing to check."""
        check_twistd_flags({"reactor": None})
        check_twistd_flags({})

    def test_pid_files(self) -> None:
        (self.here / "forbidden").mkdir()
        (self.here / "file").touch()
        advice = "; name another file, or write none with --pidfile="
        for path, why in (
            ("forbidden/x.pid", f"Permission denied{advice}"),
            ("/nowhere/x.pid", f"No such file or directory{advice}"),
            ("file/x.pid", f"Not a directory{advice}"),
            (".", "Is a directory"),
            ("/dev/null", "must be a regular file; write none with --pidfile="),
            ("/dev/zero", "must be a regular file; write none with --pidfile="),
        ):
            self.assertEqual(self.problem(pidfile=path), f"--pidfile {path}: {why}")
        os.chdir("forbidden")
        line = f"--pidfile twistd.pid: Permission denied{advice}"
        self.assertEqual(self.problem(pidfile="twistd.pid"), line)

    def test_log_files(self) -> None:
        (self.here / "forbidden.log").touch()
        for path, why in (
            ("forbidden.log", "Permission denied"),
            ("/nowhere/x.log", "No such file or directory"),
            ("/dev", "Is a directory"),
        ):
            self.assertEqual(self.problem(logfile=path), f"--logfile {path}: {why}")
            self.assertEqual(self.problem(logfile=path, syslog=1), "")
            self.assertEqual(self.problem(logfile=path, logger=print), "")
        self.assertEqual(self.problem(logfile="-"), "")
        (self.here / "forbidden").mkdir()
        os.chdir("forbidden")
        self.assertEqual(
            self.problem(nodaemon=0),
            "--logfile twistd.log: Permission denied; name another file with --logfile",
        )
        self.assertEqual(self.problem(nodaemon=0, debug=True), "")

    def test_a_read_only_file_system(self) -> None:
        """The reason is told from a missing permission."""
        (self.here / "forbidden").mkdir()

        class Mounted:
            f_flag = os.ST_RDONLY

        self.patch(os, "statvfs", lambda path: Mounted)
        self.assertEqual(why_not_written("forbidden/x"), "Read-only file system")

    def test_roots(self) -> None:
        (self.here / "file").touch()
        for path, why in (
            ("nowhere", "No such file or directory"),
            ("file", "Not a directory"),
        ):
            self.assertEqual(self.problem(chroot=path), f"--chroot {path}: {why}")
        root = self.root()
        line = f"--chroot {root}: Operation not permitted; only root may do it"
        self.assertEqual(self.problem(AllPowerful(18), chroot=root), line)

    def test_a_root_without_dev_null(self) -> None:
        """Twisted needs it, for daemons and for connections that it rejects."""
        root = self.root()
        device = f"{root}/dev/null"
        os.unlink(device)
        how = f"mknod -m 666 {device} c 1 3"
        for daemon in (0, 1):
            line = self.problem(chroot=root, nodaemon=daemon)
            self.assertEqual(line, f"--chroot {root}: dev/null is missing there: {how}")
        Path(device).touch()
        line = f"--chroot {root}: dev/null there is not a device: {how}"
        self.assertEqual(self.problem(chroot=root), line)

    def test_directories(self) -> None:
        self.assertEqual(
            self.problem(rundir="/nowhere"), "--rundir /nowhere: No such file or directory"
        )
        root = self.root()
        line = self.problem(chroot=root, rundir=str(self.here))
        self.assertEqual(
            line, f"--rundir {self.here}: No such file or directory, in --chroot {root}"
        )

    def test_a_pid_file_in_a_root(self) -> None:
        """twistd writes it after it has changed the root, at its absolute path."""
        root = self.root()
        for path in ("x.pid", str(self.here / "x.pid")):
            line = self.problem(chroot=root, pidfile=path)
            self.assertTrue(
                line.startswith(
                    f"--pidfile {path}: No such file or directory, in --chroot {root}; name"
                ),
                line,
            )

    def test_users(self) -> None:
        for system, flags, line in (
            (AllPowerful(7), {"uid": 1234}, "--uid 1234: Operation not permitted; only root"),
            (AllPowerful(6), {"gid": 1234}, "--gid 1234: Operation not permitted; only root"),
            (AllPowerful(users=False), {"uid": 1234}, "--uid 1234: there is no such user"),
            (AllPowerful(6, 7), {"uid": os.getuid(), "gid": os.getgid()}, ""),
        ):
            found = self.problem(system, **flags)
            self.assertTrue(found.startswith(line) and bool(found) == bool(line), found)

    def test_a_user_in_a_root(self) -> None:
        """twistd looks for the user's groups in the new root."""
        root = self.root()
        path = f"{root}/etc/passwd"
        self.assertEqual(
            self.problem(chroot=root, uid=5678), f"--uid 5678: {path}: the user is missing there"
        )
        os.unlink(path)
        why = "No such file or directory; twistd looks for the user there"
        self.assertEqual(self.problem(chroot=root, uid=1234), f"--uid 1234: {path}: {why}")

    def test_every_service_checks(self) -> None:
        """The services check the flags of the twistd that runs them."""
        for service in SERVICES:
            made = service.Options()
            made.parent = {**DEFAULTS, "pidfile": "/nowhere/x"}
            line = str(self.assertRaises(StartError, made.parseOptions, []))
            self.assertTrue(
                line.startswith(f"{made.command}: --pidfile /nowhere/x: No such file"), line
            )

    def test_modules(self) -> None:
        """All modules are loaded before the root or the user changes, but not otherwise."""
        loaded: list[None] = []
        self.patch(options, "load_everything", lambda: loaded.append(None))
        for flags in ({}, {"chroot": self.root()}, {"uid": 1234}):
            made = echo.Options()
            self.patch(options, "check_twistd_flags", lambda flags: None)
            made.parent = {**DEFAULTS, **flags}
            made.parseOptions([])
        self.assertEqual(len(loaded), 2)
        load_everything()
        for name in ("eager.tls", "eager.openssl", "connection.timers"):
            self.assertIn(f"twisted_net.{name}", sys.modules)
        self.assertTrue(hasattr(encodings, "idna"))
        self.assertNotIn("twisted_net.services.nothing", sys.modules)


class PrivilegesTests(FlagsCase):
    """What a service can no longer do without its privileges is said once."""

    def said(self, files: FilesInUse) -> list[str]:
        """Return the warnings."""
        with capturedLogs() as events:
            files.warn()
        return [each["log_format"].format(**each) for each in events]

    def files(self, **flags: Any) -> FilesInUse:
        return FilesInUse.of_twistd({**DEFAULTS, **flags})

    def test_nothing_changes(self) -> None:
        """Without --uid, --gid and --chroot, nothing is said, and under twist neither."""
        (self.here / "forbidden").mkdir()
        files = self.files(logfile="forbidden/x.log", pidfile="forbidden/x.pid")
        files.read_again.append("/nowhere")
        self.assertEqual(self.said(files), [])
        self.assertEqual(self.said(FilesInUse.of_twistd({})), [])

    def test_nothing_is_wrong(self) -> None:
        for name in ("x.log", "x.pid", "key"):
            (self.here / name).touch()
        files = self.files(uid=1234, logfile="x.log", pidfile="x.pid")
        files.read_again.append(str(self.here / "key"))
        self.assertEqual(self.said(files), [])

    def test_one_line(self) -> None:
        """All of it is in one line, with whole paths."""
        (self.here / "forbidden").mkdir()
        (self.here / "certs").mkdir()
        for name in ("forbidden/x.log", "forbidden/x.pid", "forbidden/users", "certs/a.crt"):
            (self.here / name).touch()
        os.symlink(self.here / "forbidden/users", "certs/a.key")
        files = self.files(uid=1234, logfile="forbidden/x.log", pidfile="forbidden/x.pid")
        files.read_again += ["/nowhere/cert.pem", str(self.here / "forbidden/users")]
        files.directories.append("/nowhere/certs")
        here = f"{self.here}/forbidden"
        self.assertEqual(
            self.said(files),
            [
                f"With --uid 1234: {here}/x.log cannot be rotated, and grows; "
                f"{here}/x.pid cannot be removed at the end; "
                "/nowhere/cert.pem cannot be read again when it changes; "
                f"{here}/users cannot be read again when it changes; "
                "/nowhere/certs cannot be read again when it changes"
            ],
        )

    def test_a_daemons_log(self) -> None:
        """Daemons log to twistd.log unless told otherwise; others to standard output."""
        log = str(self.here / "twistd.log")
        for flags, rotated in (
            ({"nodaemon": 0}, [log]),
            ({}, []),
            ({"nodaemon": 0, "syslog": 1}, []),
            ({"logfile": "-"}, []),
        ):
            self.assertEqual(self.files(gid=1, **flags).rotated, rotated)

    def test_a_sticky_directory(self) -> None:
        """In a directory such as /tmp, only the owner of a file removes it."""
        (self.here / "x.pid").touch()
        files = self.files(uid=1234, pidfile="x.pid")
        self.here.chmod(0o1777)
        self.assertEqual(self.said(files), [])
        own = os.geteuid()
        self.patch(os, "geteuid", lambda: own + 1)
        self.assertEqual(len(self.said(files)), 1)

    def test_the_files_of_a_service(self) -> None:
        """Certificates, accounts and Unix sockets count."""
        (self.here / "users.txt").write_text("ann:x\n")
        words = ["--tls-port", "0", "--cert", "c", "--key", "k", "--client-ca", "/ca"]
        words += ["--listen", "unix:s:mode=600", "--listen", "tcp:0"]
        for service in SERVICES:
            made = service.Options()
            made.parseOptions(words)
            files = made.files_in_use()
            self.assertEqual(files.read_again, [f"{self.here}/c", f"{self.here}/k", "/ca"])
            self.assertEqual(files.removed, [f"{self.here}/s"])
        made = SERVICES[2].Options()
        made.parseOptions(["--auth", "file:users.txt", "--tls-port=0", "--tls-dir", "d"])
        files = made.files_in_use()
        self.assertEqual(files.read_again, [f"{self.here}/users.txt"])
        self.assertEqual(files.directories, [f"{self.here}/d"])

    def test_the_accounts_of_the_machine(self) -> None:
        """They count too, on a Python that can check their passwords."""
        self.patch(plugin_kinds, "find_spec", lambda name: object())
        made = SERVICES[2].Options()
        made.parseOptions(["--auth", "unix"])
        self.assertEqual(made.files_in_use().read_again, ["/etc/shadow"])


class LoadingTests(SynchronousTestCase):
    """In another root, and as another user, a service finds no more files of its own."""

    def test_names_of_the_chat(self) -> None:
        """The chat judges names of every script after all has been loaded."""
        program = (
            "import sys; from twisted_net.services.twistd_flags import load_everything;"
            "load_everything(); from twisted_net.chat import names; opened = [];"
            "note = lambda event, args: event in ('open', 'import') and opened.append(args[0]);"
            "sys.addaudithook(note);"
            "[names.keys(names.nick(name)) for name in ('नमस्ते', 'क्\\u200dष', 'хелло', 'ann')];"
            "names.room('#İzmir'); sys.stdout.write(repr(opened))"
        )
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True,
            cwd=Path(__file__).parents[2],
        )  # fmt: skip
        self.assertEqual(done.stdout, "[]")
