"""What of the microphone goes out, in order, without holes and in real time (R6, R7)."""

from __future__ import annotations

from collections import deque

from device_agent.core.commands import SendFrames, SendSilence

KEPT_FRAMES = 400  # 8 s kept while connecting; the capture ring holds 10
TAIL_FRAMES = 75  # 1.5 s of silence end a turn for sure
CATCH_UP = 4  # kept frames leave at up to four times real time


class Uplink:
    """A queue of 20 ms slots: a slot is the number of a captured frame, or None for silence.

    `release` is called once per captured frame and lets out up to four slots: so what was kept while connecting
    goes first, at four times real time, and live frames follow behind it.

    `borrowed` counts slots that go out in addition to real time (silence in place of a frame that came after all,
    a burst of pre-roll): as many silent slots are left out afterwards, so that the server's clock of received
    audio stays with ours.
    """

    def __init__(self) -> None:
        self._slots: deque[tuple[int | None, bool]] = deque()  # with whether it was kept
        self._silent = 0
        self.borrowed = 0
        self.dropped = 0

    def add(self, slot: int | None, live: bool) -> None:
        """Queue a slot; beyond 8 s the oldest makes room and is counted in `dropped`.

        Until it goes out `live`, silence is kept only behind words, and only as long as the server needs to hear the
        end of a turn: a long wait for the connection must not push the words out.
        """
        if slot is not None:
            self._silent = 0
        elif self.borrowed:
            self.borrowed -= 1
            return
        else:
            self._silent += 1
            if not live and (self._silent > TAIL_FRAMES or not self._slots):
                return
        if len(self._slots) >= KEPT_FRAMES:
            self._slots.popleft()
            self.dropped += 1
        self._slots.append((slot, not live))

    def release(self, conn: int) -> list[SendFrames | SendSilence]:
        """Up to four slots as orders, runs joined."""
        orders: list[SendFrames | SendSilence] = []
        for _ in range(min(CATCH_UP, len(self._slots))):
            slot, kept = self._slots.popleft()
            last = orders[-1] if orders else None
            if slot is None:
                if isinstance(last, SendSilence):
                    orders[-1] = SendSilence(conn, last.frames + 1)
                else:
                    orders.append(SendSilence(conn))
            elif isinstance(last, SendFrames) and (last.last, last.kept) == (slot - 1, kept):
                orders[-1] = SendFrames(conn, last.first, slot, kept)
            else:
                orders.append(SendFrames(conn, slot, slot, kept))
        return orders

    def clear(self) -> None:
        """Forget what was kept: a conversation ended, or the device was muted."""
        self._slots.clear()
        self.borrowed = 0
