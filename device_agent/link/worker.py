"""The link thread: the one owner of the network (R3)."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from itertools import count

from device_agent.config.schema import Settings
from device_agent.core.commands import Connect, Disconnect, Send, SendFrames, SendSilence
from device_agent.core.ending import End, Kind
from device_agent.core.events import Event, LinkEnded, NetworkUp
from device_agent.link.address import SecretStore, conversation_url
from device_agent.link.dial import Connector, Dialer, Resolver, begin, resolve
from device_agent.link.downlink import Downlink
from device_agent.link.endings import Ended, clean, end_of
from device_agent.link.liveness import Liveness
from device_agent.link.network import Network
from device_agent.link.outbox import Outbox
from device_agent.link.record import Recorder
from device_agent.link.session import Session
from device_agent.link.uplink import Uplink
from device_agent.link.waiting import Attempt
from device_agent.link.wire import Wire
from device_agent.runtime.deadline import Clock
from device_agent.runtime.latch import MuteLatch
from device_agent.runtime.ring import CaptureRing, PlaybackRing
from device_agent.runtime.wakeup import Wakeup
from device_agent.runtime.worker import IN_USE_S, Worker

CONNECT_S = 10.0
CONNECTING_S = 4.0  # between two beats: the first attempt also loads code and certificates
_GOING_AWAY = 1001


class Link(Worker):
    """Owns the socket, its TLS state and the WebSocket object; one connection at a time.

    Orders come from any thread and are queued; each `Connect` is answered by exactly one `LinkEnded`, and by
    `LinkOpened` before it if the WebSocket opened. A connection's events carry its number.

    It may block in `Wakeup.wait` (no orders), `Attempt.wait` (≤ 1 s at a time, while connecting) and
    `Session._poll` (≤ 250 ms): each is a `poll` that `unblock`, and every order, ends at once. Every other call is
    on a non-blocking socket. The system's resolver, which no deadline reaches, runs in a disposable thread.
    """

    def __init__(
        self,
        settings: Settings,
        secrets: SecretStore,
        capture_ring: CaptureRing,
        playback_ring: PlaybackRing,
        latch: MuteLatch,
        post: Callable[[Event], None],
        on_failure: Callable[[str, BaseException], None],
        clock: Clock = time.monotonic,
        resolver: Resolver = resolve,
        dialer: Connector = begin,
        recorder: Recorder | None = None,
        wrong: str = "",
    ) -> None:
        """`wrong`: the configuration is; each connection ends at once and says so."""
        super().__init__("link", on_failure, clock)
        self._settings = settings
        self._secrets = secrets
        self._capture_ring = capture_ring
        self._playback_ring = playback_ring
        self._latch = latch
        self._post = post
        self._recorder = recorder
        self._wrong = wrong
        self._wakeup = Wakeup()
        self._network = Network()
        self._dialer = Dialer(self._wakeup, settings.server.ca_file, resolver, dialer)
        self._outbox = Outbox(self._wakeup)
        self._handles = count(1)
        self._connects: deque[Connect] = deque()
        self._disconnect: Disconnect | None = None

    # ----------------------------------------------------------------- orders, from any thread
    def connect(self, order: Connect) -> None:
        """Begin a connection, once the one before is over."""
        self._connects.append(order)
        self._wakeup.set()

    def disconnect(self, order: Disconnect) -> None:
        """End a connection, or give the attempt up."""
        # Connections are numbered upwards, so the latest order is also the one that matters.
        self._disconnect = order
        self._wakeup.set()

    def send(self, order: Send) -> None:
        """Send a control message."""
        self._outbox.put(order)

    def send_frames(self, order: SendFrames) -> None:
        """Send captured frames; they are due from now on, and go out after `rouse`."""
        self._outbox.put_audio(order, self.clock())

    def send_silence(self, order: SendSilence) -> None:
        """Send silence; it is due from now on, and goes out after `rouse`."""
        self._outbox.put_audio(order, self.clock())

    def rouse(self) -> None:
        """All audio that is due has been ordered."""
        self._outbox.rouse()

    def unblock(self) -> None:
        self._wakeup.set()

    # ----------------------------------------------------------------------------- the thread
    def run(self) -> None:
        try:
            while not self.stopping.is_set():
                if self._connects:
                    self._serve(self._connects.popleft())
                else:
                    self.beat("waiting", due=False)
                    self._wakeup.wait(self._network.fileno())
                    if any(not change.gone for change in self._network.changes()):
                        self._post(NetworkUp())
        finally:
            self._wakeup.close()
            self._network.close()

    def _serve(self, order: Connect) -> None:
        conn = order.conn
        self.limit_s = CONNECTING_S
        end = End(Kind.NETWORK, reason="the link failed")
        try:
            end = self._connection(order)
        finally:  # whatever happened: the core must not believe in a dead connection
            self._post(LinkEnded(conn, self._without_secrets(end)))

    def _connection(self, order: Connect) -> End:
        conn = order.conn
        self._outbox.start()
        try:
            wire = self._open(order)
        except Exception as error:
            end = end_of(error)
            if end is None:
                raise
            return end
        try:
            return self._converse(conn, wire)
        finally:
            wire.conduit.abandon()

    def _open(self, order: Connect) -> Wire:
        conn, settings = order.conn, self._settings
        if self._wrong:
            raise Ended(End(Kind.CONFIG, reason=clean(self._wrong)))
        if order.agent_id:
            settings = replace(settings, agent=replace(settings.agent, id=order.agent_id))
        attempt = Attempt(
            self._wakeup,
            CONNECT_S,
            self.clock,
            aborted=lambda: self._ordered_end(conn) is not None,
            on_turn=lambda: self.beat("connecting", due=True),
        )
        attempt.check()
        url = conversation_url(settings, self._secrets, self._dialer, attempt)
        wire = Wire(self._dialer.dial(url, attempt), self._recorder)
        attempt.phase = "upgrade"
        try:
            wire.open(url, self._settings.server.origin)
        except BaseException:
            wire.conduit.abandon()
            raise
        return wire

    def _converse(self, conn: int, wire: Wire) -> End:
        uplink = Uplink(conn, self._outbox, self._capture_ring, self._latch)
        liveness = Liveness(self.clock())
        downlink = Downlink(conn, self._post, self._playback_ring, self._handles, uplink, liveness, self.clock)
        ends = self._wakeup, self.clock, self._network
        self.beat("connected", due=True)
        self.limit_s = IN_USE_S
        session = Session(conn, wire, self._outbox, uplink, downlink, liveness, *ends)
        return session.run(lambda: self._ordered_end(conn), lambda: self.beat("connected", due=True), self._post)

    def _without_secrets(self, end: End) -> End:
        # The reason is the server's own text, and servers quote what they were sent.
        reason = end.reason
        for secret in filter(None, (self._secrets.api_key(), self._secrets.broker_token())):
            reason = reason.replace(secret, "(secret)")
        return replace(end, reason=reason)

    def _ordered_end(self, conn: int) -> Disconnect | None:
        order = self._disconnect
        if order is not None and order.conn >= conn:
            return order
        return Disconnect(conn, _GOING_AWAY, "") if self.stopping.is_set() else None
