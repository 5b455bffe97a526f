"""The agent's mouth: from an answer to audio events, and to silence when it is interrupted."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass

from device_agent.simulator import messages
from device_agent.simulator.downlink import Send
from device_agent.simulator.faults import Schedule, malformed
from device_agent.simulator.intents import Answer
from device_agent.simulator.line import Line
from device_agent.simulator.speech import Reply, alignment, cut, paced
from device_agent.simulator.voice import Voice
from device_agent.simulator.wire import rate, sample_bytes, to_wire


@dataclass(frozen=True, slots=True)
class _Thought:
    """An answer whose sound is being made. `interrupts`: it announces itself by an interruption with its own id."""

    answer: Answer
    pcm: Future[bytes]
    interrupts: bool
    lengths: tuple[int, int]


class Speaker:
    """Holds at most one answer in mind and one reply on its way; a newer one replaces the older."""

    def __init__(self, line: Line, voice: Voice, faults: Schedule) -> None:
        self._line, self._voice, self._faults = line, voice, faults
        self._thought: _Thought | None = None
        self._reply: Reply | None = None
        self._complete_at: float | None = None
        self._replies = 0

    def think(self, answer: Answer, interrupts: bool = False, lengths: tuple[int, int] | None = None) -> None:
        """Says `answer` as soon as its sound is made, in events of `lengths` ms (the option's, if not given)."""
        if answer.pcm is None:
            sound = self._voice.speech(answer.text)
        else:
            sound = Future()
            sound.set_result(answer.pcm)
        self._thought = _Thought(answer, sound, interrupts, lengths or self._line.options.chunk_ms)

    def expect(self, answer: Answer, now: float) -> None:
        """Makes the sound of a likely answer ahead, and tells the client of it."""
        if answer.pcm is None:
            self._voice.speech(answer.text)
            self._line.send(messages.tentative_agent_response(answer.text), now)

    def barge_in(self, now: float) -> None:
        """The user speaks: what was about to be said is void, what still sounds is interrupted."""
        self._thought = None
        if self._reply is not None and self._reply.sounding(now):
            self.silence(self._line.next_id(), now)

    def silence(self, event_id: int, now: float) -> None:
        """Stops the present reply, if any, and tells the client with `event_id`."""
        self._line.send(messages.interruption(event_id), now)
        reply, self._reply, self._complete_at = self._reply, None, None
        if reply is not None:
            self._line.note("interrupted", now, event_id=reply.event_id, unsent=len(reply.waiting))
            corrected = messages.agent_response_correction(reply.text, reply.spoken(now), reply.event_id)
            self._line.send(corrected, now)

    def tick(self, now: float) -> None:
        """Says what is due."""
        if self._thought is not None and self._thought.pcm.done():
            thought, self._thought = self._thought, None
            self._begin(thought, now)
        if self._reply is not None:
            self._emit(self._reply, now)
            if self._complete_at is not None and now >= self._complete_at:
                self._line.send(messages.agent_response_complete(self._reply.event_id), now)
                self._complete_at = None

    @property
    def next_due(self) -> float:
        """When the next audio event leaves; infinite if none waits."""
        return self._reply.waiting[0].due if self._reply is not None and self._reply.waiting else float("inf")

    def _begin(self, thought: _Thought, now: float) -> None:
        line, options = self._line, self._line.options
        event_id = line.next_id()
        if thought.interrupts or (self._reply is not None and self._reply.sounding(now)):
            self.silence(event_id, now)
        self._replies += 1
        line.strike(self._faults.at("turn", self._replies), now)
        self._send_malformed(now)
        sample = sample_bytes(options.output_format)
        per_second = rate(options.output_format) * sample
        data = to_wire(thought.pcm.result(), options.output_format)
        pieces = cut(data, per_second, sample, thought.lengths, line.rng)
        waiting = paced(pieces, per_second, options.pace, now, line.rng)
        text, duration = thought.answer.text, 1000 * len(data) / per_second
        self._reply = Reply(text, event_id, self._replies, now, duration, waiting, thought.answer.ends)
        line.note("reply", now, number=self._replies, event_id=event_id, ms=round(duration), text=text)
        line.send(messages.agent_response(text, event_id), now)

    def _emit(self, reply: Reply, now: float) -> None:
        """Sends the audio events of `reply` whose time has come."""
        while reply.waiting and reply.waiting[0].due <= now:
            chunk = reply.waiting.popleft()
            marks = alignment(reply.text, reply.duration_ms, chunk.start_ms, chunk.duration_ms)
            message = messages.audio(chunk.data, reply.event_id, marks)
            self._line.send(message, now, ms=round(chunk.duration_ms, 3))
            if len(reply.waiting) == reply.chunks // 2:
                self._line.strike(self._faults.at("reply", reply.number), now)
            if not reply.waiting:
                self._finish(reply, now)

    def _finish(self, reply: Reply, now: float) -> None:
        line = self._line
        line.send(messages.audio(b"", reply.event_id, is_final=True), now, ms=0, is_final=True)
        self._complete_at = reply.started + reply.duration_ms / 1000
        if reply.ends:
            line.send(messages.agent_tool_response("end_call", f"end_call_{line.number}", line.next_id()), now)
            line.close(1000, "", now)

    def _send_malformed(self, now: float) -> None:
        if names := self._line.options.malformed:
            name = names[(self._replies - 1) % len(names)]
            self._line.put(Send(malformed(name), {"type": "malformed", "name": name}), now)
