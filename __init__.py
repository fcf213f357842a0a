"""HeartcareGPT: an ECG language model native to the Hugging Face ecosystem."""

import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .version_heartcare import HEARTCARE_VERSION as __version__  # noqa: F401


def _is_command() -> bool:
    """Tells whether Python was started as the command `heartcare` or as `python -m heartcare`."""
    words = sys.orig_argv
    module = words[words.index("-m") + 1 : words.index("-m") + 2] if "-m" in words else []
    return Path(sys.argv[0]).stem == "heartcare" or sys.argv[0] == "-m" and module == ["heartcare"]


if TYPE_CHECKING or not _is_command():
    from .public_heartcare import *  # noqa: F403
    from .public_heartcare import __all__ as __all__
else:
    # The command's help and its errors do not wait for torch and transformers, which take seconds to import.
    def __getattr__(name: str) -> Any:
        """Imports the public names as soon as one of them is asked for."""
        if name.startswith("_"):
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(".public_heartcare", __name__), name)
