"""Makes a message and an exit status of errors, for the command lines of the rooms."""

import sys
from collections.abc import Callable
from concurrent.futures.process import BrokenProcessPool


def run_command(command: Callable[[], int]) -> int:
    """Runs a command, and gives its exit status: 2 for what is wrong with the input or the machine, 3 when a worker
    died, 130 when it was interrupted. Errors are one line on standard error; those of the program itself pass.
    """
    try:
        return command()
    except (ValueError, OSError, ImportError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 2
    except BrokenProcessPool:
        print(
            "Error: a worker died, perhaps for want of memory; the same command goes on from here, with fewer "
            "--workers if need be.",
            file=sys.stderr,
        )
        return 3
    except KeyboardInterrupt:
        print("Interrupted; the same command goes on from here.", file=sys.stderr)
        return 130
