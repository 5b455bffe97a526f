"""The log for journald and the timeline for a person: what they say of each fact, and what they keep to themselves."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

import pytest

from device_agent.core import commands as c
from device_agent.core import events as e
from device_agent.core.ending import End, Kind
from device_agent.core.indicator import Snapshot
from device_agent.core.tables import Link, Turn
from device_agent.observers import KINDS, LogObserver, Timeline
from device_agent.protocol import messages as m

HELLO = e.ServerSaid(1, m.UserTranscript("a secret word", 1))


def logged(caplog: pytest.LogCaptureFixture, observer: LogObserver, *events: e.Event) -> list[str]:
    caplog.set_level(logging.DEBUG, "device_agent")
    for event in events:
        observer(0.0, event, (), Snapshot())
    return [record.getMessage() for record in caplog.records]


def told(*facts: tuple[float, e.Event, Sequence[c.Command]]) -> list[str]:
    lines: list[str] = []
    timeline = Timeline(lines.append)
    for now, event, commands in facts:
        timeline(now, event, commands, Snapshot())
    return lines


def test_the_log_keeps_words_to_itself(caplog: pytest.LogCaptureFixture) -> None:
    """Only the length of what was said, unless the owner wants transcripts."""
    assert logged(caplog, LogObserver(False), HELLO) == ["conversation.user text=<13 characters>"]
    caplog.clear()
    assert logged(caplog, LogObserver(True), HELLO) == ["conversation.user text='a secret word'"]


def test_a_change_of_state_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    """Each field that changed, from and to; what is wrong is a warning."""
    caplog.set_level(logging.DEBUG, "device_agent")
    observer = LogObserver(False)
    state = Snapshot(link=Link.READY, turn=Turn.LISTENING, microphone="no microphone: plug one in")
    observer(0.0, e.Tick(), (), state)
    observer(0.1, e.Tick(), (), state)
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("INFO", "state.link from=down to=ready"),
        ("DEBUG", "state.turn from=idle to=listening"),
        ("WARNING", "state.microphone from='' to='no microphone: plug one in'"),
    ]


def test_a_broken_server_does_not_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """The same kind of skipped message is logged once; of kinds without end only the first hundred."""
    observer = LogObserver(False)
    skip = e.WireSkipped(1, "bad_json", "")
    unknown = e.ServerSaid(1, m.Unknown("newer"))
    assert len(logged(caplog, observer, skip, skip, unknown, unknown)) == 2
    flood = [e.WireSkipped(1, "unknown_type", f"kind{n}-{'x' * 10_000}") for n in range(2 * KINDS)]
    lines = logged(caplog, observer, *flood, *flood)
    assert len(lines) == KINDS
    assert max(map(len, lines)) < 200


def test_other_facts_are_one_line_each(caplog: pytest.LogCaptureFixture) -> None:
    """Stable names with key=value pairs."""
    lines = logged(
        caplog,
        LogObserver(False),
        e.LinkEnded(2, End(Kind.CLOSE, 1008, "no")),
        e.DeviceUp("microphone", "USB", 16_000),
        e.Played(3, 1500.0, True),
        e.UplinkDropped(1, 7),
        e.ToolDone(1, "call_1", "22 degrees", False),
        e.PanelDown("no GPIO"),
    )
    assert lines == [
        "link.ended conn=2 kind=close code=1008 reason='no' turns=0",
        "device.up device=microphone name='USB' rate=16000 channels=1",
        "reply.played id=3 ms=1500 complete=True",
        "uplink.dropped frames=7",
        "tool.done id=call_1 error=False",
        "panel.down reason='no GPIO'",
    ]


def test_the_timeline_measures_latency_and_level() -> None:
    """From the last speech to the reply's first sound; the level of the sentence stands beside its words."""
    lines = told(
        (10.0, e.Start(), [c.Connect(1)]),
        (10.2, e.ServerSaid(1, m.Metadata("conv_1", "pcm_16000", "ulaw_8000")), []),
        (11.0, e.Frame(1, True, -18.0, 11.0), []),
        (11.6, HELLO, []),
        (11.7, e.PlaybackStarted(3, 11.65), []),
    )
    assert lines == [
        "  0.000 s  connecting",
        "  0.200 s  connected     after 200 ms; the agent hears ulaw_8000, speaks pcm_16000",
        "  1.600 s  user          “a secret word” (peak -18 dBFS)",
        "  1.700 s  agent audible (reply 3, 650 ms after the last speech)",
    ]


def test_the_timeline_measures_an_interruption() -> None:
    """From the server's message to silence, once."""
    lines = told(
        (5.0, e.ServerSaid(1, m.Interruption(4)), []),
        (5.04, e.PlaybackIdle(5.04), []),
        (6.0, e.PlaybackIdle(6.0), []),
    )
    assert lines == ["  0.000 s  interruption", "  0.040 s  silent        40 ms after the interruption"]


def test_the_timeline_tells_what_is_wrong() -> None:
    """Each fault once, with its remedy; speech that could not be kept, once a second."""
    lines: list[str] = []
    timeline = Timeline(lines.append)
    wrong = Snapshot(advice="the clock is wrong: waiting for the time service")
    for now, state in ((0.0, wrong), (0.1, replace(wrong, link=Link.BACKOFF)), (0.2, replace(wrong, unheard_s=1))):
        timeline(now, e.Tick(), (), state)
    timeline(0.3, e.Tick(), (), Snapshot(unheard_s=1))
    assert lines == [
        "  0.000 s  advice        the clock is wrong: waiting for the time service",
        "  0.200 s  unheard       1 s of what was said while connecting: it took too long",
    ]


def test_the_timeline_shows_tools_and_light() -> None:
    """Call, result and what the light says."""
    call = c.RunTool(1, "call_1", "set_timer", {"seconds": 10})
    lines = told(
        (0.0, e.Tick(), [call, c.Show(c.Indicator.THINKING)]),
        (0.1, e.ToolDone(1, "call_1", "running", True), []),
        (0.2, e.DeviceDown("loudspeaker", "gone"), []),
        (0.3, e.LinkEnded(1, End(Kind.NETWORK)), []),
    )
    assert lines == [
        "  0.000 s  tool call     set_timer(seconds=10)",
        "  0.000 s  light         thinking",
        "  0.100 s  tool result   running (error)",
        "  0.200 s  no loudspeaker: gone",
        "  0.300 s  link ended    network",
    ]


def test_a_long_conversation_is_few_lines(caplog: pytest.LogCaptureFixture) -> None:
    """40 turns with tools: at level info 10 lines at most, the turns counted in the last; at debug all of them."""
    counts = {}
    for level in (logging.INFO, logging.DEBUG):
        caplog.clear()
        caplog.set_level(level, "device_agent")
        observer = LogObserver(False)
        state = Snapshot()
        for link in (Link.OPENING, Link.INITIATING, Link.READY):
            state = replace(state, link=link)
            observer(0.0, e.Tick(), (), state)
        observer(0.0, e.ServerSaid(1, m.Metadata("conv_1", "pcm_16000", "pcm_16000")), (), state)
        for _ in range(40):
            for turn in (Turn.LISTENING, Turn.THINKING, Turn.SPEAKING):
                observer(0.0, e.Tick(), (), replace(state, turn=turn))
            observer(0.0, HELLO, (), replace(state, turn=Turn.SPEAKING))
            observer(
                0.0, e.ServerSaid(1, m.AgentResponse("a secret answer", 1)), (), replace(state, turn=Turn.SPEAKING)
            )
            observer(0.0, e.ToolDone(1, "call_1", "22 degrees", False), (), replace(state, turn=Turn.SPEAKING))
            observer(0.0, e.Played(1, 900.0, True), (), replace(state, turn=Turn.SPEAKING))
        observer(0.0, e.LinkEnded(1, End(Kind.CLOSE, 1000)), (), replace(state, link=Link.DOWN))
        text = caplog.text
        assert "turns=40" in text and "secret" not in text and "22 degrees" not in text
        counts[level] = len(caplog.records)
    assert counts[logging.INFO] <= 10
    assert counts[logging.DEBUG] > 200
