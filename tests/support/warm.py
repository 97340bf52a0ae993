"""A `python` and a `dvc` that start at once: a process with the heavy libraries loaded forks for each command."""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

from tests.conftest import ROOT

_CLIENT = """#!{python} -IS
import json, os, socket, sys
if sys.argv[1:2] != ["-m"]:
    os.execv({python!r}, [{python!r}, *sys.argv[1:]])
with socket.socket(socket.AF_UNIX) as line:
    line.connect({address!r})
    asked = json.dumps([os.getcwd(), dict(os.environ), sys.argv[2:]]).encode()
    socket.send_fds(line, [len(asked).to_bytes(8, "big")], [0, 1, 2])
    line.sendall(asked)
    sys.exit(int.from_bytes(line.recv(1) or b"\\x01", "big"))
"""

_SERVER = """
import contextlib, gc, json, os, runpy, socket, sys
import matplotlib.pyplot, openai, pandas, pyarrow.dataset, pydantic, scipy.cluster.hierarchy, sentence_transformers
import sklearn, torch, transformers
import dvc.cli.parser, dvc.dirs, dvc.repo
dvc.cli.parser.get_main_parser()  # which loads its commands
sys.path.insert(0, ROOT)
from tests.support.libyaml import use_libyaml
sys.path.remove(ROOT)
use_libyaml()
pydantic.create_model("Some", number=(int, 0))  # which loads the rest of it
sys.dont_write_bytecode = False  # a stage would compile all of the code anew
torch.set_num_threads(1)
gc.freeze()  # a fork that looked through all that is loaded would copy it

def run(line):
    size, (*streams,), _, _ = socket.recv_fds(line, 8, 3)
    asked = b""
    while len(asked) < int.from_bytes(size, "big"):
        asked += line.recv(1 << 16)
    folder, variables, (module, *arguments) = json.loads(asked)
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
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
"""


@cache
def warm_path(**changes: str) -> str:
    """A PATH whose `python -m MODULE` and `dvc` run in forks of one warm process; other commands are as ever. What is
    killed is not the fork: where a test kills, it takes another PATH. changes: of the environment that process
    starts in."""
    folder = Path(tempfile.mkdtemp())
    address, commands = str(folder / "s"), folder / "bin"
    commands.mkdir()
    (commands / "python").write_text(_CLIENT.format(python=sys.executable, address=address))
    (commands / "dvc").write_text('#!/bin/sh\nexec python -m dvc "$@"\n')
    for command in commands.iterdir():
        command.chmod(0o755)
    server = subprocess.Popen(
        [sys.executable, "-c", f"ADDRESS, ROOT = {address!r}, {str(ROOT)!r}\n{_SERVER}"],
        cwd=folder,
        env=os.environ | changes,
        stdout=subprocess.PIPE,
    )
    atexit.register(shutil.rmtree, folder)
    atexit.register(server.kill)
    assert server.stdout
    assert server.stdout.readline() == b"ready\n"
    return os.pathsep.join([str(commands), str(Path(sys.executable).parent), os.environ["PATH"]])
