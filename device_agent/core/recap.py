"""What was said before a connection was lost, for the one after it: the service knows no resuming.

A new connection is a new conversation with an empty memory. It is told what both said, and of the agent's words only
what was heard, because people answer to that.
"""

from __future__ import annotations

from dataclasses import dataclass

from device_agent.core import events as e
from device_agent.protocol import messages as m

TURNS = 30
LETTERS = 4000
OPENING = "The connection was lost and is new. This was said before, go on from there without a greeting:"


@dataclass(slots=True)
class _Turn:
    """`heard_ms` of the reply's `ms` of sound were played; None: all there was, or it was never begun to be played."""

    speaker: str
    text: str
    event_id: int | None = None
    ms: float = 0.0
    heard_ms: float | None = None


class Recap:
    """Keeps the last 30 turns, and tells them in 4,000 letters at most."""

    def __init__(self) -> None:
        self._turns: list[_Turn] = []
        self._due = False

    def connect(self) -> None:
        """Ids begin anew: nothing that is still to come concerns the turns so far."""
        for turn in self._turns:
            turn.event_id = None

    def lost(self) -> None:
        """The conversation broke off: the next one must be told."""
        self._due = bool(self._turns)

    def over(self) -> None:
        """The conversation ended: the next one is another."""
        self._turns.clear()
        self._due = False

    @property
    def due(self) -> bool:
        """Whether the conversation that begins continues one."""
        return self._due

    def take(self) -> m.ContextualUpdate | None:
        """What the new conversation is told, once."""
        if not self._due:
            return None
        self._due = False
        lines = [f"{turn.speaker}: {_heard(turn)}" for turn in self._turns]
        text = "\n".join(lines)
        if len(text) > LETTERS:
            text = f"…{text[-LETTERS:]}"
        return m.ContextualUpdate(f"{OPENING}\n{text}")

    # ------------------------------------------------------------------------------- what happens
    def user(self, said: m.UserTranscript) -> None:
        self._add(_Turn("User", said.text))

    def agent(self, said: m.AgentResponse) -> None:
        self._add(_Turn("You", said.text, said.event_id))

    def corrected(self, said: m.AgentResponseCorrection) -> None:
        """The service knows better than we what was heard."""
        turn = self._reply(said.event_id)
        if turn is not None:
            turn.text, turn.event_id, turn.heard_ms = said.corrected, None, None

    def audio(self, audio: e.AgentAudio) -> None:
        turn = self._reply(audio.event_id)
        if turn is not None:
            turn.ms += audio.ms

    def played(self, played: e.Played) -> None:
        turn = self._reply(played.event_id)
        if turn is not None:
            turn.heard_ms = None if played.complete else played.ms

    def _add(self, turn: _Turn) -> None:
        self._turns.append(turn)
        del self._turns[:-TURNS]

    def _reply(self, event_id: int | None) -> _Turn | None:
        if event_id is None:
            return None
        return next((turn for turn in reversed(self._turns) if turn.event_id == event_id), None)


def _heard(turn: _Turn) -> str:
    if turn.heard_ms is None or turn.ms <= 0:
        return turn.text
    words = turn.text.split()
    kept = words[: int(len(words) * min(1.0, turn.heard_ms / turn.ms))]
    return f"{' '.join(kept)} … (the rest was not heard)" if len(kept) < len(words) else turn.text
