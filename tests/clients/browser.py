"""Debian's Chromium with the unmodified `@elevenlabs/client` on a page of ours, and a WAV file for a microphone."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import threading
import wave
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote

from device_agent.errors import DeviceAgentError

HERE = Path(__file__).parent
LIBRARY = HERE / "node_modules" / "@elevenlabs" / "client" / "dist" / "lib.iife.js"
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage",
    "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream",
    "--autoplay-policy=no-user-gesture-required",
)  # fmt: skip


def provide_library() -> None:
    """Installs the package from the lock file, if need be. Raises DeviceAgentError where that cannot be done."""
    if LIBRARY.exists():
        return
    command = ("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
    try:
        done = subprocess.run(command, cwd=HERE, capture_output=True, text=True, timeout=180)
    except OSError as error:
        raise DeviceAgentError("npm is needed to fetch @elevenlabs/client: sudo apt install npm") from error
    if done.returncode or not LIBRARY.exists():
        raise DeviceAgentError(f"npm ci did not bring @elevenlabs/client: {done.stderr.strip()[-300:]}")


def chromium() -> str:
    """Its path. Raises DeviceAgentError where it is not installed."""
    if found := shutil.which("chromium"):
        return found
    raise DeviceAgentError("Chromium is needed for this test: sudo apt install chromium")


class Page(ThreadingHTTPServer):
    """Serves the page on loopback, which counts as a secure context, and collects its callbacks."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.callbacks: list[dict[str, Any]] = []
        self.url = f"http://127.0.0.1:{self.server_port}/"


class _Handler(BaseHTTPRequestHandler):
    server: Page

    def do_GET(self) -> None:
        files = {"/": (HERE / "page.html", "text/html"), "/lib.iife.js": (LIBRARY, "text/javascript")}
        file, kind = files.get(self.path.partition("?")[0], (None, ""))
        body = file.read_bytes() if file is not None else b""
        self.send_response(200 if file is not None else 404)
        self.send_header("Content-Type", kind or "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        self.server.callbacks.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Requests are not news."""


def write_wav(file: Path, sound: array[int], rate: int) -> None:
    with wave.open(str(file), "wb") as target:
        target.setnchannels(1)
        target.setsampwidth(2)
        target.setframerate(rate)
        target.writeframes(sound.tobytes())


@contextmanager
def browse(socket_url: str, microphone: array[int], rate: int) -> Iterator[Page]:
    """Opens the page, which at once converses with the agent at `socket_url`; `microphone` sounds once."""
    program = chromium()
    provide_library()
    with (
        tempfile.TemporaryDirectory(prefix="device-agent-browser-", ignore_cleanup_errors=True) as home,
        Page() as page,
    ):
        threading.Thread(target=page.serve_forever, name="page", daemon=True).start()
        write_wav(Path(home) / "microphone.wav", microphone, rate)
        address = f"{page.url}?signed_url={quote(f'{socket_url}/v1/convai/conversation?agent_id=browser', safe='')}"
        process = subprocess.Popen(
            (program, *FLAGS, f"--user-data-dir={home}/profile",
             f"--use-file-for-fake-audio-capture={home}/microphone.wav%noloop", address),
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            yield page
        finally:
            process.terminate()
            process.wait()
            page.shutdown()
