# Copyright 2026 The HeartcareGPT authors. Licensed under the Apache License, Version 2.0.
"""The version of this software, in its one place: the wheel, the command, `heartcare.__version__`, and every
checkpoint, data set, benchmark and reply take it from here. It imports nothing, so that `setup.py` and the command can
read it at once.
"""

HEARTCARE_VERSION = "0.2.0"

__all__ = ["HEARTCARE_VERSION"]
