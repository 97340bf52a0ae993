"""A `python` for pipelines that starts at once: a process with the heavy libraries loaded forks for each command."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

_CLIENT = """#!{python} -IS
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as line:
    line.connect({address!r})
    asked = json.dumps([os.getcwd(), dict(os.environ), sys.argv[1:]]).encode()
    socket.send_fds(line, [len(asked).to_bytes(8, "big")], [0, 1, 2])
    line.sendall(asked)
    sys.exit(int.from_bytes(line.recv(1) or b"\\x01", "big"))
"""

_SERVER = """
import json, os, runpy, socket, sys, threading
import sentence_transformers, torch, transformers, sklearn, scipy, pandas, pyarrow, matplotlib.pyplot
torch.set_num_threads(1)

def run(line):
    size, (*streams,), _, _ = socket.recv_fds(line, 8, 3)
    asked = b""
    while len(asked) < int.from_bytes(size, "big"):
        asked += line.recv(1 << 16)
    folder, variables, (flag, module, *arguments) = json.loads(asked)
    assert flag == "-m"
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(variables)
    sys.path[0], sys.argv = folder, ["", *arguments]
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0

with socket.socket(socket.AF_UNIX) as server:
    server.bind(ADDRESS)
    server.listen()
    print("ready", flush=True)
    while True:
        line, _ = server.accept()
        if os.fork() == 0:
            code = 1
            try:
                code = run(line)
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                line.sendall(bytes([code]))
                os._exit(code)
        line.close()
"""


@contextlib.contextmanager
def warm_python(folder: Path) -> Iterator[str]:
    """A PATH whose `python -m MODULE` runs in a fork of one warm process; dvc and git are as ever."""
    address, shim = str(folder / "s"), folder / "bin" / "python"
    shim.parent.mkdir()
    shim.write_text(_CLIENT.format(python=sys.executable, address=address))
    shim.chmod(0o755)
    server = subprocess.Popen(
        [sys.executable, "-c", f"ADDRESS = {address!r}\n{_SERVER}"], cwd=folder, stdout=subprocess.PIPE
    )
    try:
        assert server.stdout
        assert server.stdout.readline() == b"ready\n"
        yield os.pathsep.join([str(shim.parent), str(Path(sys.executable).parent), os.environ["PATH"]])
    finally:
        server.kill()
        server.wait()
