"""`device-agent bench simulate`: builds the simulator from its options, says where it listens, serves until told."""

from __future__ import annotations

import os
import signal
import sys
import threading

from device_agent.errors import UsageError
from device_agent.simulator import orders
from device_agent.simulator.hearing import RATE
from device_agent.simulator.intents import FIXED
from device_agent.simulator.options import Options
from device_agent.simulator.recogniser import Echo, Minds, Recogniser, Script
from device_agent.simulator.server import Simulator
from device_agent.simulator.voice import Voice, installed, tones
from device_agent.simulator.wire import rate
from device_agent.simulator.witness import Recorder, Witness, json_lines


def run(options: Options) -> int:
    """Serves until SIGTERM or SIGINT, and then ends at once: no drain, no goodbye. Returns the exit code."""
    # Blocked before any thread starts, so that every thread inherits it and only `sigwait` sees them.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    sys.setswitchinterval(0.001)
    try:
        witness, recorder = Witness(json_lines(options.events)), Recorder(options.record, options.record_raw)
        minds, no_recogniser = _minds(options)
        voice, no_voice = _voice(options)
        simulator = Simulator(options, witness, recorder, minds, voice)
        simulator.start()
    except OSError as error:
        raise UsageError(f"{error.filename or f'port {options.port}'}: {error.strerror}; choose another") from error
    print(f"listening on ws://127.0.0.1:{simulator.port}", flush=True)
    witness.note("listening", 0, port=simulator.port)
    for missing in filter(None, (no_recogniser, no_voice)):
        print(f"simulator: {missing}", file=sys.stderr)
        witness.note("substitute", 0, text=missing)
    if options.control:
        control = (sys.stdin, simulator.order, simulator.refuse)
        threading.Thread(target=orders.read, args=control, name="control", daemon=True).start()
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    recorder.close()
    sys.stdout.flush()
    os._exit(0)  # connection threads may be blocked in a stalled client


def _minds(options: Options) -> tuple[Minds, str]:
    """Who answers, loaded now, before anyone calls; and a sentence where it is not the recogniser."""
    if options.echo:
        return Minds(Echo), "no recogniser: each turn is played back as it was heard"
    if options.script is not None:
        script = Script.load(options.script)
        return Minds(lambda: script), f"no recogniser: answers come in order from {options.script}"
    if rate(options.input_format) < RATE:
        # Measured: of five questions in ulaw_8000 it understood two, of five in pcm_16000 all.
        why = f"it needs 16 kHz speech, not {options.input_format}"
        return Minds(Script.fallback), f"no recogniser ({why}): five answers come in a fixed order"
    try:
        return Minds(Recogniser), ""
    except ImportError as error:
        return Minds(Script.fallback), f"no recogniser ({error}): five answers come in a fixed order"


def _voice(options: Options) -> tuple[Voice, str]:
    """The voice, with the fixed answers made now; and a sentence where it is not flite."""
    synthesise = installed()
    voice = Voice(synthesise or tones)
    for text in (options.first_message, *FIXED):
        if text:
            voice.speech(text).result()
    return voice, "" if synthesise else "flite is not installed: the agent speaks in tones (apt install flite)"
