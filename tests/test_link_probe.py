"""How a stalled peer is told from a quiet one."""

from __future__ import annotations

from device_agent.link.probe import Probe


def asked(slowest: float = 0.1) -> Probe:
    """A probe whose peer has answered once, after `slowest` seconds, and was asked again at 10 s."""
    probe = Probe(0.0)
    assert probe.turn(0, 0, 0.4)
    assert not probe.turn(6, 1, 0.4 + slowest)
    assert probe.turn(6, 1, 10.0)
    return probe


def test_a_quiet_peer_is_asked_once() -> None:
    """After 0.4 s without a byte one ping is due, and no second one while its answer is awaited."""
    probe = Probe(0.0)
    assert not probe.turn(0, 0, 0.3)
    assert probe.turn(0, 0, 0.4)
    assert not probe.turn(0, 0, 0.5)


def test_no_answer_holds_the_audio_until_anything_comes() -> None:
    """Held from 0.4 s after the ping; any inbound byte ends it at once."""
    probe = asked()
    probe.turn(6, 1, 10.39)
    assert not probe.holding
    probe.turn(6, 1, 10.4)
    assert probe.holding
    probe.turn(7, 1, 10.5)
    assert not probe.holding


def test_a_far_peer_gets_more_time() -> None:
    """On a slow network the patience is half as long again as the slowest answer so far."""
    probe = asked(slowest=0.6)
    probe.turn(6, 1, 10.89)
    assert not probe.holding
    probe.turn(6, 1, 10.9)
    assert probe.holding


def test_a_peer_that_ignores_pings_is_never_held() -> None:
    """Without one answer ever, silence proves nothing: audio goes out as always."""
    probe = Probe(0.0)
    assert probe.turn(0, 0, 0.4)
    probe.turn(0, 0, 60.0)
    assert not probe.holding


def test_data_without_a_pong_is_no_measure_of_the_answer() -> None:
    """Audio from the server ends the waiting, but says nothing about how long pongs take."""
    probe = asked()
    probe.turn(900, 1, 12.0)
    assert probe.turn(900, 1, 13.0)
    probe.turn(900, 1, 13.4)
    assert probe.holding
