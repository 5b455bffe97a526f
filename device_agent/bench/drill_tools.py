"""Two client tools as nobody should write them: what the drill lets the agent call."""

import ctypes
import threading

from device_agent import tool


@tool
def never_returns() -> str:
    """Wait for ever."""
    threading.Event().wait()
    return ""


@tool
def hold_the_interpreter() -> str:
    """Wait in C without letting go of the interpreter: no Python thread of the process runs any more."""
    ctypes.PyDLL(None).pause()
    return ""
