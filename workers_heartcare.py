# Copyright 2026 The HeartcareGPT authors. Licensed under the Apache License, Version 2.0.
"""Worker processes of the commands."""

import multiprocessing
import os
import threading


def end_with_parent() -> None:
    """Ends this worker as soon as the process that started it has ended. A worker of one that was killed would wait for
    work, with all its memory, for ever.
    """
    parent = multiprocessing.parent_process()

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


__all__ = ["end_with_parent"]
