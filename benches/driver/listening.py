"""Listening on a port of this machine."""

import socket
import threading


def listen(port, handle):
    """A socket on which `handle` gets each caller, in a thread of its own; closed, it takes no more."""
    listener = socket.create_server(("127.0.0.1", port), backlog=100)

    def accept():
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=handle, args=(client,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return listener
