"""Stands for a Python process whose work a fork of the server does: ``python -I -S fork_client.py SOCKET ARGUMENT …``.

It hands its streams, arguments, folder and environment to `embcheck.runner.fork_server`, and ends when the fork does.  Where
no server answers it becomes the process that was asked for.  It imports nothing of this package: it is to start at once.
"""

import json
import os
import signal
import socket
import sys
from contextlib import suppress


def handed_over(path: str, arguments: list[str]) -> bool:
    """Whether a fork of the server took the work over, which has ended by then, or nobody asks for it any more."""
    request = json.dumps([arguments, os.getcwd(), dict(os.environ)]).encode()
    with socket.socket(socket.AF_UNIX) as server:
        try:
            server.connect(path)
        except OSError:
            return False
        try:
            socket.send_fds(server, [len(request).to_bytes(8, "big")], [0, 1, 2])
            server.sendall(request)
            answered = server.recv(1)
        except OSError:
            answered = b""
        if not answered:
            return not os.path.exists(path)  # a run that has ended removes it: nobody waits for the work
        # Whoever reads what the fork writes waits until nobody can write there any more.
        os.close(0)
        os.close(1)
        with suppress(OSError):
            server.recv(1)  # the fork holds the other end for as long as it lives
    return True


if __name__ == "__main__":
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # who started it is interrupted as well, and tells that
    given = sys.argv[2:]
    if handed_over(sys.argv[1], given):
        os._exit(0)
    os.execv(sys.executable, [sys.executable, *given])
