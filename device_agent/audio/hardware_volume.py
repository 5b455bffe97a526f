"""The volume as a control of the sound card (`audio.mixer`), set by amixer of alsa-utils."""

from __future__ import annotations

import logging
import subprocess
import threading
from collections.abc import Callable

log = logging.getLogger(__name__)

AMIXER = "amixer"
PATIENCE_S = 5.0


class HardwareVolume:
    """`set` is for any thread and returns at once: a thread that lives as long as amixer does the rest.

    What amixer refuses is said once; the next change tries again. `worked` is told of each try, so that software can
    make the volume where the card does not.
    """

    def __init__(
        self,
        mixer: str,
        worked: Callable[[bool], None] = lambda works: None,
        command: str = AMIXER,
    ) -> None:
        card, slash, control = mixer.rpartition("/")
        self._target = (*(("-D", card) if slash else ()), "sset", control)
        self._worked = worked
        self._command = command
        self._wanted = -1
        self._done = -1
        self._said = ""
        self._busy = False
        self._thread: threading.Thread | None = None

    def set(self, volume: int) -> None:
        """0 … 100, as alsamixer scales it."""
        self._wanted = volume
        if not self._busy:
            self._busy = True
            before = self._thread
            thread = threading.Thread(target=self._run, args=(before,), name="amixer", daemon=True)
            try:
                thread.start()
            except RuntimeError as error:  # no thread to be had: the next change tries again
                self._busy = False
                log.warning("mixer-failed control=%r reason=%r", self._target[-1], str(error))
            else:
                self._thread = thread

    def join(self, timeout: float) -> None:
        """Wait until the card has been told (for tests)."""
        if self._thread is not None:
            self._thread.join(timeout)

    def _run(self, before: threading.Thread | None) -> None:
        if before is not None:
            before.join()  # never two at once: the last one must win
        self._busy = False  # before the look at what is wanted: a change from now on starts a thread of its own
        volume = self._wanted
        if volume == self._done:
            return
        problem = self._tell(volume)
        self._done = -1 if problem else volume
        self._worked(not problem)
        if problem and problem != self._said:
            log.warning("mixer-failed control=%r reason=%r", self._target[-1], problem)
        self._said = problem

    def _tell(self, volume: int) -> str:
        """Empty, or what is wrong."""
        # -M: a scale on which equal steps sound equal.
        command = (self._command, "-q", "-M", *self._target, f"{volume}%")
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
        except FileNotFoundError:
            return f"{self._command} is missing: sudo apt install alsa-utils"
        except (OSError, subprocess.TimeoutExpired) as error:
            return str(error)
        return "" if done.returncode == 0 else " ".join(done.stderr.split()) or f"exit code {done.returncode}"
