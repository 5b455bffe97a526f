"""The agent's ear: from received audio to turns, tool calls and answers."""

from __future__ import annotations

from typing import Any

from device_agent.simulator import messages
from device_agent.simulator.hearing import RATE, Heard, TurnDetector
from device_agent.simulator.intents import TOOL_FAILED, Answer
from device_agent.simulator.line import Line
from device_agent.simulator.recogniser import Mind
from device_agent.simulator.speaking import Speaker

_TOOL_S = 20.0


class Tools:
    """Client tools that were called, and what will be said when each has answered."""

    def __init__(self, line: Line, speaker: Speaker) -> None:
        self._line, self._speaker = line, speaker
        self._waiting: dict[str, tuple[Answer, float]] = {}
        self._settled: set[str] = set()

    def call(self, answer: Answer, now: float) -> None:
        """Calls the answer's tool; its text is said after success."""
        event_id = self._line.next_id()
        call_id = f"call_{self._line.number}_{event_id}"
        self._waiting[call_id] = answer, now + _TOOL_S
        self._line.send(messages.client_tool_call(answer.tool, call_id, dict(answer.parameters), event_id), now)

    def result(self, body: dict[str, Any], now: float) -> None:
        """Takes a `client_tool_result`."""
        call_id = str(body.get("tool_call_id"))
        if call_id not in self._waiting:
            fault = "a second time" if call_id in self._settled else "but it was never called"
            self._line.violation(f"client_tool_result for {call_id!r}, {fault}", now)
            return
        failed = bool(body.get("is_error") or body.get("error_type"))
        self._line.note("tool_result", now, tool_call_id=call_id, is_error=failed, result=body.get("result"))
        self._settle(call_id, failed)

    def tick(self, now: float) -> None:
        """Gives up on tools that have not answered within 20 s."""
        for call_id in [i for i, (_, deadline) in self._waiting.items() if now > deadline]:
            self._line.note("tool_timeout", now, tool_call_id=call_id)
            self._settle(call_id, failed=True)

    def _settle(self, call_id: str, failed: bool) -> None:
        answer, _ = self._waiting.pop(call_id)
        self._settled.add(call_id)
        if failed:
            self._speaker.think(Answer(TOOL_FAILED))
        elif answer.text:
            self._speaker.think(answer)


class Listener:
    """Feeds turns to the mind, and does what the mind answers."""

    def __init__(self, line: Line, mind: Mind, detector: TurnDetector, speaker: Speaker, tools: Tools) -> None:
        self._line, self._mind, self._detector = line, mind, detector
        self._speaker, self._tools = speaker, tools
        self._turns = 0
        self._unscored_ms = 0.0

    def hear(self, pcm: bytes, now: float) -> None:
        """Takes received samples, 16 kHz."""
        for heard in self._detector.feed(pcm):
            self._heard(heard, now)
        if self._detector.in_turn:
            self._mind.listen(bytes(self._detector.turn))
        self._score(len(pcm) * 500 / RATE, now)

    def read(self, text: str, now: float) -> None:
        """Takes a typed message, which forces a reply."""
        self._turns += 1
        words = "".join(c for c in text.lower() if c.isalpha() or c in " '")
        # Seen with the real service: a typed message interrupts, and its reply carries the interruption's id.
        self._speaker.think(self._mind.answer(self._turns, words, b""), interrupts=True)

    def _heard(self, heard: Heard, now: float) -> None:
        self._line.note(heard.value, now, speech_ms=self._detector.speech_ms)
        if heard is Heard.CONFIRMED:
            self._speaker.barge_in(now)
        elif heard is Heard.PAUSE:
            self._guess(now)
        elif heard is Heard.END:
            self._end_turn(now)
        elif heard is Heard.DROPPED:
            self._mind.finish()

    def _guess(self, now: float) -> None:
        """Says what it believes so far, and lets the voice begin on the likely answer."""
        turn = bytes(self._detector.turn)
        self._mind.listen(turn)
        transcript = self._mind.partial()
        self._line.send(messages.tentative_user_transcript(transcript, self._turns + 1), now)
        self._speaker.expect(self._mind.answer(self._turns + 1, transcript, turn), now)

    def _end_turn(self, now: float) -> None:
        turn = bytes(self._detector.turn)
        self._mind.listen(turn)
        transcript = self._mind.finish()
        self._turns += 1
        self._line.note("turn", now, number=self._turns, transcript=transcript, ms=len(turn) * 500 // RATE)
        self._line.send(messages.user_transcript(transcript, self._line.next_id()), now)
        answer = self._mind.answer(self._turns, transcript, turn)
        if answer.tool:
            self._tools.call(answer, now)
        else:
            self._speaker.think(answer)

    def _score(self, ms: float, now: float) -> None:
        every = self._line.options.vad_score_ms
        self._unscored_ms += ms
        if every and self._unscored_ms >= every:
            self._unscored_ms %= every
            self._line.send(messages.vad_score(round(self._detector.speech_share, 3)), now)
            if self._detector.in_turn:
                share = min(1.0, self._detector.silence_ms / self._line.options.end_of_turn_ms)
                self._line.send(messages.turn_probability(round(share, 3)), now)
