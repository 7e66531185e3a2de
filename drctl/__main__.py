"""`drctl`, from its first line on: what ends it before it is all there ends it as documented, too.

Hardly anything is imported before the handlers stand.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys

from drctl.asked import wants_json

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
EARLY = """{
  "error": {
    "code": "aborted",
    "exit": 10,
    "message": "stopped by the operator before anything was begun",
    "host": null,
    "hint": "run the same command again"
  }
}
"""
"""As `drctl.ui.documents.error_document` has it."""


def stopped_early(_number: int = 0, _frame: object = None) -> None:
    """Ends the process; nothing was begun that would have to be put right."""
    for descriptor, text in ((1, EARLY * wants_json(sys.argv[1:])), (2, "aborted\n")):
        with contextlib.suppress(OSError):  # nobody reads
            os.write(descriptor, text.encode())
    os._exit(10)


def keep_descriptors() -> None:
    """A standard descriptor that was closed is opened on nothing, so that no journal gets its
    number, which whatever is started from here would write to."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free


def main() -> None:
    """The console script."""
    ours = [number for number in ENDING if signal.getsignal(number) is not signal.SIG_IGN]
    for number in ours:
        signal.signal(number, stopped_early)
    keep_descriptors()
    from drctl.cli import main as run

    for number in ours:
        signal.signal(number, signal.default_int_handler)
    try:
        run()
    except KeyboardInterrupt:  # again, while the first was being told
        os._exit(10)
    except SystemExit as ended:
        if ended.code == 10:
            # An interrupt in a class that was just being made (exec of a text, as dataclasses do)
            # has Python end by that signal, although it was handled and told.
            for stream in (sys.stdout, sys.stderr):
                with contextlib.suppress(OSError, ValueError):
                    stream.flush()
            os._exit(10)
        raise


if __name__ == "__main__":
    main()
