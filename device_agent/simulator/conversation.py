"""One conversation as the server sees it: messages and time in, actions out. No socket, no thread, no clock."""

from __future__ import annotations

import random
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from device_agent.simulator import messages
from device_agent.simulator.downlink import Action, Close, Downlink, Drop, Send, Stall
from device_agent.simulator.faults import Fault, Schedule, malformed
from device_agent.simulator.hearing import RATE, Heard, TurnDetector, dbfs
from device_agent.simulator.intents import TOOL_FAILED, Answer
from device_agent.simulator.liveness import Liveness
from device_agent.simulator.opening import first_message, refusal
from device_agent.simulator.options import Options
from device_agent.simulator.recogniser import Mind
from device_agent.simulator.speech import Reply, alignment, cut, paced
from device_agent.simulator.validate import judge
from device_agent.simulator.voice import Voice, tone
from device_agent.simulator.wire import FromWire, rate, sample_bytes, to_wire
from device_agent.simulator.witness import Recorder, Witness

_INITIATION_S = 5.0
_TOOL_S = 20.0
_AHEAD_S = 10.0  # of received audio over real time


@dataclass(frozen=True, slots=True)
class _Thought:
    """An answer whose sound is being made. `interrupts`: it announces itself by an interruption with its own id."""

    answer: Answer
    pcm: Future[bytes]
    interrupts: bool
    lengths: tuple[int, int]


class Conversation:
    """Fed by `receive`, `order` and `tick`; what it wants done comes out of `take`.

    Every method is called by the connection's own thread.
    """

    def __init__(
        self,
        number: int,
        options: Options,
        mind: Mind,
        voice: Voice,
        witness: Witness,
        recorder: Recorder,
        is_speech: Callable[[bytes], bool],
        now: float,
        faults: tuple[Fault, ...] | None = None,
    ) -> None:
        self.number = number
        self._options, self._mind, self._voice = options, mind, voice
        self._witness, self._recorder = witness, recorder
        self._rng = random.Random(options.seed)
        self._downlink = Downlink(options.latency, options.jitter, self._rng)
        self._faults = Schedule(options.fault if faults is None else faults, self._rng)
        self._liveness = Liveness(options.ping_interval)
        self._from_wire = FromWire(options.input_format)
        self._detector = TurnDetector(is_speech, options.end_of_turn_ms)
        self._initiation: dict[str, Any] | None = None
        self._born = now
        self._queued_until = float("inf")
        self._open = self._closing = False
        self._last_id = self._turns = self._replies = self._malformed_sent = 0
        self._samples = 0
        self._first_audio: float | None = None
        self._ahead = False
        self._score_ms = 0.0
        self._thought: _Thought | None = None
        self._reply: Reply | None = None
        self._ending = False
        self._complete: tuple[float, int] | None = None
        self._tools: dict[str, tuple[Answer, float]] = {}
        self._settled: set[str] = set()

    # ------------------------------------------------------------------------------------- receiving
    def receive(self, message: str | bytes, now: float) -> None:
        """Takes one frame of the client."""
        received = judge(message, sample_bytes(self._options.input_format))
        for violation in received.violations:
            self._violation(violation, now)
        if received.kind == "user_audio_chunk":
            self._audio(received.audio, now)
            return
        self._note("message", now, type=received.kind, bytes=len(message))
        if received.kind == "conversation_initiation_client_data":
            self._initiate(received.body, now)
        elif received.kind == "pong":
            self._pong(received.body.get("event_id"), now)
        elif received.kind == "client_tool_result":
            self._tool_result(received.body, now)
        elif received.kind in ("user_message", "multimodal_message") and self._open:
            self._typed(received.body, now)

    def _initiate(self, body: dict[str, Any], now: float) -> None:
        if self._initiation is not None:
            self._violation("a second conversation_initiation_client_data", now)
            return
        self._initiation = body
        if reason := refusal(body, self._options):
            self._close(1008, reason, now)
            return
        wait = self._options.queue_timeout or self._options.queue_seconds
        if self._options.queue_after_metadata or not wait:
            self._send_metadata(now)
        if wait:
            self._queued_until = now + wait
            self._send(messages.queue_status("waiting"), now)
        else:
            self._begin(now)

    def _send_metadata(self, now: float) -> None:
        options = self._options
        name = f"conv_sim{self.number}"
        self._send(messages.metadata(name, options.output_format, options.input_format), now)

    def _admit(self, now: float) -> None:
        self._queued_until = float("inf")
        if self._options.queue_timeout:
            self._send(messages.queue_status("timed_out"), now)
            self._close(3008, "too many concurrent connections", now)
            return
        self._send(messages.queue_status("admitted"), now)
        if not self._options.queue_after_metadata:
            self._send_metadata(now)
        self._begin(now)

    def _begin(self, now: float) -> None:
        self._open = True
        self._liveness.start(now)
        self._faults.start(now)
        if text := first_message(self._initiation or {}, self._options):
            self._think(Answer(text))

    def _pong(self, event_id: object, now: float) -> None:
        took = self._liveness.pong(event_id, now)
        if took is None:
            self._violation(f"pong for {event_id!r}, which was not asked or already answered", now)
        else:
            self._note("pong", now, event_id=event_id, ms=round(took, 3))

    def _typed(self, body: dict[str, Any], now: float) -> None:
        text = body.get("text")
        words = text.get("text", "") if isinstance(text, dict) else text
        self._turns += 1
        transcript = "".join(c for c in str(words or "").lower() if c.isalpha() or c in " '")
        # Seen with the real service: a typed message interrupts, and its reply carries the interruption's id.
        self._think(self._mind.answer(self._turns, transcript, b""), interrupts=True)

    # --------------------------------------------------------------------------------------- hearing
    def _audio(self, data: bytes, now: float) -> None:
        pcm = self._from_wire.decode(data)
        self._samples += len(pcm) // 2
        self._recorder.keep(self.number, data, pcm)
        self._note(
            "audio",
            now,
            samples=self._samples,
            n=len(pcm) // 2,
            dbfs=round(dbfs(pcm), 1),
            bytes=len(data),
            discarded=not self._open,
        )
        if not self._open:
            self._violation("audio before the metadata or while queued: thrown away", now)
            return
        self._check_cadence(now)
        for heard in self._detector.feed(pcm):
            self._heard(heard, now)
        if self._detector.in_turn:
            self._mind.listen(bytes(self._detector.turn))
        self._score(len(pcm) * 500 / RATE, now)

    def _check_cadence(self, now: float) -> None:
        if self._first_audio is None:
            self._first_audio = now
        ahead = self._samples / RATE - (now - self._first_audio) > _AHEAD_S
        if ahead and not self._ahead:
            self._violation(f"audio is more than {_AHEAD_S:.0f} s ahead of real time", now)
        self._ahead = ahead

    def _heard(self, heard: Heard, now: float) -> None:
        detector = self._detector
        self._note(heard.value, now, samples=self._samples, speech_ms=detector.speech_ms)
        if heard is Heard.CONFIRMED:
            self._thought = None  # the user goes on: what was about to be said is void
            if self._reply is not None and self._reply.sounding(now):
                self._silence(self._next_id(), now)
        elif heard is Heard.PAUSE:
            self._mind.listen(bytes(detector.turn))
            self._guess(now)
        elif heard is Heard.END:
            self._mind.listen(bytes(detector.turn))
            self._end_turn(now)
        elif heard is Heard.DROPPED:
            self._mind.finish()

    def _guess(self, now: float) -> None:
        """Says what it believes so far, and lets the voice begin on the likely answer."""
        transcript = self._mind.partial()
        answer = self._mind.answer(self._turns + 1, transcript, bytes(self._detector.turn))
        self._send(messages.tentative_user_transcript(transcript, self._last_id + 1), now)
        if answer.pcm is None:
            self._voice.speech(answer.text)
            self._send(messages.tentative_agent_response(answer.text), now)

    def _end_turn(self, now: float) -> None:
        transcript, turn = self._mind.finish(), bytes(self._detector.turn)
        self._turns += 1
        self._note("turn", now, number=self._turns, transcript=transcript, ms=len(turn) * 500 // RATE)
        self._send(messages.user_transcript(transcript, self._next_id()), now)
        answer = self._mind.answer(self._turns, transcript, turn)
        if answer.tool:
            self._call_tool(answer, now)
        else:
            self._think(answer)

    def _score(self, ms: float, now: float) -> None:
        self._score_ms += ms
        if self._options.vad_score_ms and self._score_ms >= self._options.vad_score_ms:
            self._score_ms %= self._options.vad_score_ms
            self._send(messages.vad_score(round(self._detector.speech_share, 3)), now)
            if self._detector.in_turn:
                share = min(1.0, self._detector.silence_ms / self._options.end_of_turn_ms)
                self._send(messages.turn_probability(round(share, 3)), now)

    # ----------------------------------------------------------------------------------------- tools
    def _call_tool(self, answer: Answer, now: float) -> None:
        event_id = self._next_id()
        call_id = f"call_{self.number}_{event_id}"
        self._tools[call_id] = answer, now + _TOOL_S
        self._send(messages.client_tool_call(answer.tool, call_id, dict(answer.parameters), event_id), now)

    def _tool_result(self, body: dict[str, Any], now: float) -> None:
        call_id = str(body.get("tool_call_id"))
        if call_id not in self._tools:
            again = "a second time" if call_id in self._settled else "that was never called"
            self._violation(f"client_tool_result for {call_id!r} {again}", now)
            return
        failed = bool(body.get("is_error") or body.get("error_type"))
        self._note("tool_result", now, tool_call_id=call_id, is_error=failed, result=body.get("result"))
        self._settle(call_id, failed)

    def _settle(self, call_id: str, failed: bool) -> None:
        answer, _ = self._tools.pop(call_id)
        self._settled.add(call_id)
        if failed:
            self._think(Answer(TOOL_FAILED))
        elif answer.text:
            self._think(answer)

    # -------------------------------------------------------------------------------------- speaking
    def _think(self, answer: Answer, interrupts: bool = False, lengths: tuple[int, int] | None = None) -> None:
        if answer.pcm is None:
            sound = self._voice.speech(answer.text)
        else:
            sound = Future()
            sound.set_result(answer.pcm)
        self._thought = _Thought(answer, sound, interrupts, lengths or self._options.chunk_ms)

    def _speak(self, thought: _Thought, now: float) -> None:
        event_id = self._next_id()
        if thought.interrupts or (self._reply is not None and self._reply.sounding(now)):
            self._silence(event_id, now)
        self._replies += 1
        self._strike(self._faults.at("turn", self._replies), now)
        self._send_malformed(now)
        form = self._options.output_format
        per_second, sample = rate(form) * sample_bytes(form), sample_bytes(form)
        data = to_wire(thought.pcm.result(), form)
        chunks = paced(
            cut(data, per_second, sample, thought.lengths, self._rng), per_second, self._options.pace, now, self._rng
        )
        duration = 1000 * len(data) / per_second
        self._reply = Reply(thought.answer.text, event_id, self._replies, now, duration, chunks)
        self._ending = thought.answer.ends
        self._note("reply", now, number=self._replies, event_id=event_id, ms=round(duration), text=thought.answer.text)
        self._send(messages.agent_response(thought.answer.text, event_id), now)

    def _emit(self, reply: Reply, now: float) -> None:
        """Sends the audio events of `reply` whose time has come."""
        while reply.waiting and reply.waiting[0].due <= now:
            chunk = reply.waiting.popleft()
            marks = alignment(reply.text, reply.duration_ms, chunk.start_ms, chunk.duration_ms)
            message = messages.audio(chunk.data, reply.event_id, marks)
            self._downlink.message(message, now, event_id=reply.event_id, ms=round(chunk.duration_ms, 3))
            if len(reply.waiting) == reply.chunks // 2:
                self._strike(self._faults.at("reply", reply.number), now)
            if not reply.waiting:
                self._finish(reply, now)

    def _finish(self, reply: Reply, now: float) -> None:
        final = messages.audio(b"", reply.event_id, is_final=True)
        self._downlink.message(final, now, event_id=reply.event_id, ms=0, is_final=True)
        self._complete = reply.started + reply.duration_ms / 1000, reply.event_id
        if self._ending:
            self._send(messages.agent_tool_response("end_call", f"end_call_{self.number}", self._next_id()), now)
            self._close(1000, "", now)

    def _silence(self, event_id: int, now: float) -> None:
        """Stops the present reply, and tells the client with `event_id`."""
        self._send(messages.interruption(event_id), now)
        reply, self._reply, self._complete = self._reply, None, None
        if reply is not None:
            self._note("interrupted", now, event_id=reply.event_id, unsent=len(reply.waiting))
            corrected = reply.spoken(now)
            self._send(messages.agent_response_correction(reply.text, corrected, reply.event_id), now)

    def _send_malformed(self, now: float) -> None:
        if names := self._options.malformed:
            name = names[self._malformed_sent % len(names)]
            self._malformed_sent += 1
            self._downlink.put(Send(malformed(name), {"type": "malformed", "name": name}), now)

    # ------------------------------------------------------------------------------------------ time
    def tick(self, now: float) -> None:
        """Does what is due by `now`."""
        if self._closing:
            return
        if self._initiation is None and now - self._born > _INITIATION_S:
            self._violation("no conversation_initiation_client_data within 5 s", now)
            self._close(1008, "Missing conversation_initiation_client_data", now)
        if now >= self._queued_until:
            self._admit(now)
        self._check_liveness(now)
        for call_id in [i for i, (_, deadline) in self._tools.items() if now > deadline]:
            self._note("tool_timeout", now, tool_call_id=call_id)
            self._settle(call_id, failed=True)
        if self._thought is not None and self._thought.pcm.done():
            thought, self._thought = self._thought, None
            self._speak(thought, now)
        if self._reply is not None:
            self._emit(self._reply, now)
        if self._complete is not None and now >= self._complete[0]:
            self._send(messages.agent_response_complete(self._complete[1]), now)
            self._complete = None
        self._strike(self._faults.due(now), now)

    def _check_liveness(self, now: float) -> None:
        if ping := self._liveness.due(now):
            self._downlink.message(messages.ping(*ping), now, event_id=ping[0])
        for event_id in self._liveness.overdue(now):
            self._violation(f"ping {event_id} was not answered for 5 s", now)

    def next_due(self) -> float:
        """When `tick` or `take` has something to do, as far as is known."""
        chunk = self._reply.waiting[0].due if self._reply is not None and self._reply.waiting else float("inf")
        return min(chunk, self._downlink.next_due, self._liveness.next_due)

    def take(self, now: float) -> list[Action]:
        """What must be done now, in order."""
        return list(self._downlink.take(now))

    def sent(self, action: Send, now: float) -> None:
        """`action` is about to leave, really, at `now`."""
        self._note("sent", now, bytes=len(action.payload), **action.facts)
        if action.facts.get("type") == "ping":
            self._liveness.sent(action.facts["event_id"], now)

    def resumed(self, now: float) -> None:
        """A stall of our own making has ended."""
        self._liveness.forgive()
        self._note("resumed", now)

    # ---------------------------------------------------------------------------------------- orders
    def order(self, order: dict[str, Any], now: float) -> None:
        """Obeys one line of the control channel. Raises KeyError, TypeError or ValueError for a wrong one."""
        do = order["do"]
        if do == "say":
            self._think(Answer(str(order["text"])))
        elif do == "interrupt":
            self._silence(self._next_id(), now)
        elif do == "close":
            self._close(int(order.get("code", 1000)), str(order.get("reason", "")), now)
        elif do == "drop":
            self._downlink.put(Drop(), now)
        elif do == "stall":
            self._downlink.put(Stall(float(order.get("seconds", "inf"))), now)
        elif do == "tool":
            answer = Answer(str(order.get("text", "")), str(order["name"]), dict(order.get("parameters", {})))
            self._call_tool(answer, now)
        elif do == "raw":
            self._downlink.put(Send(str(order["text"]), {"type": "raw"}), now)
        elif do == "audio":
            chunk = int(order.get("chunk_ms", 250))
            sound = tone(int(order["ms"]), float(order.get("hz", 440)))
            self._think(Answer(str(order.get("text", "(tone)")), pcm=sound), lengths=(chunk, chunk))
        else:
            raise ValueError(f"unknown order {do!r}")

    # ------------------------------------------------------------------------------------------ small
    def _strike(self, faults: list[Fault], now: float) -> None:
        for fault in faults:
            self._note("fault", now, action=fault.action, code=fault.code, reason=fault.reason)
            if fault.action == "close":
                self._close(fault.code, fault.reason, now)
            else:
                self._downlink.put(Drop() if fault.action == "drop" else Stall(fault.seconds), now)

    def _close(self, code: int, reason: str, now: float) -> None:
        self._closing = True
        self._downlink.put(Close(code, reason), now)

    def _send(self, message: messages.Message, now: float) -> None:
        if message["type"] not in self._options.without:
            _, body = message.values()
            self._downlink.message(
                message, now, **{name: body[name] for name in ("event_id", "status") if name in body}
            )

    def _next_id(self) -> int:
        self._last_id += 1
        return self._last_id

    def _note(self, kind: str, now: float, **facts: Any) -> None:
        self._witness.note(kind, self.number, now, **facts)

    def _violation(self, what: str, now: float) -> None:
        self._note("violation", now, what=what)
