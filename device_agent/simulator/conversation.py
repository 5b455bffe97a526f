"""One conversation as the server sees it: messages and time in, actions out. No socket, no thread, no clock."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from device_agent.simulator import messages, orders
from device_agent.simulator.downlink import Action, Close, Drop, Send, Stall
from device_agent.simulator.faults import Fault, Schedule
from device_agent.simulator.hearing import RATE, TurnDetector, dbfs
from device_agent.simulator.intents import Answer
from device_agent.simulator.line import Line
from device_agent.simulator.listening import Listener, Tools
from device_agent.simulator.liveness import Liveness
from device_agent.simulator.opening import first_message, refusal
from device_agent.simulator.options import Options
from device_agent.simulator.recogniser import Mind
from device_agent.simulator.speaking import Speaker
from device_agent.simulator.validate import judge
from device_agent.simulator.voice import Voice
from device_agent.simulator.wire import FromWire, sample_bytes
from device_agent.simulator.witness import Recorder, Witness

_INITIATION_S = 5.0
_AHEAD_S = 10.0  # of received audio over real time
_NEVER = float("inf")


class Conversation:
    """Fed by `receive`, `order` and `tick`; what it wants done comes out of `take`.

    Every method is called by the connection's own thread. `faults` are those of this connection.
    """

    def __init__(
        self,
        number: int,
        options: Options,
        faults: tuple[Fault, ...],
        mind: Mind,
        voice: Voice,
        is_speech: Callable[[bytes], bool],
        witness: Witness,
        recorder: Recorder,
        now: float,
    ) -> None:
        rng = random.Random(options.seed)
        self._options, self._recorder = options, recorder
        self._line = Line(number, options, witness, rng)
        self._faults = Schedule(faults, rng)
        self._speaker = Speaker(self._line, voice, self._faults)
        self._tools = Tools(self._line, self._speaker)
        detector = TurnDetector(is_speech, options.end_of_turn_ms)
        self._listener = Listener(self._line, mind, detector, self._speaker, self._tools)
        self._liveness = Liveness(options.ping_interval)
        self._from_wire = FromWire(options.input_format)
        self._initiation: dict[str, Any] | None = None
        self._initiation_due, self._admission_due = now + _INITIATION_S, _NEVER
        self._open = False
        self._samples = 0
        self._first_audio: float | None = None
        self._ahead = False

    # ------------------------------------------------------------------------------------- receiving
    def receive(self, message: str | bytes, now: float) -> None:
        """Takes one frame of the client."""
        received = judge(message, sample_bytes(self._options.input_format))
        for violation in received.violations:
            self._line.violation(violation, now)
        if received.kind == "user_audio_chunk":
            self._audio(received.audio, now)
            return
        self._line.note("message", now, type=received.kind, bytes=len(message))
        match received.kind:
            case "conversation_initiation_client_data":
                self._initiate(received.body, now)
            case "pong":
                self._pong(received.body.get("event_id"), now)
            case "client_tool_result":
                self._tools.result(received.body, now)
            case "user_message" | "multimodal_message" if self._open:
                text = received.body.get("text")
                self._listener.read(str(text.get("text", "") if isinstance(text, dict) else text or ""), now)

    def _audio(self, data: bytes, now: float) -> None:
        pcm = self._from_wire.decode(data)
        self._samples += len(pcm) // 2
        self._recorder.keep(self._line.number, data, pcm)
        facts = {"samples": self._samples, "n": len(pcm) // 2, "dbfs": round(dbfs(pcm), 1), "bytes": len(data)}
        self._line.note("audio", now, **facts, discarded=not self._open)
        if not self._open:
            self._line.violation("audio before the metadata or while queued: thrown away", now)
            return
        self._check_cadence(now)
        self._listener.hear(pcm, now)

    def _check_cadence(self, now: float) -> None:
        if self._first_audio is None:
            self._first_audio = now
        ahead = self._samples / RATE - (now - self._first_audio) > _AHEAD_S
        if ahead and not self._ahead:
            self._line.violation(f"audio is more than {_AHEAD_S:.0f} s ahead of real time", now)
        self._ahead = ahead

    def _pong(self, event_id: object, now: float) -> None:
        took = self._liveness.pong(event_id, now)
        if took is None:
            self._line.violation(f"pong for {event_id!r}, which nobody asked for or which is answered", now)
        else:
            self._line.note("pong", now, event_id=event_id, ms=round(took, 3))

    # --------------------------------------------------------------------------------------- opening
    def _initiate(self, body: dict[str, Any], now: float) -> None:
        if self._initiation is not None:
            self._line.violation("a second conversation_initiation_client_data", now)
            return
        self._initiation, self._initiation_due = body, _NEVER
        if reason := refusal(body, self._options):
            self._line.close(1008, reason, now)
            return
        wait = self._options.queue_timeout or self._options.queue_seconds
        if self._options.queue_after_metadata or not wait:
            self._send_metadata(now)
        if wait:
            self._admission_due = now + wait
            self._line.send(messages.queue_status("waiting"), now)
        else:
            self._begin(now)

    def _send_metadata(self, now: float) -> None:
        options, name = self._options, f"conv_simulated{self._line.number}"
        self._line.send(messages.metadata(name, options.output_format, options.input_format), now)

    def _admit(self, now: float) -> None:
        self._admission_due = _NEVER
        if self._options.queue_timeout:
            self._line.send(messages.queue_status("timed_out"), now)
            self._line.close(3008, "too many concurrent connections", now)
            return
        self._line.send(messages.queue_status("admitted"), now)
        if not self._options.queue_after_metadata:
            self._send_metadata(now)
        self._begin(now)

    def _begin(self, now: float) -> None:
        self._open = True
        self._liveness.start(now)
        self._faults.start(now)
        if text := first_message(self._initiation or {}, self._options):
            self._speaker.think(Answer(text))

    # ------------------------------------------------------------------------------------------ time
    def tick(self, now: float) -> None:
        """Does what is due by `now`."""
        if self._line.closing:
            return
        if now > self._initiation_due:
            self._line.violation(f"no conversation_initiation_client_data within {_INITIATION_S:.0f} s", now)
            self._line.close(1008, "Missing conversation_initiation_client_data", now)
        if now >= self._admission_due:
            self._admit(now)
        if ping := self._liveness.due(now):
            self._line.send(messages.ping(*ping), now)
        for event_id in self._liveness.overdue(now):
            self._line.violation(f"ping {event_id} was not answered for 5 s", now)
        self._tools.tick(now)
        self._speaker.tick(now)
        self._line.strike(self._faults.due(now), now)

    @property
    def next_due(self) -> float:
        """When something must leave or be asked, as far as is known."""
        return min(self._speaker.next_due, self._line.next_due, self._liveness.next_due)

    def take(self, now: float) -> list[Action]:
        """What must be done now, in order."""
        return self._line.take(now)

    def performing(self, action: Action, now: float) -> None:
        """`action` is about to happen, really, at `now`."""
        match action:
            case Send():
                self._line.note("sent", now, bytes=len(action.payload), **action.facts)
                if action.facts.get("type") == "ping":
                    self._liveness.sent(action.facts["event_id"], now)
            case Close():
                self._line.note("closing", now, code=action.code, reason=action.reason)
            case Drop():
                self._line.note("dropping", now)
            case Stall():
                self._line.note("stalling", now, seconds=str(action.seconds))

    def resumed(self, now: float) -> None:
        """A stall of our own making has ended: the client is not to blame for what was not read."""
        self._liveness.forgive()
        self._line.note("resumed", now)

    def order(self, order: orders.Order, now: float) -> None:
        """Obeys the control channel. A wrong order is noted, nothing else."""
        try:
            orders.obey(order, self._line, self._speaker, self._tools, now)
        except (KeyError, TypeError, ValueError) as error:
            self._line.note("order_refused", now, order=order, why=repr(error))
