"""The self check's chirp: found in a room's noise, not found in speech, noise, silence, or in the wrong order."""

from __future__ import annotations

import array
import math
import random
import shutil

import pytest

from device_agent.audio.chirp import FRAME, RATE, TONES, heard, share
from device_agent.bench.earcons import EARCONS, synthesise
from device_agent.core.sounds import RULES
from device_agent.simulator.voice import flite

CHIRP = synthesise(EARCONS["chirp"])


def noise(seconds: float, dbfs: float, seed: int = 1) -> array.array[int]:
    chance, level = random.Random(seed), 32_768 * 10 ** (dbfs / 20)
    return array.array(
        "h", (round(max(-32_000.0, min(32_000.0, chance.gauss(0, level)))) for _ in range(int(seconds * RATE)))
    )


def frames(samples: array.array[int]) -> list[bytes]:
    pcm = samples.tobytes()
    return [pcm[at : at + 2 * FRAME] for at in range(0, len(pcm) - 2 * FRAME + 1, 2 * FRAME)]


def mixed(room: array.array[int], sound: array.array[int], at: int, gain: float) -> array.array[int]:
    out = array.array("h", room)
    for n, value in enumerate(sound):
        out[at + n] = max(-32_768, min(32_767, round(out[at + n] + gain * value)))
    return out


@pytest.mark.parametrize("at", [0, 1000, 4321, 9999])
def test_a_chirp_as_loud_as_the_room_is_heard(at: int) -> None:
    """Wherever it lies among the frames, and turned over as some loudspeakers do."""
    level = math.sqrt(sum(value * value for value in CHIRP) / len(CHIRP))
    room = noise(1.5, 20 * math.log10(level / 32_768))
    assert heard(frames(mixed(room, CHIRP, at, 1.0)))
    assert heard(frames(mixed(room, CHIRP, at, -1.0)))


def test_what_is_no_chirp_is_none() -> None:
    """Silence, noise, one tone alone, and the tones from high to low."""
    assert not heard([])
    assert not heard(frames(array.array("h", bytes(2 * RATE))))
    assert not heard(frames(noise(1.5, -20.0)))
    assert not heard(frames(CHIRP[: len(CHIRP) // 3]))
    assert not heard(frames(array.array("h", reversed(CHIRP))))


@pytest.mark.skipif(not shutil.which("flite"), reason="flite talks")
def test_speech_is_no_chirp() -> None:
    """Somebody who talks meanwhile does not pass for the loudspeaker."""
    talk = array.array("h", flite("Nobody has ever heard so many words in such a small room, have they?"))
    assert not heard(frames(talk))


def test_the_share_of_a_tone_is_its_part_of_the_energy() -> None:
    """A pure tone is all of it, another tone none, silence nothing."""
    tone = array.array("h", (round(8000 * math.sin(math.tau * TONES[0] * n / RATE)) for n in range(FRAME))).tobytes()
    assert share(tone, TONES[0]) == pytest.approx(1.0, abs=0.01)
    assert share(tone, TONES[1]) < 0.01
    assert share(bytes(2 * FRAME), TONES[0]) == 0.0


def test_no_rule_plays_it() -> None:
    """The chirp is the self check's alone."""
    assert "chirp" not in {rule.earcon for rule in RULES}
