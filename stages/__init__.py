"""The stages of dvc.yaml. A stage's process comes here first, before anything heavy is loaded."""

import os

if "DVC_STAGE" in os.environ:
    from stages.harness.ending import guard

    guard()
