"""The application whose start is measured: a socket that answers, and nothing that takes time.

PORT says where, on HOST (loopback by default). Its answer says since when it listens, in milliseconds: what comes
before that is the application's own time.
"""

import contextlib
import os
import socket
import time

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Listening-At: %.3f\r\n\r\nok"


def main() -> None:
    """Serve, one connection after the other, until the process is ended."""
    with socket.create_server((os.environ.get("HOST", "127.0.0.1"), int(os.environ["PORT"]))) as listener:
        answer = ANSWER % (time.time() * 1000)
        while True:
            connection, _ = listener.accept()
            # Who asked may be gone before the answer: not this application's trouble.
            with connection, contextlib.suppress(ConnectionError):
                while connection.recv(65536):
                    connection.sendall(answer)


if __name__ == "__main__":
    main()
