"""All settings as documented dataclasses. The docstring of a field is its line in `config/device-agent.toml`.

Units stand in the names (`_ms`, `_s`, `_db`). A field's `metadata` holds its help, and where it has them its
allowed `choices` or its `range` (both ends included). `path=True` marks names of files: relative ones start at the
directory of the configuration file that says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Any

from device_agent.records import record


def _opt(default: Any, help: str, **limits: Any) -> Any:
    """A setting with its help text and limits (`choices=`, `range=`, `path=`, `single=`)."""
    metadata = {"help": help, **limits}
    if isinstance(default, (dict, list, tuple)):
        return field(default_factory=lambda: type(default)(default), metadata=metadata)
    return field(default=default, metadata=metadata)


@record
class Agent:
    """Which agent to talk with, and what to tell it at the start of a conversation."""

    id: str = _opt("", "The agent's id, as the ElevenLabs dashboard shows it (agent_…).")
    language: str = _opt(
        "", 'Language override, e.g. "de". Overrides must be allowed in the agent\'s security settings.'
    )
    first_message: str | None = _opt(None, "First-message override; an empty text makes the agent wait for the user.")
    continue_silently: bool = _opt(
        False,
        "After a lost connection the new conversation begins without the first message; the agent must allow that "
        "override. Off, the agent greets again. What was said before it is told in any case.",
    )
    prompt: str = _opt("", "System-prompt override.")
    voice_id: str = _opt("", "Voice override.")
    overrides: Mapping[str, Any] = _opt({}, "Any other conversation_config_override, passed on as it stands.")
    languages: Mapping[str, Any] = _opt(
        {},
        "Languages to choose from by the action language_next, in this order; each may have its own id, first_message, "
        'prompt and voice_id: [agent.languages.de] first_message = "Hallo".',
    )
    dynamic_variables: Mapping[str, Any] = _opt(
        {}, "Values for the {{variables}} in the agent's prompt and tools. {device_id} in a text is as in user_id."
    )
    extra_body: Mapping[str, Any] = _opt({}, "custom_llm_extra_body for agents with a custom model.")
    user_id: str = _opt(
        "",
        "Your own id for the person or place at this device. {device_id} in it stands for the device's, which "
        "`device-agent status` shows; it is sent only if you ask for it so.",
    )
    environment: str = _opt("", "Agent environment; empty means production.")
    branch_id: str = _opt("", "Agent branch.")


@record
class Server:
    """Where the service is and how this device proves who it is."""

    url: str = _opt(
        "",
        "Base address, e.g. wss://proxy.example:8443, in place of the region's. Plain ws:// only for this machine.",
    )
    region: str = _opt("global", "Where your ElevenLabs account lives.", choices=("global", "us", "eu", "in", "sg"))
    auth: str = _opt(
        "auto",
        "public: the agent needs no key. key: an API key fetches a signed URL for each connection. broker: your own "
        "server hands out signed URLs. auto: broker if broker_url is set, key if a key is found, else public.",
        choices=("auto", "public", "key", "broker"),
    )
    api_key_file: str = _opt("", "File (mode 0600) with the API key, where no systemd credential holds it.", path=True)
    broker_url: str = _opt("", 'Address of your broker; it answers {"signed_url": …}.')
    broker_token_file: str = _opt("", "File (mode 0600) with this device's token for the broker.", path=True)
    ca_file: str = _opt(
        "", "Additional trusted certificate authority (PEM), for a broker or proxy of your own.", path=True
    )
    origin: str = _opt("", "Origin header for agents with an allow-list of hosts; empty sends none.")


@record
class Activation:
    """What opens a conversation."""

    modes: tuple[str, ...] = _opt(
        ("always-on",),
        "push-to-talk: hold the button to speak. toggle: press to open, press again to close. always-on: open from "
        "the start, and again whenever somebody speaks after it was closed. voice: speech opens. wake-word: the wake "
        "word opens. presence: open when the sensor sees somebody, closed when nobody is there. remote: only the "
        "control socket opens (it always may). one-shot, with any of them: close after one answer.",
        choices=(
            "push-to-talk", "toggle", "always-on", "voice", "wake-word", "presence", "remote", "one-shot",
        ),
    )  # fmt: skip
    away_s: float = _opt(
        10.0, "Close when the presence sensor has seen nobody for so long: the next one is greeted.", range=(0, 3600)
    )


@record
class Wake:
    """What activation.modes = "wake-word" listens for, while no conversation is open."""

    words: tuple[str, ...] = _opt(
        ("okay_nabu",), "Words of the engine's own.", choices=("okay_nabu", "hey_jarvis", "hey_mycroft", "alexa")
    )
    models: tuple[str, ...] = _opt((), "More words: .json files of microWakeWord, each beside its .tflite.", path=True)
    preroll_ms: int = _opt(
        1500, "How much of what was heard until the word was known is sent to the agent.", range=(0, 5000)
    )
    threshold: float = _opt(
        0.0,
        "How sure the engine must be; less hears more, also what is no wake word. 0: as its models say.",
        range=(0, 1),
    )
    refractory_s: float = _opt(1.0, "After a word none is heard for so long.", range=(0, 60))


@record
class Gate:
    """The local speech gate: it serves activation, barge-in and idle close."""

    uplink: str = _opt(
        "open",
        "open: every microphone frame is sent while a conversation is open. silence: digital silence "
        "is sent in place of what the gate does not take for speech.",
        choices=("open", "silence"),
    )
    onset: int = _opt(5, "Speech frames (20 ms) within `window` that open the gate.", range=(1, 25))
    window: int = _opt(8, "Frames looked at for the onset.", range=(1, 50))
    preroll_ms: int = _opt(300, "Audio kept from before the gate opened.", range=(0, 2000))
    hangover_ms: int = _opt(800, "How long the gate stays open after the last speech.", range=(100, 5000))
    second_opinion: str = _opt(
        "none",
        "silero: music and clatter are no speech (a television's voices are). Needs the extra [silero], 10 MB and, "
        "while something sounds like speech, 2 to 5 % of a PC's core, on a Zero 2 W a quarter of one; the pre-roll is "
        "200 ms longer.",
        choices=("none", "silero"),
    )


@record
class Audio:
    """Microphone and loudspeaker."""

    input: tuple[str, ...] = _opt(
        (),
        "Microphone, in order of preference; one text or a list. Part of its name; or id:NAME (ALSA's id), "
        "usb:VENDOR:PRODUCT, usb:PATH, re:EXPRESSION. `device-agent bench cards` lists what to write. Empty: the sound "
        "server's default where there is one, else a USB card, else what is built in; a camera's only if nothing else "
        "is there, which is said.",
        single=True,
    )
    output: tuple[str, ...] = _opt(
        (),
        "Loudspeaker, in the same way; HDMI is the last resort. To share a raw card with other programs: default.",
        single=True,
    )
    input_channel: int = _opt(
        0,
        "Which channel of the microphone to use, from 1. 0: the first of a card, all mixed of a sound server. "
        "-1: all mixed.",
        range=(-1, 32),
    )
    period_ms: int = _opt(
        20,
        "Capture reads this much at a time while anything is heard, and 20 ms more while nothing is; 40 saves CPU: a "
        "reply then begins up to 20 ms later.",
        choices=(20, 40),
    )
    echo: str = _opt(
        "auto",
        "Against hearing itself. aec: WebRTC's canceller (needs livekit). external: the card or the sound server "
        "cancels. half-duplex: the microphone is closed to the agent while it speaks. off: for headsets and virtual "
        "cards. auto: off for a card that calls itself a headset, else aec where it is installed, else speex where "
        "microphone and loudspeaker are one card, else half-duplex.",
        choices=("auto", "aec", "external", "half-duplex", "off"),
    )
    barge_in: str = _opt(
        "gated",
        "While the agent speaks and its echo is cancelled: gated sends silence until somebody surely speaks, so that "
        "what is left of the echo interrupts nobody; open sends all that is heard.",
        choices=("gated", "open"),
    )
    tail_ms: int = _opt(
        300,
        "Half-duplex: how long after the agent's last sound the microphone stays closed.",
        range=(0, 2000),
    )
    self_check: bool = _opt(
        False,
        "At the start and once a day, while nobody talks: play a chirp, and see to it that the microphone hears it.",
    )
    volume: int = _opt(100, "Volume at the first start, 0 is silent; what a person sets later is kept.", range=(0, 100))
    mixer: str = _opt(
        "software",
        "What makes the volume: software, or a control of the sound card as `amixer scontrols` lists it, such as "
        "Master; with its card before it where that is not the default: hw:Device/PCM.",
    )
    volume_max: int = _opt(100, "Nobody can set it louder than this.", range=(1, 100))


@record
class Sounds:
    """The device's own sounds: earcons, and sentences for what a person must understand without a network."""

    earcons: bool = _opt(True, "Short sounds: listening, done, muted, no network and so on.")
    speech: bool = _opt(True, "Say what is wrong, and what a person can do.")
    language: str = _opt("", 'Language of what is said, e.g. "de"; empty means agent.language, and English without it.')
    level_db: float = _opt(0.0, "How much louder (or, below 0, softer) they are than they were made.", range=(-40, 12))


@record
class Session:
    """When a conversation ends by itself. Conversations are billed by connected time."""

    idle_close_s: float = _opt(
        60.0,
        "Close after this long without speech from either side; 0 never closes. Voices much weaker than the visitor's "
        "(a television, the next table) do not count, unless the agent understood them.",
        range=(0, 86400),
    )
    max_s: float = _opt(
        0.0,
        "A conversation that has lasted so long ends at the next boundary of a turn, and a fresh one begins if "
        "somebody is there; 0 leaves it to the agent's own limit (10 minutes unless you change it there).",
        range=(0, 86400),
    )
    daily_minutes: float = _opt(1440.0, "Connected at most so many minutes a day.", range=(0, 1440))
    connects_per_hour: int = _opt(120, "At most so many conversations an hour; 0 allows any number.", range=(0, 100000))
    hours: tuple[str, ...] = _opt(
        (),
        'Opening hours, local time, e.g. ["Mon-Fri 08:00-18:00", "Sat,Sun 10:00-14:00"]; always-on opens with them. '
        "Empty: always.",
    )
    without_clock: str = _opt(
        "open", "What the opening hours are while no time service vouches for the clock.", choices=("open", "closed")
    )


@record
class Panel:
    """Button, light and mute switch on GPIO pins (BCM numbers); -1 means that there is none."""

    backend: str = _opt(
        "auto",
        "gpio; mock: pins in memory, for the demo and for tests; none; auto: gpio on a Raspberry Pi "
        "when a pin is set (anywhere when it is mute_pin), else none.",
        choices=("auto", "gpio", "mock", "none"),
    )
    button_pin: int = _opt(-1, "Push button to ground, to talk: see activation.modes.", range=(-1, 27))
    buttons: Mapping[str, Any] = _opt(
        {},
        "More buttons, a table each: [panel.buttons.red] with pin, active (low, to ground, or high) and an action for "
        "any of the gestures press, double, triple, long (1 s), very_long (5 s) and hold: talk, end, stop, mute, "
        "volume_up, volume_down, language_next, restart, shutdown, nothing, say:TEXT, context:TEXT, tool:NAME. In "
        "[panel.buttons.red.when.speaking] a gesture may do something else.",
    )
    led_pin: int = _opt(-1, "LED to ground through a resistor.", range=(-1, 27))
    presence_pin: int = _opt(-1, "Presence sensor (PIR, radar): high while somebody is there.", range=(-1, 27))
    mute_pin: int = _opt(
        -1,
        "Mute switch to ground: see mute_when. While it cannot be read the device is muted.",
        range=(-1, 27),
    )
    mute_when: str = _opt(
        "closed",
        "closed: the switch mutes when it is closed; open: when it is open, and so does a broken wire.",
        choices=("closed", "open"),
    )
    debounce_ms: int = _opt(20, "Edges that follow within this time are contact bounce.", range=(0, 500))
    hold_ms: int = _opt(
        300, "Push-to-talk with toggle: a press of at least this long counts as a hold.", range=(50, 5000)
    )


CHAINS = ("apa102", "ws2812")
"""The kinds of light that hang on SPI."""


@record
class Lights:
    """What the light is and how it looks: docs/lights.md shows all states."""

    kind: str = _opt(
        "led",
        "led: on or off at panel.led_pin, told apart by rhythm. pwm: with brightness, there too. rgb: at "
        "red_pin, green_pin, blue_pin. apa102 (ReSpeaker HATs) and ws2812 (NeoPixel): a chain on SPI.",
        choices=("led", "pwm", "rgb", *CHAINS),
    )
    red_pin: int = _opt(-1, "Of an RGB LED, to ground through a resistor.", range=(-1, 27))
    green_pin: int = _opt(-1, "In the same way.", range=(-1, 27))
    blue_pin: int = _opt(-1, "In the same way.", range=(-1, 27))
    count: int = _opt(3, "LEDs in the chain: 3 on ReSpeaker's 2-mic HAT, 12 on its 4-mic one.", range=(1, 128))
    spi: str = _opt("0.0", "SPI bus and chip select: 0.0 is /dev/spidev0.0.")
    power_pin: int = _opt(-1, "Switches the chain on when high: 5 on ReSpeaker's 4-mic HAT.", range=(-1, 27))
    brightness: int = _opt(40, "Of all of them, in percent.", range=(1, 100))
    colours: Mapping[str, Any] = _opt({}, 'By state, e.g. { listening = "#00beff" }. Muted is always red.')
    patterns: Mapping[str, Any] = _opt(
        {}, 'By state: steady, breathe, comets, rhythm, level or bar, e.g. { idle = "steady" }. Muted is steady.'
    )


@record
class Tools:
    """Functions on this device that the agent may call."""

    files: tuple[str, ...] = _opt((), "Python files with @tool functions.", path=True)
    timeout_s: float = _opt(5.0, "A call that has not answered by then is answered as an error.", range=(0.1, 120))
    workers: int = _opt(2, "How many calls may run at once.", range=(1, 8))


@record
class Control:
    """The socket by which other programs on this machine ask and order: `device-agent status`, a screen, a script."""

    socket: str = _opt(
        "auto",
        "auto: control.sock in the service's runtime directory, or in the user's; off: none.",
        choices=("auto", "off"),
    )
    captions: bool = _opt(False, "Whether programs that listen there get what is said.")


@record
class Log:
    """What is written to the log."""

    level: str = _opt("info", "Least level.", choices=("debug", "info", "warning", "error"))
    transcripts: bool = _opt(False, "Write what was said; off keeps lengths only.")
    format: str = _opt(
        "auto",
        "json: one object a line, with the event's keys. auto: text, with journald's priorities where it listens.",
        choices=("auto", "text", "json"),
    )


@record
class Rescue:
    """What to do when nothing else has helped."""

    reboot_after_h: float = _opt(
        0.0,
        "Start the machine anew when network, microphone or loudspeaker have been lost, or the program has kept dying, "
        "for so many hours; at most twice in a day, never in a conversation. It also takes "
        "`systemctl enable --now device-agent-reboot.path`. 0: never.",
        range=(0, 168),
    )


@record
class Settings:
    """The whole configuration, one section each."""

    agent: Agent = field(default_factory=Agent)
    server: Server = field(default_factory=Server)
    activation: Activation = field(default_factory=Activation)
    wake: Wake = field(default_factory=Wake)
    gate: Gate = field(default_factory=Gate)
    audio: Audio = field(default_factory=Audio)
    sounds: Sounds = field(default_factory=Sounds)
    session: Session = field(default_factory=Session)
    panel: Panel = field(default_factory=Panel)
    lights: Lights = field(default_factory=Lights)
    tools: Tools = field(default_factory=Tools)
    control: Control = field(default_factory=Control)
    log: Log = field(default_factory=Log)
    rescue: Rescue = field(default_factory=Rescue)
