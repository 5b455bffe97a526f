"""All seven audio formats, in both directions, over real cards."""

from __future__ import annotations

import pytest
from rig import SILENT_AGENT, TALK, call

from device_agent.bench.virtual_audio import VirtualCards
from tests.analysis import RATE, WIRE_RATE, Samples, frequency, offset, onset, sine
from tests.patience import until

FORMATS = ("pcm_8000", "pcm_16000", "pcm_22050", "pcm_24000", "pcm_44100", "pcm_48000", "ulaw_8000")
HZ, SECONDS = 1000.0, 1.0


def wrong(samples: Samples, rate: int) -> str:
    """What keeps `samples` from being one tone of 1 kHz that lasts 1 s (right to 5 Hz and 15 ms); empty if nothing."""
    first, last = onset(samples), offset(samples)
    if first is None or last is None:
        return "silence"
    seconds, hz = (last - first) / rate, frequency(samples[first + rate // 50 : last - rate // 50], rate)
    return "" if abs(seconds - SECONDS) < 0.015 and abs(hz - HZ) < 5 else f"{seconds:.3f} s of {hz:.1f} Hz"


@pytest.mark.parametrize("name", FORMATS)
def test_a_tone_passes_both_ways(cards: VirtualCards, name: str) -> None:
    """The agent's tone is right at the loudspeaker, and the room's tone is right at the server."""
    script = (*SILENT_AGENT, "--input-format", name, "--output-format", name, "--end-of-turn-ms", "60000")
    with call(cards, *TALK, options=script) as run:
        run.ready()

        def agents_tone() -> str:
            run.silent()
            asked = run.simulator.order("audio", ms=round(1000 * SECONDS), hz=HZ)
            run.audible(asked)
            run.pause(SECONDS + 0.3)
            return wrong(run.speaker.samples(asked), RATE)

        def rooms_tone() -> str:
            before = len(run.received())
            run.microphone.say(sine(SECONDS, RATE, HZ).tobytes())
            until(lambda: onset(run.received()[before:]), 3, "the tone begins at the server")
            run.pause(SECONDS + 0.3)
            return wrong(run.received()[before:], WIRE_RATE)

        assert run.steadily(agents_tone) == ""
        assert run.steadily(rooms_tone) == ""
        assert run.violations() == []


def test_the_check_is_red_for_wrong_sound() -> None:
    """Sabotage: a wrong rate, a piece of 20 ms that is missing, silence."""
    good = sine(SECONDS, RATE, HZ)
    assert wrong(good, RATE) == ""
    assert wrong(good, 44_100)
    assert wrong(good[: len(good) // 2] + good[len(good) // 2 + RATE // 50 :], RATE)
    assert wrong(sine(SECONDS, RATE, HZ, dbfs=-90), RATE) == "silence"
