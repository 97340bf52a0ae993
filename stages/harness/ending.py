"""How a stage's process ends before its time: at once, and with the `dvc` that started it."""

import os
import signal
import sys
from types import FrameType

PR_SET_PDEATHSIG = 1
GO_ON = "run the same command again, and it goes on where it was"


def guard() -> None:
    """End this process when its parent ends, however that ends (on Linux), and at Ctrl-C with one line and exit code
    130. To end at once loses nothing: files appear whole or not at all, and finished shards and answers are kept."""
    signal.signal(signal.SIGINT, _interrupted)
    if sys.platform == "linux":
        import ctypes  # only now: a key stroke while it loads is heard

        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL))
        if os.getpgid(os.getppid()) != os.getpgrp():  # the parent had ended before, and this process was adopted
            sys.exit(f"descry: the `dvc` that started this stage has ended; {GO_ON}")


def _interrupted(number: int, frame: FrameType | None) -> None:
    os.write(2, f"\ndescry: interrupted; {GO_ON}\n".encode())
    os._exit(128 + number)
