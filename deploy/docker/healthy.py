"""Whether the program in this container lives: the images' HEALTHCHECK. Exit status 0 when /healthz answers with 200.

    python3 healthy.py VARIABLE      VARIABLE holds the address of the admin listener, HOST:PORT

Whether it is of use, too, is what /readyz says; a container is not restarted for that.
"""

import http.client
import os
import sys


def address(listener: str) -> tuple[str, int]:
    """Where to ask, for an address that may mean all addresses."""
    host, _, port = listener.rpartition(":")
    host = host.strip("[]")
    return {
        "": "127.0.0.1",
        "0.0.0.0": "127.0.0.1",  # noqa: S104 - listens nowhere
        "::": "::1",
    }.get(host, host), int(port)


def healthy(listener: str) -> bool:
    """Whether it answers as it should."""
    connection = http.client.HTTPConnection(*address(listener), timeout=4)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(not healthy(os.environ[sys.argv[1]]))
