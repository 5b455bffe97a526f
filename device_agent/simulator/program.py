"""`device-agent bench simulate`: builds the simulator from its options, says where it listens, serves until told."""

from __future__ import annotations

import os
import signal
import sys
import threading

from device_agent.simulator import orders
from device_agent.simulator.intents import FIXED
from device_agent.simulator.options import Options
from device_agent.simulator.recogniser import Echo, Minds, Recogniser, Script
from device_agent.simulator.server import Simulator
from device_agent.simulator.voice import Voice, installed, tones
from device_agent.simulator.witness import Recorder, Witness, json_lines


def run(options: Options) -> int:
    """Serves until SIGTERM or SIGINT, and then ends at once: no drain, no goodbye. Returns the exit code."""
    # Blocked before any thread starts, so that every thread inherits it and only `sigwait` sees them.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    sys.setswitchinterval(0.001)
    witness, recorder = Witness(json_lines(options.events)), Recorder(options.record, options.record_raw)
    minds, voice = _minds(options, witness), _voice(options, witness)
    with Simulator(options, witness, recorder, minds, voice) as simulator:
        print(f"listening on ws://127.0.0.1:{simulator.port}", flush=True)
        witness.note("listening", 0, port=simulator.port)
        if options.control:
            control = (sys.stdin, simulator.order, simulator.refuse)
            threading.Thread(target=orders.read, args=control, name="control", daemon=True).start()
        signal.sigwait({signal.SIGTERM, signal.SIGINT})
        recorder.close()
        sys.stdout.flush()
        os._exit(0)  # connection threads may be blocked in a stalled client


def _say(witness: Witness, kind: str, text: str) -> None:
    print(f"simulator: {text}", file=sys.stderr)
    witness.note(kind, 0, text=text)


def _minds(options: Options, witness: Witness) -> Minds:
    """The first recogniser is loaded now, before anyone calls."""
    if options.echo:
        return Minds(Echo)
    if options.script is not None:
        script = Script.load(options.script)
        _say(witness, "no_recogniser", f"no recogniser: answers come in order from {options.script}")
        return Minds(lambda: script)
    try:
        return Minds(Recogniser)
    except ImportError as error:
        _say(witness, "no_recogniser", f"no recogniser ({error}): five answers come in a fixed order")
        return Minds(Script.fallback)


def _voice(options: Options, witness: Witness) -> Voice:
    synthesise = installed()
    if synthesise is None:
        _say(witness, "no_voice", "flite is not installed: the agent speaks in tones (apt install flite)")
    voice = Voice(synthesise or tones)
    for text in (options.first_message, *FIXED):
        if text:
            voice.speech(text).result()
    return voice
