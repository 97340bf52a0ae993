"""Real servers on loopback that DVC can push to, and the network before them, which can be cut."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import struct
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

HOST = "127.0.0.1"
SSHD = shutil.which("sshd") or shutil.which("sshd", path="/usr/sbin")
MOTO = shutil.which(os.environ.get("DESCRY_MOTO_SERVER", ""))


@dataclass(frozen=True)
class Remote:
    """Where a team's results lie. options: what `dvc remote modify` is told; link: the network, if there is one."""

    url: str
    options: Mapping[str, str] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)
    link: Link | None = None


class Link:
    """A loopback port that passes everything on to a server's port until it is cut."""

    def __init__(self, server: int) -> None:
        self._server = server
        self._left = float("inf")
        self._sockets: list[socket.socket] = []
        self._lock = threading.Lock()
        self._listener = socket.create_server((HOST, 0))
        self.port = int(self._listener.getsockname()[1])
        self.mend()

    def mend(self) -> None:
        """Pass on everything again, on the same port; what was open is reset."""
        self.cut()
        self._left = float("inf")
        self._listener = socket.create_server((HOST, self.port))
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def cut_after(self, sent: int) -> None:
        """Cut it once clients have sent so many bytes more."""
        self._left = sent

    def cut(self) -> None:
        """Reset all connections and take no more."""
        with self._lock:
            sockets, self._sockets = self._sockets, []
            close(self._listener)
            for each in sockets:
                with contextlib.suppress(OSError):
                    each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                close(each)

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                server = socket.create_connection((HOST, self._server))
                for each in (client, server):
                    each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                with self._lock:
                    self._sockets += [client, server]
                threading.Thread(target=self._pass, args=(client, server, True), daemon=True).start()
                threading.Thread(target=self._pass, args=(server, client, False), daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket, counted: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 14):
                if counted:
                    self._left -= len(data)
                    if self._left < 0:
                        return self.cut()
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        return None


def close(each: socket.socket) -> None:
    with contextlib.suppress(OSError):
        each.shutdown(socket.SHUT_RDWR)
    each.close()


def free_port() -> int:
    with socket.create_server((HOST, 0)) as found:
        return int(found.getsockname()[1])


def wait_for(port: int, server: subprocess.Popen[bytes]) -> None:
    while server.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection((HOST, port)):
            return
        time.sleep(0.02)
    raise AssertionError(f"{server.args} ended")


def kill(server: subprocess.Popen[bytes]) -> None:
    """SIGKILL to a server and to all that it started."""
    everyone = [*psutil.Process(server.pid).children(recursive=True), psutil.Process(server.pid)]
    for each in everyone:
        with contextlib.suppress(psutil.NoSuchProcess):
            each.kill()
    server.wait()


class Sshd:
    """OpenSSH with a throw-away host key and user key. folder: of its keys."""

    def __init__(self, folder: Path) -> None:
        for name in ("host", "user"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
        if os.getuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)  # where it locks itself in; a service's start makes it otherwise
        self.key, self.port = folder / "user", free_port()
        options = {
            "Port": self.port,
            "ListenAddress": HOST,
            "HostKey": folder / "host",
            "AuthorizedKeysFile": folder / "user.pub",
            "PidFile": "none",
            "StrictModes": "no",
            "UsePAM": "no",
            "PasswordAuthentication": "no",
            "Subsystem": "sftp internal-sftp",
        }
        (folder / "config").write_text("".join(f"{name} {value}\n" for name, value in options.items()))
        self._command = [str(SSHD), "-D", "-q", "-f", str(folder / "config")]
        self.start()

    def start(self) -> None:
        self._process = subprocess.Popen(self._command)
        wait_for(self.port, self._process)

    def kill(self) -> None:
        kill(self._process)


@contextlib.contextmanager
def folder_remote(folder: Path) -> Iterator[Remote]:
    yield Remote(str(folder / "store"))


@contextlib.contextmanager
def ssh_remote(folder: Path) -> Iterator[Remote]:
    if SSHD is None:
        pytest.skip("no OpenSSH server on this machine: apt-get install openssh-server")
    server = Sshd(folder)
    link = Link(server.port)
    options = {"port": str(link.port), "keyfile": str(server.key)}
    try:
        yield Remote(f"ssh://{HOST}{folder}/store", options, {"HOME": str(folder)}, link)
    finally:
        link.cut()
        server.kill()


@contextlib.contextmanager
def s3_remote(folder: Path) -> Iterator[Remote]:
    if MOTO is None:
        pytest.skip("no S3 server on this machine: let DESCRY_MOTO_SERVER name moto's moto_server")
    port = free_port()
    log = (folder / "log").open("wb")
    server = subprocess.Popen([MOTO, "-H", HOST, "-p", str(port)], stdout=log, stderr=log)
    link = Link(port)
    keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
    (folder / "none").touch()
    nowhere = dict.fromkeys(("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"), str(folder / "none"))
    try:
        wait_for(port, server)
        request = urllib.request.Request(f"http://{HOST}:{port}/descry", method="PUT")
        urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request).close()
        options = {"endpointurl": f"http://{HOST}:{link.port}"}
        yield Remote("s3://descry/store", options, keys | nowhere | {"NO_PROXY": HOST}, link)
    finally:
        link.cut()
        kill(server)
        log.close()


REMOTES: dict[str, Callable[[Path], contextlib.AbstractContextManager[Remote]]] = {
    "folder": folder_remote,
    "ssh": ssh_remote,
    "s3": s3_remote,
}
