"""Runs scenario files: stories of what happens and what the core orders, readable by a non-programmer.

    # The first comment is the specification sentence and the test's name.
    given activation.modes = push-to-talk     a setting; `draws` are the numbers that chance gives
    hide audio                                leave the microphone's audio out of the orders
    show usage                                and the minutes that are kept in
    0.000 press                               at 0.000 s this happens …
          -> connect 1                        … and this is ordered at once
    12.5  -> light idle                       ordered later by itself, before the next thing happens

`in conversation`, the first fact of a story, is short for all that leads there, without its orders. `until 20` lets
time pass. A number after `of` names the connection that a fact is about, if it is not the current one.

Run `python tests/scenario.py FILE…` to rewrite the orders in files; then read them, line by line.
"""

from __future__ import annotations

import itertools
import re
import shlex
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from device_agent.config.schema import Panel, Settings, Sounds
from device_agent.core import commands as c
from device_agent.core import events as e
from device_agent.core.conversation import Conversation
from device_agent.core.ending import End, Kind
from device_agent.protocol import messages as m

FRAME_S = 0.02
ORDER = re.compile(r"^\s*(\d+\.?\d*)?\s*-> (.*)$")
FACT = re.compile(r"^\s*(\d+\.?\d*)\s+(.*)$")

Orders = list[tuple[float, str]]


def describe(command: c.Command) -> str:
    """One order in words."""
    match command:
        case c.Connect(conn, agent):
            return f"connect {conn}{f' with {agent}' if agent else ''}"
        case c.Disconnect(conn, code, reason):
            return f"disconnect {conn} {code} {reason}"
        case c.Send(conn, m.Initiation(override)):
            agent = override.get("agent", {})
            language = agent.get("language", "")
            silent = " without first message" if agent.get("first_message") == "" else ""
            return f"send initiation on {conn}{f' in {language}' if language else ''}{silent}"
        case c.Send(conn, m.ContextualUpdate(text)):
            return f"send context on {conn}: {' / '.join(text.splitlines()[1:])}"
        case c.Send(conn, m.UserMessage(text)):
            return f'send "{text}" on {conn}'
        case c.Send(conn, m.UserActivity()):
            return f"send user activity on {conn}"
        case c.Send(conn, m.ClientToolResult(call, result, is_error, error_type)):
            return f'send result of {call} "{result}"{" error" if is_error else ""}{error_type} on {conn}'
        case c.Send(conn, m.McpToolApprovalResult(call, is_approved)):
            return f"send {'approval' if is_approved else 'refusal'} of {call} on {conn}"
        case c.UseMicrophone(True, raw=True):
            return "microphone on for the self check"
        case c.UseMicrophone(on, live, wake):
            waits = "waits for a word" if wake else "waits for speech"
            return f"microphone {'off' if not on else 'on' if live and not wake else waits}"
        case c.UseLoudspeaker(on):
            return f"loudspeaker {'on' if on else 'off'}"
        case c.Duck(on):
            return "duck" if on else "unduck"
        case c.WipeCapture():
            return "wipe"
        case c.Play(handle):
            return f"play {handle}"
        case c.Discard(handle):
            return f"discard {handle}"
        case c.Flush():
            return "flush"
        case c.SetVolume(volume):
            return f"volume {volume}"
        case c.FindChirp(first, last):
            return f"look for the chirp in frames {first}–{last}"
        case c.PlayClip(number, earcon, speech, language):
            what = " and ".join(filter(None, (earcon, speech and f'say "{speech}"')))
            return f"sound {number} {what or 'nothing'}{f' in {language}' if speech and language else ''}"
        case c.SetMute(muted):
            return f"mute latch {'closed' if muted else 'open'}"
        case c.Show(indicator):
            return f"light {indicator.value}"
        case c.RunTool(_, call, name, _):
            return f"run {name} {call}"
        case c.KeepUsage(day, day_s, month, month_s):
            return f"keep {day_s:.0f} s of {day or '?'} and {month_s:.0f} s of {month or '?'}"
        case c.Restart():
            return "restart"
        case c.PowerOff():
            return "power off"
    raise AssertionError(command)


def collate(done: list[tuple[float, c.Command]]) -> Iterator[tuple[float, str]]:
    """Orders in words; runs of the microphone's audio are one order, under the time of its first frame."""
    runs: list[tuple[float, c.Command]] = []
    for at, command in done:
        before = runs[-1][1] if runs else None
        if isinstance(command, c.SendFrames) and isinstance(before, c.SendFrames) and before.last + 1 == command.first:
            runs[-1] = (runs[-1][0], replace(before, last=command.last))
        elif isinstance(command, c.SendSilence) and isinstance(before, c.SendSilence):
            runs[-1] = (runs[-1][0], replace(before, frames=before.frames + command.frames))
        else:
            runs.append((at, command))
    for at, command in runs:
        if isinstance(command, c.SendFrames):
            yield at, f"send frames {command.first}–{command.last}"
        elif isinstance(command, c.SendSilence):
            yield at, f"send {command.frames} frames of silence"
        else:
            yield at, describe(command)


def configured(changes: list[tuple[str, str]]) -> Settings:
    """The default settings with `section.name = value` applied."""
    # A story that is not about sounds has none; and it has the one button that a beginner has.
    settings = Settings(sounds=Sounds(earcons=False, speech=False), panel=Panel(button_pin=17))
    for key, text in changes:
        section, name = key.split(".")
        old = getattr(getattr(settings, section), name)
        value: Any
        if isinstance(old, dict):
            value = tomllib.loads(f"value = {text}")["value"]
        else:
            value = tuple(re.split(r",\s*", text)) if isinstance(old, tuple) else type(old)(text)
        value = text == "true" if isinstance(old, bool) else value
        settings = replace(settings, **{section: replace(getattr(settings, section), **{name: value})})
    return settings


@dataclass
class Stage:
    """The core on a fake clock: it ticks at every deadline that the core asks for."""

    settings: Settings
    draws: list[float] = field(default_factory=lambda: [0.5])
    now: float = 0.0
    done: list[tuple[float, c.Command]] = field(default_factory=list)

    def __post_init__(self) -> None:
        draws = itertools.cycle(self.draws)
        self.core = Conversation(self.settings, lambda: next(draws))
        self.seq = itertools.count()
        self.handles = itertools.count(1)
        self.conn = 0

    def give(self, event: e.Event) -> None:
        for command in self.core.handle(event, self.now):
            if isinstance(command, c.Connect):
                self.conn = command.conn
            self.done.append((self.now, command))
        deadline = self.core.next_deadline()
        assert deadline is None or deadline >= self.now, "a deadline in the past"

    def until(self, t: float) -> None:
        assert t >= self.now - 1e-9, f"{t} lies before {self.now:.3f}"
        while (deadline := self.core.next_deadline()) is not None and deadline <= t:
            self.now = deadline
            self.give(e.Tick())
        self.now = max(self.now, t)

    def frames(self, amount: str, unit: str, speech: bool, loud: float = -20.0) -> None:
        start = self.now
        for n in range(round(float(amount) * {"s": 50, "ms": 0.05}[unit])):
            self.until(round(start + n * FRAME_S, 6))
            self.give(e.Frame(next(self.seq), speech, loud if speech else -60.0, self.now))

    # ------------------------------------------------------------------------------- the words of a scenario
    def do(self, text: str) -> None:
        """Let happen what `text` says."""
        words = shlex.split(text)
        conn = self.conn
        if len(words) > 2 and words[-2] == "of":
            conn = int(words[-1])
            del words[-2:]
        for length in (2, 1):
            word = getattr(self, "on_" + "_".join(words[:length]), None)
            if word is not None:
                self._conn = conn
                word(*words[length:])
                return
        raise AssertionError(f"unknown: {text}")

    def said(self, message: m.ServerMessage) -> None:
        self.give(e.ServerSaid(self._conn, message))

    def ended(self, *end: Any) -> None:
        self.give(e.LinkEnded(self._conn, End(*end)))

    def on_in_conversation(self) -> None:
        modes = self.settings.activation.modes
        self.do("start")
        if "always-on" not in modes:
            self.do("press")
        if "toggle" in modes:
            self.until(self.now + 0.1)
            self.do("release")
        self.do("opened")
        self.do("ready")
        self.done.clear()

    def on_start(self) -> None:
        self.give(e.Start())

    def on_stop(self) -> None:
        self.give(e.Stop())

    def on_press(self, button: str = "button") -> None:
        self.give(e.Edge(button, True, self.now))

    def on_release(self, button: str = "button") -> None:
        self.give(e.Edge(button, False, self.now))

    def on_bounces(self, count: str, _in: str, ms: str, _ms: str = "", button: str = "button") -> None:
        """A contact that opens and closes so often in so many ms, and is closed in the end."""
        start, edges = self.now, 2 * int(count) + 1
        for n in range(edges):
            self.until(start + n * float(ms) / 1000 / edges)
            self.give(e.Edge(button, n % 2 == 0, self.now))

    def on_somebody_comes(self) -> None:
        self.give(e.Presence(True))

    def on_nobody_there(self) -> None:
        self.give(e.Presence(False))

    def on_wake_word(self) -> None:
        """It has ended just now, and is found out 100 ms later."""
        word = e.WakeWord("computer", next(self.seq) - 1)
        self.seq = itertools.count(word.seq + 1)
        self.frames("100", "ms", True)
        self.give(word)

    def on_remote(self, action: str) -> None:
        self.give(e.Remote(action))

    def on_wish_mute(self, position: str) -> None:
        self.give(e.Mute(position == "on"))

    def on_mute(self, position: str) -> None:
        self.give(e.MuteSwitch(position == "on"))

    def on_volume(self, wish: str) -> None:
        signed = wish.startswith(("+", "-"))
        self.give(e.Volume(int(wish)) if signed else e.Volume(level=int(wish)))

    def on_restored(self, volume: str = "") -> None:
        self.give(e.Restored(int(volume) if volume else None))

    def on_chirp(self, result: str) -> None:
        self.give(e.ChirpSearched(result == "heard", result == "silence"))

    def on_used(self, seconds: str, _on: str, day: str, month_s: str = "") -> None:
        self.give(e.Restored(None, day, float(seconds), day[:7], float(month_s or seconds)))

    def on_clock(self, local: str, *words: str) -> None:
        """It is so late; `unsynchronised`: nobody vouches for it; `summer`: an hour further from UTC."""
        self.give(e.Calendar(local, 7200 if "summer" in words else 3600, "unsynchronised" not in words))

    def on_clip_ended(self, number: str) -> None:
        self.give(e.ClipEnded(int(number)))

    def on_speech(self, amount: str, unit: str) -> None:
        self.frames(amount, unit, True)

    def on_distant_speech(self, amount: str, unit: str) -> None:
        """As much weaker as a television, or people at the next table."""
        self.frames(amount, unit, True, -30.0)

    def on_quiet(self, amount: str, unit: str) -> None:
        self.frames(amount, unit, False)

    def on_late_frames(self, amount: str, unit: str) -> None:
        """Frames that were captured in time and are heard of only now, all at once."""
        count = round(float(amount) * {"s": 50, "ms": 0.05}[unit])
        for n in range(count):
            self.give(e.Frame(next(self.seq), True, -20.0, self.now - (count - 1 - n) * FRAME_S))

    def on_opened(self) -> None:
        self.give(e.LinkOpened(self._conn))

    def on_ready(self) -> None:
        self.said(m.Metadata("conv", "pcm_16000", "pcm_16000"))

    def on_closed(self, code: str, reason: str = "") -> None:
        self.ended(Kind.CLOSE, int(code), reason)

    def on_closed_locally(self) -> None:
        self.ended(Kind.LOCAL)

    def on_refused(self, status: str, reason: str = "", wait: str = "") -> None:
        self.ended(Kind.HTTP, int(status), reason, float(wait) if wait else None)

    def on_lost(self, kind: str, reason: str = "") -> None:
        self.ended(Kind[kind.upper()], 0, reason)

    def on_certificate(self, code: str) -> None:
        self.ended(Kind.TLS, int(code))

    def on_audio(self, event_id: str, ms: str, unit: str = "ms", final: str = "") -> None:
        reply = None if event_id == "-" else int(event_id)
        self.give(e.AgentAudio(self._conn, next(self.handles), reply, float(ms), bool(final)))

    def on_audible(self, event_id: str) -> None:
        self.give(e.PlaybackStarted(None if event_id == "-" else int(event_id), self.now))

    def on_silent(self, _since: str = "", at: str = "") -> None:
        self.give(e.PlaybackIdle(float(at) if at else self.now))

    def on_interruption(self, event_id: str = "") -> None:
        self.said(m.Interruption(int(event_id) if event_id else None))

    def on_complete(self, event_id: str = "") -> None:
        self.said(m.AgentResponseComplete(int(event_id) if event_id else None))

    def on_network_up(self) -> None:
        self.give(e.NetworkUp())

    def on_agent_says(self, text: str, event_id: str = "1") -> None:
        self.said(m.AgentResponse(text, int(event_id)))

    def on_corrected(self, text: str, event_id: str = "1") -> None:
        self.said(m.AgentResponseCorrection("", text, int(event_id)))

    def on_played(self, event_id: str, ms: str, _unit: str = "ms", complete: str = "") -> None:
        self.give(e.Played(int(event_id), float(ms), bool(complete)))

    def on_user_says(self, text: str) -> None:
        self.said(m.UserTranscript(text))

    def on_error(self, text: str) -> None:
        self.said(m.ServerError(message=text))

    def on_tool_call(self, name: str, call: str, *no_answer: str) -> None:
        self.said(m.ClientToolCall(name, call, {}, expects_response=not no_answer))

    def on_tool_done(self, call: str, result: str) -> None:
        self.give(e.ToolDone(self._conn, call, result))

    def on_end_call(self) -> None:
        self.said(m.AgentToolResponse("end_call", "e1"))

    def on_approval(self, call: str, seconds: str) -> None:
        self.said(m.McpToolCall("s", call, "t", "awaiting_approval", float(seconds)))

    def on_approved(self, call: str) -> None:
        self.said(m.McpToolCall("s", call, "t", "success"))

    def on_queue(self, status: str) -> None:
        self.said(m.QueueStatus(status))

    def on_echo(self, means: str) -> None:
        self.give(e.Echo(means))

    def on_microphone(self, state: str) -> None:
        self._device("microphone", state)

    def on_loudspeaker(self, state: str) -> None:
        self._device("loudspeaker", state)

    def _device(self, device: str, state: str) -> None:
        self.give(e.DeviceDown(device, "gone") if state == "lost" else e.DeviceUp(device, "card", 48000))


@dataclass
class Block:
    """One line of what happens, with the orders that the file expects until the next."""

    line: str
    at: float
    text: str
    expected: list[str] = field(default_factory=list)


@dataclass
class Scenario:
    """A parsed file."""

    title: str
    head: list[str]
    changes: list[tuple[str, str]]
    draws: list[float]
    audio: bool
    usage: bool
    blocks: list[Block]

    def run(self) -> list[list[str]]:
        """The orders of each block, as lines of the file."""
        stage = Stage(configured(self.changes), self.draws)
        starts: list[int] = []
        for block in self.blocks:
            stage.until(block.at)
            starts.append(len(stage.done))
            if block.text != "until":
                stage.do(block.text)
        ends = [*starts[1:], len(stage.done)]
        return [
            list(self._lines(block.at, stage.done[start:end]))
            for block, start, end in zip(self.blocks, starts, ends, strict=True)
        ]

    def _lines(self, at: float, done: list[tuple[float, c.Command]]) -> Iterator[str]:
        if not self.audio:
            done = [item for item in done if not isinstance(item[1], c.SendFrames | c.SendSilence)]
        if not self.usage:
            done = [item for item in done if not isinstance(item[1], c.KeepUsage)]
        for t, text in collate(done):
            yield f"{'' if abs(t - at) < 1e-9 else f'{t:.3f}':9} -> {text}"


def parse(text: str) -> Scenario:
    """Read a scenario file."""
    title, head, changes, draws, audio, usage, blocks = "", [], [], [0.5], True, False, list[Block]()
    for line in text.splitlines():
        stripped = line.strip()
        if ORDER.match(line):
            blocks[-1].expected.append(line.rstrip())
        elif fact := FACT.match(line):
            at = float(fact[1])
            blocks.append(Block(line, at, fact[2].partition("  #")[0].strip()))
        elif stripped.startswith("until "):
            blocks.append(Block(line, float(stripped[6:]), "until"))
        else:
            title = title or stripped.lstrip("# ")
            head.append(line)
            if stripped.startswith("given "):
                key, _, value = stripped[6:].partition(" = ")
                if key == "draws":
                    draws = [float(number) for number in value.split(",")]
                else:
                    changes.append((key, value))
            audio = audio and stripped != "hide audio"
            usage = usage or stripped == "show usage"
    return Scenario(title, head, changes, draws, audio, usage, blocks)


def rewrite(path: Path) -> None:
    """Put the orders that the core gives into the file."""
    scenario = parse(path.read_text())
    lines = scenario.head[:]
    for block, orders in zip(scenario.blocks, scenario.run(), strict=True):
        lines += [block.line, *orders]
    path.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    for name in sys.argv[1:]:
        rewrite(Path(name))
