"""Runs a command on a terminal of its own and prints all that the terminal got; ends with the command's code.

What comes on standard input is typed there, a key every tenth of a second, once the command has written something.

on_a_terminal.py COMMAND [ARGUMENT...]
"""

import os
import pty
import sys
import threading
import time


def read(terminal: int) -> bytes:
    """What comes next; nothing at the end, which a terminal tells by an error."""
    try:
        return os.read(terminal, 65536)
    except OSError:
        return b""


def type_keys(terminal: int, keys: bytes) -> None:
    """Types, until the terminal is gone."""
    try:
        for key in keys:
            time.sleep(0.1)
            os.write(terminal, bytes([key]))
    except OSError:
        pass


def main() -> None:
    """Starts the command, copies until it is gone."""
    process, terminal = pty.fork()
    if process == 0:
        os.execv(sys.argv[1], sys.argv[1:])
    keys = sys.stdin.buffer.read()
    typing = None
    while piece := read(terminal):
        os.write(1, piece)
        if keys and not typing:
            typing = threading.Thread(target=type_keys, args=(terminal, keys), daemon=True)
            typing.start()
    _, status = os.waitpid(process, 0)
    sys.exit(os.waitstatus_to_exitcode(status))


main()
