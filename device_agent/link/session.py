"""One open connection, from the upgrade to its end."""

from __future__ import annotations

import contextlib
import select
import ssl
from collections.abc import Callable
from dataclasses import replace

from device_agent.core.commands import Disconnect
from device_agent.core.ending import End, Kind
from device_agent.core.events import Event, LinkOpened, UplinkDropped
from device_agent.link.downlink import Downlink
from device_agent.link.endings import Ended, end_of
from device_agent.link.liveness import TCP_INFO, Liveness
from device_agent.link.network import Network
from device_agent.link.outbox import Outbox
from device_agent.link.probe import Probe
from device_agent.link.uplink import Uplink
from device_agent.link.wire import Close, Skip, Wire
from device_agent.protocol.codec import encode
from device_agent.protocol.messages import ClientMessage
from device_agent.runtime.deadline import Clock, Deadline
from device_agent.runtime.wakeup import Wakeup

TURN_S = 0.25
GOODBYE_S = 0.1
DROPS_EVERY_S = 1.0
_TURN_AUDIO = 8  # messages, before reading gets its turn again
_GOING_AWAY = 1001
_PROTOCOL_ERROR = 1002


class Session:
    """The loop of the link thread while a connection is open: read, write, look at the clock.

    It blocks in `poll` alone, for at most 250 ms (100 ms in all while it says goodbye), and `Wakeup.set` ends that.
    `ordered_end()` gives the order to end this connection, once there is one.
    """

    def __init__(
        self,
        conn: int,
        wire: Wire,
        outbox: Outbox,
        uplink: Uplink,
        downlink: Downlink,
        liveness: Liveness,
        wakeup: Wakeup,
        clock: Clock,
        network: Network,
    ) -> None:
        self._conn = conn
        self._wire = wire
        self._outbox = outbox
        self._uplink = uplink
        self._downlink = downlink
        self._liveness = liveness
        self._wakeup = wakeup
        self._clock = clock
        self._network = network
        self._probe = Probe(clock())
        self._dropped_at = -DROPS_EVERY_S
        self._mask = select.POLLIN
        self._poller = select.poll()
        self._poller.register(wire.conduit, self._mask)
        self._room = select.poll()
        self._room.register(wire.conduit, select.POLLOUT)

    def run(
        self, ordered_end: Callable[[], Disconnect | None], on_turn: Callable[[], None], post: Callable[[Event], None]
    ) -> End:
        """Until the connection is over. Raises only what is a fault of this program."""
        self._poller.register(self._wakeup, select.POLLIN)
        if self._network.fileno() >= 0:
            self._poller.register(self._network, select.POLLIN)
        post(LinkOpened(self._conn))
        try:
            while (order := ordered_end()) is None:
                self._turn(post)
                on_turn()
            self._goodbye(order)
            return End(Kind.LOCAL)
        except Exception as error:
            return self._give_up(error)
        finally:
            self._report_drops(post)

    def _turn(self, post: Callable[[Event], None]) -> None:
        readable = self._poll()
        now = self._clock()
        if readable:
            self._read()
        self._write(now)
        if now - self._dropped_at >= DROPS_EVERY_S and not self._liveness.blocked:
            self._report_drops(post, now)
        self._check(now)

    def _poll(self) -> bool:
        """Wait for something to do; whether there is something to read."""
        wanted = select.POLLIN
        if self._wire.pending or self._liveness.blocked or (self._outbox and not self._probe.holding):
            wanted |= select.POLLOUT
        if wanted != self._mask:
            self._mask = wanted
            self._poller.modify(self._wire.conduit, wanted)
        readable = self._wire.more
        for descriptor, events in self._poller.poll(0 if readable else TURN_S * 1000):
            if descriptor == self._wakeup.fileno():
                self._wakeup.clear()
                continue
            if descriptor == self._network.fileno():
                self._look_at_addresses()
                continue
            readable |= bool(events & ~select.POLLOUT)
            if events & select.POLLOUT:
                self._liveness.writable()
        return readable

    def _look_at_addresses(self) -> None:
        """Another network, or none: without our address no packet comes back, and nothing else would say so soon."""
        ours = self._wire.conduit.local_address
        if any(change.gone and change.address == ours for change in self._network.changes()):
            raise Ended(End(Kind.NETWORK, reason="this machine's address is gone"))

    # -------------------------------------------------------------------------------------- reading
    def _read(self) -> None:
        for item in self._wire.receive():
            if isinstance(item, Close):
                self._wire.close(1000 if item.code == 1005 else item.code)
                self._wire.flush()
                raise Ended(End(Kind.CLOSE, item.code, item.reason))
            if isinstance(item, Skip):
                self._downlink.skip(item.reason)
                continue
            pong = self._downlink.take(item.data)
            if pong is not None:
                self._wire.text(encode(pong))
                self._wire.flush()

    # -------------------------------------------------------------------------------------- writing
    def _write(self, now: float) -> None:
        if self._outbox.overflow:
            raise Ended(End(Kind.TIMEOUT, reason="stalled"))
        self._uplink.drop_stale(now)
        before = self._wire.conduit.sent
        blocked = not (self._write_control() and self._write_audio())
        self._liveness.wrote(self._wire.conduit.sent > before, blocked, now)

    def _write_control(self) -> bool:
        """Whether all of it was taken. One message at a time, so that a pong never waits behind many."""
        while self._wire.flush():
            message = self._outbox.next_control(self._conn)
            if message is None:
                return True
            self._wire.text(_encoded(message))
        return False

    def _write_audio(self) -> bool:
        """Whether the socket still had room. Audio is taken from the ring only when it has: else it would grow old
        behind the mute latch's back."""
        for _ in range(_TURN_AUDIO):
            if not self._outbox.audio or self._probe.holding:
                return True
            if not self._room.poll(0):
                return False
            message = self._uplink.next_message()
            if message is not None:
                self._wire.text(message)
            if not self._wire.flush():
                return False
        return True

    def _report_drops(self, post: Callable[[Event], None], now: float = 0.0) -> None:
        dropped = self._uplink.take_dropped()
        if dropped:
            self._dropped_at = now
            post(UplinkDropped(self._conn, dropped))

    # ------------------------------------------------------------------------------------ the clock
    def _check(self, now: float) -> None:
        self._liveness.check(now)
        received = self._wire.conduit.received
        if self._liveness.received(received, now) | self._probe.turn(received, self._wire.pongs, now):
            self._wire.ping()
            self._wire.flush()
        if self._liveness.wants_info(now):
            self._liveness.info(self._wire.conduit.info(TCP_INFO.size), now)

    # -------------------------------------------------------------------------------------- the end
    def _goodbye(self, order: Disconnect) -> None:
        """What control still waits, a close frame, and at most 100 ms for the answer to it."""
        self._outbox.audio.clear()
        deadline = Deadline(GOODBYE_S, self._clock)
        self._poller.unregister(self._wakeup)
        if self._network.fileno() >= 0:
            self._poller.unregister(self._network)
        try:
            while (message := self._outbox.next_control(self._conn)) is not None:
                self._wire.text(_encoded(message))
            self._wire.close(order.code, order.reason)
            while not deadline.passed:
                self._poller.modify(self._wire.conduit, select.POLLIN | (0 if self._wire.flush() else select.POLLOUT))
                if not self._poller.poll(deadline.remaining() * 1000):
                    return
                if any(isinstance(item, Close) for item in self._wire.receive()):
                    return
        except Exception as error:
            if end_of(error) is None:
                raise
            # The peer was quicker or broken: it is over as ordered.

    def _give_up(self, error: Exception) -> End:
        end = end_of(error)
        if end is None:
            raise error
        if end.kind is Kind.TLS:  # the certificate was accepted long ago: the stream is broken
            return replace(end, kind=Kind.NETWORK, code=0)
        if end.kind in (Kind.PROTOCOL, Kind.TIMEOUT):
            end = replace(end, code=end.code or _PROTOCOL_ERROR) if end.kind is Kind.PROTOCOL else end
            self._last_word(end.code or _GOING_AWAY)
        return end

    def _last_word(self, code: int) -> None:
        # What is wrong is known already; that the peer does not take our last word either adds nothing.
        with contextlib.suppress(Ended, OSError, ssl.SSLError):
            self._wire.close(code)
            self._wire.flush()


def _encoded(message: ClientMessage) -> str:
    try:
        return encode(message)
    except ValueError:
        reason = "[agent] holds a number that JSON cannot carry (nan or inf)"
        raise Ended(End(Kind.SETUP, reason=reason)) from None
