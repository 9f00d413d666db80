"""From an accepted connection to a visitor: the PROXY header first, then TLS, each only where the listener has it.

A connection that is in here has asked nothing yet, so nothing of the proxy knows it: it is bounded here, in number and
in time, and whatever goes wrong ends in one counted reason and never in a traceback. What comes out is a
``DownstreamConnection`` that knows its visitor's address.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from typing import TYPE_CHECKING, Final, cast

from gogeta.core.client_hello import Alert, HelloError, NotTlsError, read_hello
from gogeta.core.proxy_protocol import ProxyHeaderError, read_header
from gogeta.net.downstream import LINGER_SECONDS, DownstreamConnection
from gogeta.net.listener import Listener, TurnedAway

if TYPE_CHECKING:
    from gogeta.net.forwarder import Proxy

logger = logging.getLogger(__name__)

_PLAIN_TEXT: Final = b"This port speaks TLS: ask with https.\n"
_PLAIN: Final = (
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b"
    % (len(_PLAIN_TEXT), _PLAIN_TEXT)
)
_REASONS: Final = {
    "UNSUPPORTED_PROTOCOL": TurnedAway.TLS_VERSION,
    "WRONG_SSL_VERSION": TurnedAway.TLS_VERSION,
    "VERSION_TOO_LOW": TurnedAway.TLS_VERSION,
    "NO_SHARED_CIPHER": TurnedAway.TLS_ALGORITHMS,
    "NO_SUITABLE_KEY_SHARE": TurnedAway.TLS_ALGORITHMS,
    "NO_SUITABLE_GROUPS": TurnedAway.TLS_ALGORITHMS,
    "NO_SUITABLE_SIGNATURE_ALGORITHM": TurnedAway.TLS_ALGORITHMS,
}
"""OpenSSL's reasons; all alerts that come from the visitor have the word in their name."""


class Arrival(asyncio.Protocol):
    """One connection on its way in (see the module's docstring)."""

    def __init__(self, proxy: Proxy, listener: Listener) -> None:
        """``proxy`` is where it will be a visitor."""
        self._proxy = proxy
        self._listener = listener
        self._transport: asyncio.Transport
        self._peer = ""
        self._visitor = ""
        """Who the PROXY header says it is; empty: the peer itself."""
        self._data = b""
        """Read, and not understood yet."""
        self._step = self._read_header if listener.proxy_protocol else self._read_hello
        self._timer: asyncio.TimerHandle
        self._over = False
        """Handed over or turned away: nothing more is understood here."""
        self._securing = False

    def __repr__(self) -> str:
        """One line for logs and tests."""
        return f"<Arrival {self._visitor or self._peer}{' over' if self._over else ''}>"

    # asyncio's side.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Somebody connects."""
        # uvloop's transports are asyncio's in behaviour, not by inheritance.
        self._transport = cast("asyncio.Transport", transport)
        peer = transport.get_extra_info("peername")
        self._peer = peer[0] if isinstance(peer, tuple) else "unix"
        proxy, listener = self._proxy, self._listener
        settings = proxy.settings
        self._expect(settings.header_timeout if listener.proxy_protocol else settings.tls_handshake_timeout)
        arriving = listener.arriving
        if len(proxy.connections) + len(arriving) >= settings.max_connections:
            self._turn_away(TurnedAway.CONNECTIONS)
            return
        arriving.add(self)
        if (
            listener.proxy_protocol
            and settings.trusted_proxies
            and self._peer != "unix"
            and not listener.forwarding.trusts(self._peer)
        ):
            self._turn_away(TurnedAway.PROXY_UNTRUSTED)

    def data_received(self, data: bytes) -> None:
        """The next bytes."""
        if not self._over:
            self._data += data
            if not self._securing:
                self._step()

    def eof_received(self) -> bool:
        """It sends no more: there will be no visitor."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone."""
        if not self._securing:
            self._turn_away(TurnedAway.LEFT)
        self._timer.cancel()

    def _expect(self, seconds: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(seconds, self._expired)

    def _expired(self) -> None:
        if not self._over:
            waiting = self._step == self._read_header
            self._turn_away(TurnedAway.PROXY_TIMEOUT if waiting else TurnedAway.TLS_TIMEOUT)
        self._transport.abort()

    def abort(self) -> None:
        """End it at once."""
        self._turn_away(TurnedAway.LEFT)

    def _turn_away(self, reason: TurnedAway, farewell: bytes = b"") -> None:
        """End it for a reason; with last words, it has a moment to read them."""
        if self._over:
            return
        self._end()
        self._listener.turned_away[reason] += 1
        logger.debug("%s was turned away: %s", self._visitor or self._peer, reason)
        transport = self._transport
        if not farewell or transport.is_closing():
            transport.abort()
            return
        transport.write(farewell)
        # Closed while it still sends, a connection is reset, and the last words are lost with it.
        transport.write_eof()
        self._expect(LINGER_SECONDS)

    def _end(self) -> None:
        self._over = True
        self._data = b""
        self._timer.cancel()
        self._listener.arriving.discard(self)

    # The way in.

    def _read_header(self) -> None:
        """Step one, with PROXY protocol: who it is."""
        try:
            header = read_header(self._data)
        except ProxyHeaderError as error:
            logger.debug("%s: %s", self._peer, error)
            self._turn_away(TurnedAway.PROXY_HEADER)
            return
        if header is None:
            return
        self._visitor = header.visitor or ""
        self._data = self._data[header.length :]
        self._timer.cancel()
        if self._listener.secure:
            self._step = self._read_hello
            self._expect(self._proxy.settings.tls_handshake_timeout)
            if self._data:
                self._read_hello()
        else:
            self._enter(self._transport, None)

    def _read_hello(self) -> None:
        """Step two, with TLS: where it wants to go, and which certificate that takes."""
        certificates = self._listener.certificates
        assert certificates is not None  # noqa: S101 - else the listener is not secure
        try:
            hello = read_hello(self._data)
        except NotTlsError:
            # A method begins with a letter, and no record of TLS does.
            plain = self._data[:1].isalpha()
            self._turn_away(
                TurnedAway.PLAIN_HTTP if plain else TurnedAway.NOT_TLS,
                _PLAIN if plain else Alert.UNEXPECTED_MESSAGE.record,
            )
            return
        except HelloError as error:
            logger.debug("%s: %s", self._peer, error)
            self._turn_away(TurnedAway.HELLO, Alert.DECODE_ERROR.record)
            return
        if hello is None:
            return
        context = certificates.choose(hello.server_name)
        if context is None:
            self._turn_away(TurnedAway.NO_CERTIFICATE, Alert.UNRECOGNIZED_NAME.record)
            return
        self._securing = True
        loop = asyncio.get_running_loop()
        self._transport.pause_reading()
        self._proxy.tasks.start(self._secure(context), "handshake")
        # The task takes its first step in the next turn of the loop; in that turn, these bytes are scheduled right
        # behind what the step schedules, and so come before any that are read later.
        loop.call_soon(loop.call_soon, self._give_hello, self._transport)

    def _give_hello(self, transport: asyncio.Transport) -> None:
        """Give TLS what was read before it took over, as a transport gives bytes to a buffered protocol."""
        if self._over or transport.get_protocol() is self:
            return
        protocol = cast("asyncio.BufferedProtocol", transport.get_protocol())
        data, self._data = memoryview(self._data), b""
        while data:
            buffer = cast("memoryview", protocol.get_buffer(len(data)))
            count = min(len(data), len(buffer))
            buffer[:count] = data[:count]
            protocol.buffer_updated(count)
            data = data[count:]

    async def _secure(self, context: ssl.SSLContext) -> None:
        settings = self._proxy.settings
        plain = self._transport
        try:
            if plain.is_closing():
                raise ConnectionResetError
            secure = await asyncio.get_running_loop().start_tls(
                plain,
                self,
                context,
                server_side=True,
                # Ours comes first: it has been running since the connection was made.
                ssl_handshake_timeout=settings.tls_handshake_timeout + 1.0,
                ssl_shutdown_timeout=settings.body_timeout,
            )
            if secure is None or secure.is_closing():
                raise ConnectionResetError
        except ssl.SSLError as error:
            self._turn_away(_reason(error))
        except OSError:
            self._turn_away(TurnedAway.LEFT)
        except asyncio.CancelledError:
            self.abort()
            raise
        else:
            if self._over:
                secure.abort()
                return
            self._listener.handshakes += 1
            self._enter(secure, plain)

    def _enter(self, transport: asyncio.Transport, beneath: asyncio.Transport | None) -> None:
        """It is a visitor now."""
        data = self._data
        self._end()
        proxy = self._proxy
        connection = DownstreamConnection(proxy, self._listener, self._visitor, beneath)
        transport.set_protocol(connection)
        connection.connection_made(transport)
        if proxy.draining:
            # It was let in before: its request, if it comes at once, is answered.
            connection.deadline = min(connection.deadline, proxy.now + LINGER_SECONDS)
        if data:
            connection.data_received(data)


def _reason(error: ssl.SSLError) -> TurnedAway:
    reason = error.reason or ""
    if "ALERT" in reason:
        return TurnedAway.TLS_REJECTED
    return _REASONS.get(reason, TurnedAway.TLS_OTHER)
