"""Services that give up root, or get another root: ``--uid`` and ``--chroot``. Only root can."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import tempfile
from pathlib import Path

from tests.live.harness import LOCALHOST, LiveTestCase, program, script
from tests.live.test_tls import Certificates

NOBODY = "nobody"
HERE = ("--port", "0", "--interface", LOCALHOST)


class PrivilegesTests(LiveTestCase):
    """Services that start as root."""

    def setUp(self) -> None:
        if os.geteuid() != 0:
            self.skipTest("only root can change the user or the root")
        self.uid = pwd.getpwnam(NOBODY).pw_uid
        # Trial's own directories may lie in one that only root may enter.
        self.here = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.here)
        self.here.chmod(0o755)

    def owned(self, name: str) -> Path:
        """Make a directory that belongs to nobody."""
        path = self.here / name
        path.mkdir(parents=True)
        os.chown(path, self.uid, -1)
        return path

    def root(self) -> Path:
        """Make a directory that can be a root."""
        root = self.here / "root"
        for name in ("dev", "etc", "run"):
            (root / name).mkdir(parents=True)
        try:
            os.mknod(root / "dev/null", 0o20666, os.makedev(1, 3))
        except PermissionError:
            self.skipTest("no device can be made here")
        lines = Path("/etc/passwd").read_text().splitlines()
        entry = next(line for line in lines if line.startswith(f"{NOBODY}:"))
        (root / "etc/passwd").write_text(entry + "\n")
        return root

    async def test_the_store_belongs_to_the_user(self) -> None:
        """A new store, with its WAL, belongs to the user of --uid, and stays usable."""
        data = self.owned("data")
        for number in range(2):
            server = self.twistd(
                *("--uid", NOBODY, "netchat", *HERE, "--store", "sqlite:data/chat.db"),
                cwd=self.here,
            )
            port = await server.port()
            nc, other = self.nc(port), self.nc(port)
            for each in (nc, other):
                await each.expect(b"Welcome")
            if number:
                await nc.expect(rb"<guest-\d> hello 0\n")  # from before
            nc.write(b"hello %d\n" % number)
            await other.expect(rb"> hello %d\n" % number)  # so it is stored
            for name in ("chat.db", "chat.db-wal", "chat.db-shm"):
                found = (data / name).stat()
                self.assertEqual((found.st_uid, found.st_mode & 0o777), (self.uid, 0o600), name)
            for each in (nc, other):
                each.end_input()  # otherwise it stays, and the service waits for it
            server.signal(signal.SIGTERM)
            await server.ended()
            self.assertEqual(sorted(os.listdir(data)), ["chat.db"])
            self.assertEqual(server.log("warn|Traceback|Unhandled"), [])

    async def test_a_store_that_the_user_cannot_use(self) -> None:
        """The start ends with one line."""
        (self.here / "data").mkdir()
        self.owned("own")
        (self.here / "own/chat.db").touch(0o600)
        (self.here / "x.db").touch()
        os.chown(self.here / "x.db", self.uid, -1)
        for name, why in (
            ("data/chat.db", f"its directory cannot be written: {self.here}/data"),
            ("x.db", f"its directory cannot be written: {self.here}"),
            ("own/chat.db", "Permission denied"),
        ):
            server = self.twistd(
                *("--uid", NOBODY, "netchat", *HERE, "--store", f"sqlite:{name}"),
                cwd=self.here,
                without=("PYTHONWARNINGS",),
            )
            self.assertEqual(await server.ended(), 1)
            self.assertEqual(
                server.errors.decode(),
                f"netchat: --store sqlite:{name}: {name}: {why}; "
                f"--uid {self.uid} must have access to it\n",
            )

    async def test_a_store_that_the_user_cannot_reach(self) -> None:
        """The line names the first directory on the way that the user cannot enter, whether the
        file is there and whoever it belongs to, also for --euid."""
        inner = self.here / "closed" / "inner"
        self.owned("closed/inner")
        (self.here / "closed").chmod(0o700)
        (inner / "x.db").touch()
        os.chown(inner / "x.db", self.uid, -1)
        link = self.here / "link.db"
        link.symlink_to(inner / "x.db")
        for more in ((), ("--euid",)):
            for name in ("x.db", "new.db", f"{inner}/x.db", str(link)):
                server = self.twistd(
                    *("--uid", NOBODY, *more, "netchat", *HERE, "--store", f"sqlite:{name}"),
                    cwd=inner,
                    without=("PYTHONWARNINGS",),
                )
                self.assertEqual(await server.ended(), 1)
                self.assertEqual(
                    server.errors.decode(),
                    f"netchat: --store sqlite:{name}: {name}: {inner.parent} cannot be entered; "
                    f"--uid {self.uid} must have access to it\n",
                )

    async def test_what_stays_with_root(self) -> None:
        """One warning names every file that the service can no longer change or read."""
        files = Certificates(self.here)
        os.chmod(files.key, 0o600)
        os.chmod(files.cert, 0o644)
        (self.here / "users.txt").write_text("")
        (self.here / "users.txt").chmod(0o600)
        server = self.spawn(
            *(script("twistd"), "-n", "--pidfile=x.pid", "--logfile=x.log", "--uid", NOBODY),
            *("netchat", *HERE, "--tls-port", "0", "--cert", files.cert, "--key", files.key),
            *("--auth", "file:users.txt", "--allow-anonymous"),
            cwd=self.here,
        )
        log = self.here / "x.log"
        seen = self.spawn(
            *("/bin/sh", "-c", f"until grep -q 'With --uid' {log}; do sleep 0.1; done"),
        )
        self.assertEqual(await seen.ended(), 0, server)
        lines = [line for line in log.read_text().splitlines() if "#warn]" in line]
        self.assertEqual(len(lines), 1, lines)
        for text in (
            f"With --uid {self.uid}: ",
            f"{self.here}/x.log cannot be rotated, and grows; ",
            f"{self.here}/x.pid cannot be removed at the end; ",
            f"{files.key} cannot be read again when it changes",
            f"{self.here}/users.txt cannot be read again when it changes",
        ):
            self.assertIn(text, lines[0])
        self.assertNotIn(f"{files.cert} cannot", lines[0])

    async def test_workers(self) -> None:
        """They change root and user, one that is started later too; the supervisor does not."""
        root = self.root()
        server = self.twistd(
            *("--chroot", str(root), "--uid", NOBODY, "netecho", *HERE, "--workers", "1"),
            cwd=self.here,
        )
        port = await server.port()
        pids = []
        for starts in (1, 2):
            await server.until(lambda: len(server.log("Worker 1 serves")) == starts, "a worker")  # noqa: B023
            pids.append(int(server.log("Worker 1 serves")[-1].rpartition(" ")[2]))
            self.assertEqual(os.readlink(f"/proc/{pids[-1]}/root"), str(root))
            self.assertEqual(os.stat(f"/proc/{pids[-1]}").st_uid, self.uid)
            await self.check_echo(port, b"hello")
            if starts == 1:
                os.kill(pids[0], signal.SIGKILL)
        self.assertEqual(os.readlink(f"/proc/{server.pid}/root"), "/")
        server.signal(signal.SIGTERM)
        self.assertEqual(await server.ended(), -signal.SIGTERM)

    async def test_another_root(self) -> None:
        """Every service runs in another root, with and without TLS, as another user."""
        root = self.root()
        openssl = program("openssl")
        upstream = self.listen()
        for service, more in (
            ("netecho", ()),
            ("netidle", ("--upstream", upstream.endpoint)),
            ("netchat", ("--store", "sqlite:/data/chat.db")),
        ):
            shutil.rmtree(root / "data", ignore_errors=True)
            self.owned("root/data")
            server = self.twistd(
                *("--chroot", str(root), "--uid", NOBODY, service, *HERE),
                *("--tls-port", "0", "--self-signed", *more),
                cwd=self.here,
            )
            nc = self.nc(await server.port())
            nc.write(b"hello\n")
            tls = self.spawn(
                *(openssl, "s_client", "-quiet", "-no_ign_eof", "-connect"),
                f"{LOCALHOST}:{await server.port('--tls-port 0')}",
            )
            tls.write(b"hello\n")
            if service == "netidle":
                (await upstream.hears(b"hello\n")).send(b"hello\n")
                await upstream.until(lambda: len(upstream.clients) > 2, "both, and the probe")
                for each in upstream.clients:
                    each.send(b"hello\n")
            for each in (nc, tls):
                await each.expect(b"Welcome" if service == "netchat" else b"hello\n")
            if service == "netchat":  # the data about scripts are a file
                nc.write("/nick नमस्ते\n".encode())
                await nc.expect("You are नमस्ते now".encode())
            for each in (nc, tls):
                each.end_input()
            server.signal(signal.SIGTERM)
            await server.ended()
            self.assertEqual(server.log("Traceback|Unhandled|No module|unknown encoding"), [])
