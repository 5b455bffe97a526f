"""The WebSocket itself: the upgrade, a guard on every incoming frame, and one out-buffer.

This module owns websocket-client. The library makes the upgrade, frames what we send and unframes what comes;
every limit, the assembly of fragments, and all waiting are ours.
"""

from __future__ import annotations

import ssl
from collections import deque
from collections.abc import Iterator
from typing import Any
from urllib.parse import SplitResult

import websocket
from websocket._handshake import CookieJar

from device_agent.core.ending import End, Kind
from device_agent.link.conduit import Conduit
from device_agent.link.endings import Ended, clean, refusal
from device_agent.link.record import Recorder
from device_agent.link.signed_url import USER_AGENT
from device_agent.records import record

ACCEPTED_BYTES = 16 * 1024 * 1024
TOLERATED_BYTES = 64 * 1024 * 1024
_CONTROL_BYTES = 125
_PIECE = 64 * 1024
_TURN_MESSAGES = 64
_BACKLOG = 1024
_TOO_BIG = 1009
_TRY_AGAIN = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
_OP = websocket.ABNF


@record
class Text:
    """A whole text message, not yet decoded."""

    data: bytes


@record
class Skip:
    """A message that was not taken, for `reason`."""

    reason: str


@record
class Close:
    """The peer's close frame. 1005: it gave no code."""

    code: int
    reason: str


class _Frames(websocket.frame_buffer):
    """The library's frame reader, with our limits checked before any payload is read.

    `recv_frame` of the base class calls `recv_header`, `recv_length` and `recv_mask` once each per frame, and
    begins again with the same one when it raised because the socket ran dry.
    """

    def __init__(self, recv: Any) -> None:
        # No UTF-8 check by the library: it costs 150 times the rest of receiving, and the codec's own is strict.
        super().__init__(recv, skip_utf8_validation=True)
        self.message_bytes = 0
        """Payload of the data message under way, all its fragments added up."""
        self._surplus = 0
        self._control = False

    @property
    def too_large(self) -> bool:
        return self.message_bytes > ACCEPTED_BYTES

    def recv_header(self) -> None:
        super().recv_header()
        fin, rsv1, rsv2, rsv3, opcode, masked, length = self.header or (0,) * 7
        if masked or rsv1 or rsv2 or rsv3:
            raise websocket.WebSocketProtocolException("a masked frame or a reserved bit")
        self._control = opcode >= _OP.OPCODE_CLOSE
        if opcode not in _OP.OPCODES or (self._control and (not fin or length > _CONTROL_BYTES)):
            raise websocket.WebSocketProtocolException("an impossible frame")

    def recv_length(self) -> None:
        super().recv_length()
        length = self.length or 0
        if self._control:
            return
        self.message_bytes += length
        if self.message_bytes > TOLERATED_BYTES:
            raise Ended(End(Kind.PROTOCOL, _TOO_BIG, "a message of more than 64 MiB"))
        if self.too_large:
            self._surplus, self.length = length, 0

    def recv_mask(self) -> None:
        while self._surplus:  # thrown away in pieces: it must not cost memory
            self._surplus -= len(self.recv(min(_PIECE, self._surplus)))
        super().recv_mask()


class Wire:
    """An open WebSocket. Owned by the link thread; no call waits, except in `open`."""

    def __init__(self, conduit: Conduit, recorder: Recorder | None = None) -> None:
        self.conduit = conduit
        self._recorder = recorder
        # Any: the library's types name its own dispatchers only, and half of its methods have none.
        library: Any = websocket.WebSocket
        self._socket = library(dispatcher=self, enable_multithread=False, skip_utf8_validation=True)
        self._frames = self._socket.frame_buffer = _Frames(self._recv)
        self._parts = bytearray()
        self._opcode = 0
        self._out: deque[memoryview] = deque()
        self.pongs = 0
        """Answers to our WebSocket pings so far."""
        self.more = True
        """There may be more to read than `poll` can know: the upgrade's TLS record may hold the first message."""

    def open(self, url: SplitResult, origin: str) -> None:
        """The upgrade, within the conduit's attempt. Raises what the library does, `Ended`, or the attempt."""
        CookieJar.jar.clear()  # the library keeps cookies for the whole process
        try:
            # `dispatcher` is for frames only: the upgrade request goes straight to the conduit.
            self._socket.connect(
                url.geturl(),
                socket=self.conduit,
                redirect_limit=0,
                origin=origin or None,
                suppress_origin=not origin,
                header=[f"User-Agent: {USER_AGENT}"],
            )
        except websocket.WebSocketBadStatusException:
            raise
        except websocket.WebSocketException:
            answer = self._socket.handshake_response
            if answer is None:
                raise
            raise Ended(refusal(answer.status, None, b"")) from None  # a redirect, which we never follow
        self.conduit.established()
        self._note("out", "(open)")

    # ------------------------------------------------------------------------------------ receiving
    def receive(self) -> Iterator[Text | Skip | Close]:
        """What has arrived, at most 64 messages at a time. Answers WebSocket pings on the way."""
        self.more = False
        for _ in range(_TURN_MESSAGES):
            try:
                frame = self._socket.recv_frame()
            except _TRY_AGAIN:
                return
            if frame.opcode == _OP.OPCODE_CLOSE:
                close = _close(frame.data)
                self._note("in", f"(close {close.code})")
                yield close
                return
            if frame.opcode == _OP.OPCODE_PING:
                self._socket.pong(frame.data)
            elif frame.opcode == _OP.OPCODE_PONG:
                self.pongs += 1
            elif frame.opcode in (_OP.OPCODE_TEXT, _OP.OPCODE_BINARY, _OP.OPCODE_CONT):
                yield from self._assemble(frame)
        self.more = True

    def _assemble(self, frame: Any) -> Iterator[Text | Skip]:
        begins = frame.opcode != _OP.OPCODE_CONT
        if begins == bool(self._opcode):
            raise websocket.WebSocketProtocolException("fragments out of order")
        frames = self._frames
        if begins:
            self._opcode = frame.opcode
        if frames.too_large:
            self._parts.clear()
        elif not (begins and frame.fin):
            self._parts += frame.data
        if not frame.fin:
            return
        opcode, size, large = self._opcode, frames.message_bytes, frames.too_large
        data = frame.data if begins else bytes(self._parts)
        self._opcode = frames.message_bytes = 0
        self._parts.clear()
        if large or opcode == _OP.OPCODE_BINARY:
            yield self._skip("too_large" if large else "binary", size)
        else:
            if self._recorder:
                self._recorder.message("in", data)
            yield Text(data)

    def _skip(self, reason: str, size: int) -> Skip:
        self._note("in", f"({reason})", size)
        return Skip(reason)

    def _note(self, direction: str, what: str, size: int = 0) -> None:
        if self._recorder:
            self._recorder.note(direction, what, size=size)

    def _recv(self, size: int) -> bytes:
        data = self.conduit.recv(size)
        if not data:
            raise websocket.WebSocketConnectionClosedException
        return data

    # -------------------------------------------------------------------------------------- sending
    def text(self, message: str) -> None:
        """Frame a text message into the out-buffer."""
        if self._recorder:
            self._recorder.message("out", message)
        self._socket.send(message)

    def ping(self) -> None:
        self._socket.ping()

    def close(self, code: int, reason: str = "") -> None:
        """Frame a close message into the out-buffer. Nothing may follow."""
        self._note("out", f"(close {code})")
        self._socket.send_close(code, reason.encode()[: _CONTROL_BYTES - 2])

    def send(self, sock: Any, data: bytes) -> int:
        """What websocket-client calls, as its dispatcher, with every frame that it has made."""
        if len(self._out) >= _BACKLOG:
            raise Ended(End(Kind.TIMEOUT, reason="stalled"))  # it floods us with pings and reads no pong
        self._out.append(memoryview(data))
        return len(data)

    def flush(self) -> bool:
        """Write what the socket takes; whether the out-buffer is empty."""
        out = self._out
        while out:
            try:
                taken = self.conduit.send(out[0])
            except _TRY_AGAIN:
                return False
            if taken < len(out[0]):
                out[0] = out[0][taken:]
                return False
            out.popleft()
        return True

    @property
    def pending(self) -> bool:
        return bool(self._out)


def _close(data: bytes) -> Close:
    if not data:
        return Close(1005, "")
    return Close(int.from_bytes(data[:2], "big"), clean(data[2:].decode(errors="replace")))
