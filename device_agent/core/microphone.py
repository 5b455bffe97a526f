"""The microphone's side: whether somebody speaks, and what of it goes out (the gate and the uplink together)."""

from __future__ import annotations

from collections.abc import Sequence

from device_agent.config import schema
from device_agent.core.commands import SendFrames, SendSilence
from device_agent.core.events import Frame
from device_agent.core.gate import FRAME_MS, Gate
from device_agent.core.uplink import Uplink


class Microphone:
    """Takes each captured frame twice: `hear` judges it, `keep` puts it, or silence in its place, on its way."""

    def __init__(self, gate: schema.Gate) -> None:
        self._gate = Gate(gate)
        self._uplink = Uplink()
        self._preroll = gate.preroll_ms // FRAME_MS
        self._deaf = False
        self._fresh = 0  # the first frame that a pre-roll may hold: after what was sent or must not be heard
        self._filled = 0  # silence sent since the last frame, because the next did not come
        self._filled_at = 0.0

    @property
    def speech(self) -> bool:
        """Whether somebody speaks now."""
        return self._gate.open

    def hear(self, frame: Frame, deaf: bool) -> bool | None:
        """True: somebody begins to speak; False: they have ended. `deaf` frames count as quiet and stay unheard."""
        self._deaf = deaf
        if deaf:
            self._fresh = frame.seq + 1
        return self._gate.frame(frame.speech and not deaf)

    def preroll(self, seq: int, extra: bool) -> None:
        """Add what was heard just before frame `seq`; `extra`: silence has gone out in its place already."""
        for earlier in range(max(self._fresh, seq - self._preroll), seq):
            self._uplink.add(earlier, live=True)
            self._uplink.borrowed += extra

    def keep(self, frame: Frame, talking: bool, every: bool, live: bool) -> None:
        """Queue the frame if the user is `talking` to the agent and it is speech (or `every` frame is wanted)."""
        if self._filled:
            self._repay(frame.t)
        heard = talking and not self._deaf and (every or self._gate.open)
        if heard:
            self._fresh = frame.seq + 1
        self._uplink.add(frame.seq if heard else None, live)

    def late(self, now: float) -> None:
        """No frame came in time: the server still hears time go by."""
        self._filled += 1
        self._filled_at = now
        self._uplink.add(None, live=True)

    def release(self, conn: int) -> Sequence[SendFrames | SendSilence]:
        """What is due now."""
        return self._uplink.release(conn)

    def connect(self) -> None:
        """Another server, which has heard nothing yet: no debts."""
        self._uplink.borrowed = self._filled = 0

    def forget(self) -> None:
        """The conversation is over: nothing is on its way any more."""
        self._uplink.clear()

    def mute(self) -> None:
        """Forget all that was heard."""
        self._uplink.clear()
        self._gate.reset()

    def _repay(self, t: float) -> None:
        """A frame came after a gap that silence has filled: is it one of those that were missed, or a later one?"""
        if t <= self._filled_at:
            self._filled -= 1
            self._uplink.borrowed += 1
        else:
            self._filled = 0
