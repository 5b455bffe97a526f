"""What the server says, turned into facts; its voice goes into the playback ring."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from device_agent.core.ending import End, Kind
from device_agent.core.events import AgentAudio, Event, ServerSaid, WireSkipped
from device_agent.link.endings import Ended
from device_agent.link.liveness import Liveness
from device_agent.link.uplink import Uplink
from device_agent.protocol.codec import decode
from device_agent.protocol.formats import AudioFormat, FormatError, parse
from device_agent.protocol.messages import Audio, Metadata, Ping, Pong, Skipped
from device_agent.runtime.deadline import Clock
from device_agent.runtime.ring import Chunk, PlaybackRing

UNSUPPORTED = 1003  # the close code for data of a kind that we cannot take


class Downlink:
    """One connection's incoming messages. Owned by the link thread; never blocks."""

    def __init__(
        self,
        conn: int,
        post: Callable[[Event], None],
        ring: PlaybackRing,
        handles: Iterator[int],
        uplink: Uplink,
        liveness: Liveness,
        clock: Clock,
    ) -> None:
        self._conn = conn
        self._post = post
        self._ring = ring
        self._handles = handles
        self._uplink = uplink
        self._liveness = liveness
        self._clock = clock
        self._voice: AudioFormat | None = None

    def take(self, data: bytes) -> Pong | None:
        """Post what the message says. Returns the answer to a ping, which must go out ahead of all else.

        Raises `Ended` for audio formats that we do not speak, `AudioError` for one that needs a missing library.
        """
        message = decode(data)
        match message:
            case Skipped():
                self.skip(message.reason, message.type)
                return None
            case Audio():
                self._play(message)
                return None
            case Metadata() if self._voice is not None:
                self.skip("second_metadata", "conversation_initiation_metadata")
                return None
            case Metadata():
                self._agree(message)
        self._liveness.said(message, self._clock())
        self._post(ServerSaid(self._conn, message))
        return Pong(message.event_id) if isinstance(message, Ping) else None

    def skip(self, reason: str, wire_type: str = "") -> None:
        self._post(WireSkipped(self._conn, reason, wire_type))

    def _agree(self, metadata: Metadata) -> None:
        try:
            self._uplink.use(parse(metadata.user_input_audio_format))
            self._voice = parse(metadata.agent_output_audio_format)
        except FormatError as error:
            raise Ended(End(Kind.PROTOCOL, UNSUPPORTED, str(error))) from None

    def _play(self, audio: Audio) -> None:
        if self._voice is None:
            return self.skip("before_metadata", "audio")
        try:
            pcm = self._voice.to_pcm(audio.data)
        except FormatError:
            return self.skip("odd_length", "audio")
        chunk = Chunk(next(self._handles), audio.event_id, self._voice.rate, pcm, audio.is_final)
        if not self._ring.put(chunk):
            return self.skip("ring_full", "audio")
        # The fact follows the audio: whoever acts on it finds the chunk in the ring.
        self._post(AgentAudio(self._conn, chunk.handle, chunk.event_id, chunk.ms, chunk.final))
        return None
