"""The loudspeaker's side of a conversation: the agent's audio, its interruption, the end of its turn and of a call."""

from __future__ import annotations

from collections.abc import Callable

from device_agent.core import commands as c
from device_agent.core import events as e
from device_agent.core.sounding import Sounding
from device_agent.core.state import State
from device_agent.core.tables import Link, Turn
from device_agent.protocol import messages as m

REPLY_HOLD_S = 0.5  # a reply whose end was not announced is over after this much silence
DUCKED_S = 1.5  # if the server does not agree by then that the user interrupts, the agent gets its level back
FAREWELL_S = 30.0  # after it hung up the agent may speak for so long
HANG_UP_S = 1.0  # … and begin so late
KEEP_S = 5.0  # a loudspeaker that is back by then goes on with the reply
END_CALL = "end_call"


class Speaker:
    """`close` ends the conversation: after the farewell of an agent that has hung up, or after its one answer."""

    def __init__(self, state: State, tail_s: float, close: Callable[[str], None], one_shot: bool) -> None:
        self._state = state
        self._sounding = Sounding(tail_s)
        self._close = close
        self._one_shot = one_shot
        self._ducked = False
        self._hang_up_by: float | None = None  # the agent has ended the call: its farewell is over by then

    @property
    def sounding(self) -> bool:
        """Whether agent audio is audible or about to be."""
        return self._sounding.now

    @property
    def echoes(self) -> bool:
        """Whether the microphone hears the agent, as far as the loudspeaker knows."""
        return self._sounding.echoes(self._state.now) and not self._state.snapshot.loudspeaker

    def connect(self) -> None:
        """Ids begin anew with each conversation; the farewell of the one before has no place in it."""
        self.flush()
        self._sounding.connect()

    def disconnect(self) -> None:
        """There will be no more audio."""
        self._hang_up_by = None

    # ------------------------------------------------------------------------------- what comes from the agent
    def agent_audio(self, audio: e.AgentAudio) -> None:
        """Play it or throw it away."""
        state = self._state
        gone = state.snapshot.loudspeaker and "gone" not in state.timers
        if audio.conn != state.conn or state.link is not Link.READY or gone:
            state.orders.append(c.Discard(audio.handle))
            return
        order = self._sounding.judge(audio, state.now)
        state.orders.append(order)
        if isinstance(order, c.Discard):
            return
        state.cancel("think")
        if audio.ms > 0:
            state.cancel("hold")
            self._watch()
            if self._hang_up_by is not None:
                state.after("hang up", self._hang_up_by - state.now)
        elif not self.sounding:
            self.reply_done()

    def interrupted(self, event_id: int | None) -> None:
        """The server heard the user speak over the agent, or something else that made it stop."""
        self._sounding.reply.interrupted(event_id)
        self._cut()

    def stopped(self) -> None:
        """The user stopped the agent by a press."""
        self._sounding.stopped()
        self._cut()

    def spoken_over(self) -> None:
        """Somebody speaks while the agent does: it gets softer at once, until the server interrupts it or does not."""
        if self.sounding:
            self._duck(True)
            self._state.after("duck", DUCKED_S)

    def unduck(self) -> None:
        """The agent is as loud as before."""
        self._duck(False)
        self._state.cancel("duck")

    def complete(self, complete: m.AgentResponseComplete) -> None:
        """There is no more of this reply."""
        reply = self._sounding.reply
        if complete.event_id in (None, reply.event_id):
            reply.final = True
            if "hold" in self._state.timers:
                self.reply_done()

    def tool_response(self, response: m.AgentToolResponse) -> None:
        """A tool ran on the server: the one that hangs up lets the farewell sound first."""
        if response.tool_name == END_CALL and response.is_called and not response.is_error:
            self._hang_up_by = self._state.now + FAREWELL_S
            self._state.after("hang up", FAREWELL_S if self.sounding else HANG_UP_S)

    # ------------------------------------------------------------------------------- what comes from playback
    def started(self, event: e.PlaybackStarted) -> None:
        """A reply becomes audible."""
        wanted = self._sounding.started(event.event_id, event.t)
        self._watch()
        self._state.active()
        if wanted and self._state.link is Link.READY:
            self._state.turn_signal("reply")

    def idle(self, idle: e.PlaybackIdle) -> None:
        """All that was in hand has sounded, or was flushed."""
        if self._sounding.idle(idle.t, self._state.now):
            self._fell_silent()
        else:
            self._watch()

    def away(self) -> None:
        """The loudspeaker is gone, perhaps for a moment: what is left of the reply waits for it."""
        self._state.cancel("silent")
        self._state.after("gone", KEEP_S)

    def back(self) -> None:
        """The loudspeaker takes samples (again)."""
        self._state.cancel("gone")
        if self.sounding:
            self._sounding.resumed(self._state.now)
            self._watch()

    def lost(self) -> None:
        """The loudspeaker stays away: what is left of the reply will not be played."""
        self._state.cancel("gone")
        self._state.orders += self._sounding.lost()
        self._sounding.reply.final = True
        self._fell_silent()

    def overdue(self) -> None:
        """Playback did not say that the agent is silent, long after it must be: believe the clock."""
        self._state.orders += self._sounding.lost()
        self._fell_silent()

    def flush(self) -> None:
        """Silence the agent."""
        self._state.orders += self._sounding.flush()

    def reply_done(self) -> None:
        """The agent's turn is over."""
        self._state.cancel("hold")
        answered = self._state.turn_signal("reply done") and self._state.asked
        if self._one_shot and answered:
            self._close("answered")
        elif self._hang_up_by is not None:
            self._close("end_call")

    # ------------------------------------------------------------------------------- inside
    def _cut(self) -> None:
        self.flush()
        self._state.cancel("hold")
        self._state.turn_signal("interrupted")
        if not self.sounding:  # it had not begun: no other fact will say that it is over
            self.reply_done()

    def _duck(self, on: bool) -> None:
        if on != self._ducked:
            self._ducked = on
            self._state.orders.append(c.Duck(on))

    def _watch(self) -> None:
        if self._state.snapshot.loudspeaker:
            return  # it takes nothing now, so nothing is overdue
        self._state.after("silent", self._sounding.overdue_at - self._state.now)

    def _fell_silent(self) -> None:
        state = self._state
        state.cancel("silent")
        self.unduck()
        state.active()
        if state.link is not Link.READY:
            state.turn_signal("over")  # that was the farewell
        elif self._sounding.reply.final:
            self.reply_done()
        elif state.snapshot.turn is Turn.SPEAKING or self._hang_up_by is not None:
            state.after("hold", REPLY_HOLD_S)
