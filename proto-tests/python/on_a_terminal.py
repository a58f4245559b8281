"""Runs a command on a terminal of its own and prints all that the terminal got; ends with the command's code.

on_a_terminal.py COMMAND [ARGUMENT...]
"""

import os
import pty
import sys


def read(terminal: int) -> bytes:
    """What comes next; nothing at the end, which a terminal tells by an error."""
    try:
        return os.read(terminal, 65536)
    except OSError:
        return b""


def main() -> None:
    """Starts the command, copies until it is gone."""
    process, terminal = pty.fork()
    if process == 0:
        os.execv(sys.argv[1], sys.argv[1:])
    while piece := read(terminal):
        os.write(1, piece)
    _, status = os.waitpid(process, 0)
    sys.exit(os.waitstatus_to_exitcode(status))


main()
