"""What can be ordered: the core's answers, performed by thin drivers that decide nothing."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any

from device_agent.protocol.messages import ClientMessage
from device_agent.records import record


class Indicator(Enum):
    """What the light and the log show; the order is the priority, highest first.

    A press is answered in every state, and the volume while somebody sets it: both last a moment, so they go first.
    """

    TOUCH = "touch"
    VOLUME = "volume"
    SETUP = "setup"  # nobody has said yet which agent to talk with, and as whom
    BOOT = "boot"
    ERROR = "error"  # configuration, account or credentials: a person must act
    NO_MICROPHONE = "no-microphone"
    NO_LOUDSPEAKER = "no-loudspeaker"
    MUTED = "muted"
    OFFLINE = "offline"  # waiting to try again
    QUEUED = "queued"  # the service makes us wait for a free place
    CONNECTING = "connecting"
    SPEAKING = "speaking"
    THINKING = "thinking"
    LISTENING = "listening"
    CLOSED = "closed"  # outside the opening hours, or the day's budget is spent
    IDLE = "idle"


# -------------------------------------------------------------------------------------------- link
@record
class Connect:
    """Begin connection number `conn`, with agent `agent_id`; empty means the configured one."""

    conn: int
    agent_id: str = ""


@record
class Disconnect:
    """End connection `conn` with a close frame, or give the attempt up."""

    conn: int
    code: int = 1000
    reason: str = "User ended conversation"


@record
class Send:
    """Send a control message."""

    conn: int
    message: ClientMessage


@record
class SendFrames:
    """Send the capture ring's frames `first` … `last` (both included), due now.

    `kept` frames are what was said while connecting: however slowly the network takes them, they are not dropped.
    """

    conn: int
    first: int
    last: int
    kept: bool = False


@record
class SendSilence:
    """Send `frames` × 20 ms of digital silence in the negotiated format, due now."""

    conn: int
    frames: int = 1


# ------------------------------------------------------------------------------------------- audio
@record
class UseMicrophone:
    """Open or close the capture stream. Not `live`: frames may come three at a time, which saves CPU between calls.

    `wake`: listen for wake words. `raw`: without echo cancelling, for the self check.
    """

    on: bool
    live: bool = True
    wake: bool = False
    raw: bool = False


@record
class UseLoudspeaker:
    """Open or close the playback stream (closing waits for nothing: flush or drain first)."""

    on: bool


@record
class WipeCapture:
    """Forget all microphone audio kept so far."""


@record
class Play:
    """Queue the held chunk `handle` behind what is playing."""

    handle: int


@record
class Discard:
    """Throw the held chunk `handle` away."""

    handle: int


@record
class Flush:
    """Fade out within 5 ms and throw away everything queued."""


@record
class SetVolume:
    """Make everything that sounds so loud: 0 (silent) … 100, on a curve where equal steps sound equal."""

    volume: int


@record
class PlayClip:
    """Play one of the device's own sounds: an earcon, then what is said in `language`; either may be empty.

    It takes the place of the one before; with both empty that one just ends. `number` returns in `ClipEnded`.
    """

    number: int
    earcon: str = ""
    speech: str = ""
    language: str = ""


@record
class Duck:
    """Make the agent softer (−18 dB within 20 ms), or as loud as before again (within 300 ms)."""

    on: bool


@record
class FindChirp:
    """Look for the chirp in the captured frames `first` … `last`; the answer comes as `ChirpSearched`."""

    first: int
    last: int


@record
class SetMute:
    """Close or open the mute latch."""

    muted: bool


# ------------------------------------------------------------------------------------------- others
@record
class Show:
    """What the light shows from now on."""

    indicator: Indicator


@record
class RunTool:
    """Run a client tool; the answer comes as `ToolDone`."""

    conn: int
    tool_call_id: str
    name: str
    parameters: Mapping[str, Any]


@record
class KeepUsage:
    """Keep over a restart: seconds connected on `day` (YYYY-MM-DD) and in `month` (YYYY-MM), empty while unknown."""

    day: str
    day_s: float
    month: str
    month_s: float


@record
class Restart:
    """End the process in order, to be started again."""


@record
class PowerOff:
    """Shut the machine down."""


Command = (
    Connect | Disconnect | Send | SendFrames | SendSilence | UseMicrophone | UseLoudspeaker | WipeCapture | Play
    | Discard | Flush | Duck | SetVolume | PlayClip | FindChirp | SetMute | Show | RunTool | Restart | PowerOff
    | KeepUsage
)  # fmt: skip
