"""Ends a stage's process early and at once: at Ctrl-C, and when the `dvc` that started it ends."""

import os
import signal
import sys
from types import FrameType

PR_SET_PDEATHSIG = 1
GO_ON = "run the same command again to go on where it stopped"


def guard() -> None:
    """End this process when its parent ends, in whatever way (on Linux), and at Ctrl-C with one line and exit code 130.

    Nothing is lost by ending at once: files appear whole or not at all, and finished shards and answers are kept.
    """
    signal.signal(signal.SIGINT, _end_interrupted)
    if sys.platform == "linux":
        import ctypes  # only now, so that Ctrl-C works while it loads

        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL))
        if os.getpgid(os.getppid()) != os.getpgrp():  # the parent ended earlier
            sys.exit(f"descry: the `dvc` that started this stage has ended; {GO_ON}")


def _end_interrupted(number: int, frame: FrameType | None) -> None:
    os.write(2, f"\ndescry: interrupted; {GO_ON}\n".encode())
    os._exit(128 + number)
