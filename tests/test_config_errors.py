"""Every mistake is one line that names the place, the setting, what is wrong and what is allowed."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device_agent.config.load import load
from device_agent.config.options import options
from device_agent.config.paths import Paths
from device_agent.errors import ConfigError

SECRET = "sk_0123456789abcdefCANARY"
REMEDY = (
    "must not stand here, because it looks like a secret: `device-agent setup` stores it in a file of mode 0600, "
    "and server.api_key_file or server.broker_token_file may name another one"
)
BASE_ADDRESS = "must be an address such as wss://host:port"


def problems_of(file: Path, text: str | bytes) -> list[str]:
    """The problems of one file, without its name."""
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(ConfigError) as caught:
        load(Paths(file.parent, file.parent, file), {})
    return [problem.replace(f"{file}:", "").strip() for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[agent]\nid = 5", "2: agent.id must be text"),
        ("[log]\ntranscripts = 1", "2: log.transcripts must be true or false"),
        ("[gate]\nonset = true", "2: gate.onset must be a whole number"),
        ("[gate]\nonset = 5.0", "2: gate.onset must be a whole number"),
        ("[session]\nidle_close_s = '5'", "2: session.idle_close_s must be a number"),
        (f"[session]\nidle_close_s = 1{'0' * 400}", "2: session.idle_close_s must be a number"),
        ("[session]\nidle_close_s = nan", "2: session.idle_close_s must be finite"),
        ("[tools]\nfiles = 'a.py'", "2: tools.files must be a list of texts"),
        ("[tools]\nfiles = [1]", "2: tools.files must be a list of texts"),
        ("[agent]\noverrides = []", "2: agent.overrides must be a table"),
        (
            "[agent]\noverrides = {a = 2026-01-01}",
            "2: agent.overrides must not be or hold a date or time: write it as text",
        ),
        ('[agent]\nid = "a\\u0000"', "2: agent.id must be UTF-8 text without NUL characters"),
        (
            f"[agent]\noverrides.{'.'.join('a' * 3000)} = 1",
            "2: agent.overrides must not be nested deeper than 16 tables or lists",
        ),
        ("[gate]\nonset = 99", "2: gate.onset must be from 1 to 25"),
        ("[audio]\nperiod_ms = 30", "2: audio.period_ms must be one of: 20, 40"),
        ("[log]\nlevel = 'loud'", "2: log.level must be one of: debug, info, warning, error"),
        (
            "[activation]\nmodes = ['sometimes']",
            "2: activation.modes must be one or more of: push-to-talk, toggle, always-on, voice, wake-word, presence, "
            "remote, one-shot",
        ),
        ("[audio]\nechoo = 'off'", "2: unknown setting 'audio.echoo'; did you mean audio.echo?"),
        ("[audio]\nbutton_pin = 1", "2: unknown setting 'audio.button_pin'; did you mean panel.button_pin?"),
        ("[log]\nzzz = 1", "2: unknown setting 'log.zzz'; allowed: log.level, log.transcripts, log.format"),
        ("[autio]\necho = 'off'", "1: unknown section 'autio'; did you mean audio?"),
        ("echo = 'off'", "1: unknown section 'echo'; did you mean audio.echo?"),
        (
            "[zzz]",
            "1: unknown section 'zzz'; allowed: agent, server, activation, wake, gate, audio, sounds, session, panel, "
            "lights, tools, control, log, rescue",
        ),
        ("agent = 'x'", "1: agent is a section with settings such as agent.id"),
        ("agent = {idd = 'x'}", "unknown setting 'agent.idd'; did you mean agent.id?"),
        ("[gate]\nonset = 9", "2: gate.onset (9) must not exceed gate.window (8), or the gate never opens"),
        (
            "[audio]\nvolume = 90\nvolume_max = 80",
            "2, 3: audio.volume (90) exceeds audio.volume_max (80): make one of them fit",
        ),
        ("[audio]\nvolume = 101", "2: audio.volume must be from 0 to 100"),
        (
            "[gate]\npreroll_ms = 100",
            "2: gate.preroll_ms (100) must be at least gate.window × 20 ms (160), or first words lose their beginning",
        ),
        (
            "[panel]\nbutton_pin = 17\nled_pin = 17",
            "2, 3: panel.button_pin and panel.led_pin are both 17: each needs a pin of its own",
        ),
        ("[panel]\nled_pin = 28", "2: panel.led_pin must be from -1 to 27"),
        (
            "[panel]\nled_pin = 5\n[panel.buttons.red]\npin = 5\npress = 'stop'",
            "2, 3: panel.led_pin and panel.buttons.red.pin are both 5: each needs a pin of its own",
        ),
        (
            "[panel.buttons.red]\npin = 5\npress = 'stop'\n[panel.buttons.blue]\npin = 5\npress = 'mute'",
            "1: panel.buttons.red.pin and panel.buttons.blue.pin are both 5: each needs a pin of its own",
        ),
        (
            "[panel]\nbuttons = {red = 5}",
            "2: panel.buttons.red must be a table: [panel.buttons.red] with pin and press",
        ),
        (
            "[panel.buttons.red]\npin = 40\npress = 'stop'",
            "1: panel.buttons.red.pin must be a GPIO of the 40-pin header, 0 to 27",
        ),
        (
            "[panel.buttons.red]\npin = 5\npress = ['stop', 'mute']",
            "1: panel.buttons.red.press must be one action, not several",
        ),
        (
            "[panel.buttons.red]\npin = 5\npress = 'tool:'",
            "1: panel.buttons.red.press must be one of: talk, end, stop, mute, volume_up, volume_down, language_next, "
            "restart, shutdown, nothing, say:TEXT, context:TEXT, tool:NAME",
        ),
        (
            "[panel.buttons.red]\npin = 5\nlong = 7",
            "1: panel.buttons.red.long must be one of: talk, end, stop, mute, volume_up, volume_down, language_next, "
            "restart, shutdown, nothing, say:TEXT, context:TEXT, tool:NAME",
        ),
        (
            "[panel.buttons.red]\npin = 5",
            '1: panel.buttons.red does nothing: give it an action, e.g. press = "talk"',
        ),
        (
            "[panel.buttons.red]\npin = 5\npress = 'stop'\nactive = 'up'",
            "1: panel.buttons.red.active must be low (button to ground) or high",
        ),
        (
            "[panel.buttons.red]\npin = 5\npress = 'stop'\nclick = 'stop'",
            "1: panel.buttons.red.click: there is no such setting; there are pin, active, when, press, double, triple, "
            "long, very_long, hold",
        ),
        (
            "[panel.buttons.red]\npin = 5\npress = 'stop'\nwhen.loud.press = 'stop'",
            "1: panel.buttons.red.when.loud: there is no such state; there are muted, offline, connecting, listening, "
            "thinking, speaking, idle",
        ),
        (
            "[panel.buttons.red]\npin = 5\npress = 'stop'\nwhen.idle.click = 'stop'",
            "1: panel.buttons.red.when.idle.click: there is no such gesture; there are press, double, triple, long, "
            "very_long, hold",
        ),
        (
            "[panel.buttons.red]\npin = 5\npress = 'stop'\nwhen.idle = 'stop'",
            '1: panel.buttons.red.when.idle must be a table, e.g. { press = "stop" }',
        ),
        (
            "[panel.buttons.red]\npin = 5\npress = 'stop'\nwhen = 'stop'",
            "1: panel.buttons.red.when must be a table of states",
        ),
        (
            "[panel.buttons.red]\npin = 5\nhold = 'talk'\nlong = 'stop'",
            "1: panel.buttons.red: hold and long begin with the same gesture: keep one of them",
        ),
        (
            "[panel]\nbutton_pin = 4\n[panel.buttons.button]\npin = 5\npress = 'stop'",
            "3: panel.buttons.button is what panel.button_pin makes: choose another name, or remove one of them",
        ),
        (
            "[activation]\nmodes = ['push-to-talk']\n[panel.buttons.red]\npin = 5\npress = 'talk'\ndouble = 'stop'",
            "2, 3: panel.buttons.red.press is talk, and with push-to-talk the whole press is speech: "
            'write hold = "talk", or give the other gestures another button',
        ),
        (
            "[activation]\nmodes = ['one-shot']",
            "2: activation.modes names only one-shot, which opens nothing: name at least one, e.g. always-on",
        ),
        ("[activation]\nmodes = ['presence']", "2: activation.modes names presence: set panel.presence_pin"),
        ("[agent]\nlanguages = {de = 'x'}", '2: agent.languages.de must be a table, e.g. { first_message = "Hallo" }'),
        (
            "[agent]\nlanguages = {de = {voice = 'x'}}",
            "2: agent.languages.de.voice: there is no such setting; id, first_message, prompt, voice_id are",
        ),
        ("[agent]\nlanguages = {de = {id = 5}}", "2: agent.languages.de.id must be text"),
        (
            "[agent]\nlanguage = 'fr'\nlanguages = {de = {}}",
            "2, 3: agent.language is not among agent.languages (de): add it there",
        ),
        (
            "[panel.buttons.red]\npin = 5\npress = 'language_next'",
            "1: panel.buttons.red changes the language, and agent.languages does not name two",
        ),
        (
            "[session]\ndaily_minutes = 0",
            "2: session.daily_minutes is 0, which never opens a conversation: write 1440 for the whole day",
        ),
        (
            "[session]\nhours = ['08:00-08:00']",
            """2: session.hours: '08:00-08:00' is never open: write "00:00-24:00" for the whole day""",
        ),
        ("[session]\nhours = ['always']", """2: session.hours: 'always' is not like "Mon-Fri 08:00-18:00\""""),
        ("[session]\nhours = ['25:00-26:00']", "2: session.hours: '25:00-26:00': there is no 25:00"),
        (
            "[session]\nhours = ['Mo-Fr 08:00-18:00']",
            "2: session.hours: 'Mo-Fr 08:00-18:00': days are Mon, Tue, Wed, Thu, Fri, Sat, Sun",
        ),
        ("[activation]\nmodes = []", "2: activation.modes is empty: name at least one, e.g. always-on"),
        (
            "[activation]\nmodes = ['push-to-talk']",
            "2: activation.modes names push-to-talk, which needs a button: set panel.button_pin",
        ),
        (
            "[activation]\nmodes = ['toggle']\n[panel]\nbutton_pin = 1\nbackend = 'none'",
            "2, 4, 5: activation.modes names toggle, which needs a button: panel.backend is none",
        ),
        (
            "[server]\nurl = 'wss://x.example'\nregion = 'eu'",
            "2, 3: server.url and server.region are both set: remove one of them, the address already says where",
        ),
        ("[server]\nauth = 'broker'", "2: server.auth is broker, which needs server.broker_url"),
        ("[server]\nurl = 'ftp://x'", f"2: server.url {BASE_ADDRESS}"),
        ("[server]\nurl = 'wss://'", f"2: server.url {BASE_ADDRESS}"),
        ("[server]\nurl = 'wss://x:99999'", f"2: server.url {BASE_ADDRESS}"),
        ("[server]\nurl = 'wss://[x'", f"2: server.url {BASE_ADDRESS}"),
        ("[server]\nurl = 'wss://me:pw@x'", "2: server.url must not hold a user name or password"),
        ("[server]\nurl = 'wss://x y'", "2: server.url must not hold spaces or control characters"),
        ("[server]\nurl = 'wss://x/v1'", "2: server.url must be a base address: nothing may follow the host and port"),
        (
            "[server]\nurl = 'ws://10.0.0.1'",
            "2: server.url must begin with wss://; plain ws:// is for this machine only (127.0.0.1)",
        ),
        (
            "[server]\nbroker_url = 'http://broker.example/url'",
            "2: server.broker_url must begin with https://; plain http:// is for this machine only (127.0.0.1)",
        ),
        (b"[agent]\nid = '\xff'", "is not UTF-8 text"),
        ("[agent\n", "is not TOML: Expected ']' at the end of a table declaration (at line 1, column 7)"),
        (f"[server]\napi_key = '{SECRET}'", f"2: server.api_key {REMEDY}"),
        ("[server]\ntoken = 'hush'", f"2: server.token {REMEDY}"),
        (f"[agent]\nid = '{SECRET}'", f"2: agent.id {REMEDY}"),
        (f"[agent.extra_body]\ndeep = [{{a = '{SECRET}'}}]", f"1: agent.extra_body {REMEDY}"),
        (f"[elevenlabs]\nkey = '{SECRET}'", f"1: elevenlabs {REMEDY}"),
        (f"xi-api-key = '{SECRET}'", f"1: xi-api-key {REMEDY}"),
        (f"[agent]\n{SECRET} = 1", "2: agent.sk_… " + REMEDY),
    ],
)
def test_a_mistake_in_a_file_is_one_line(tmp_path: Path, text: str | bytes, problem: str) -> None:
    """File, line, setting, what is wrong, what is allowed: in one line, which never repeats a secret."""
    assert problems_of(tmp_path / "c.toml", text) == [problem]


@pytest.mark.parametrize(
    ("environ", "sets", "problem"),
    [
        ({"DEVICE_AGENT_LOG_LEVEL": "loud"}, [], "environment: log.level must be one of: debug, info, warning, error"),
        ({"DEVICE_AGENT_LOG_LEVLE": ""}, [], "environment: unknown setting 'log.levle'; did you mean log.level?"),
        ({"DEVICE_AGENT_AGENT_ID": "\udcff"}, [], "environment: agent.id must be UTF-8 text without NUL characters"),
        ({"DEVICE_AGENT_SERVER_API_KEY": SECRET}, [], f"environment: server.api_key {REMEDY}"),
        ({}, ["log.transcripts=yes"], "--set: log.transcripts must be true or false"),
        ({}, ["gate.onset=many"], "--set: gate.onset must be a whole number"),
        ({}, ["tools.files=[1]"], "--set: tools.files must be a list of texts"),
        ({}, ["agent.overrides={a"], "--set: agent.overrides must be a table"),
        ({}, ["agent.prompt"], "--set: must be followed by section.key=value"),
        ({}, [SECRET], "--set: must be followed by section.key=value"),
        ({}, [f"server.api_key={SECRET}"], f"--set: server.api_key {REMEDY}"),
        ({}, ["server.broker_token=hush"], f"--set: server.broker_token {REMEDY}"),
    ],
)
def test_a_mistake_outside_files_names_its_layer(
    tmp_path: Path, environ: dict[str, str], sets: list[str], problem: str
) -> None:
    """Environment and --set report like files, and refuse secrets."""
    with pytest.raises(ConfigError) as caught:
        load(Paths(tmp_path, tmp_path), environ, sets)
    assert caught.value.problems == (problem,)


def test_missing_and_unreadable_files(tmp_path: Path) -> None:
    """A file named by --config must exist; what exists in a usual place must be readable."""
    with pytest.raises(ConfigError, match=r"nix\.toml: there is no such file"):
        load(Paths(tmp_path, tmp_path, tmp_path / "nix.toml"), {})
    (tmp_path / "config.toml").mkdir()
    (tmp_path / "conf.d").symlink_to("conf.d")
    with pytest.raises(ConfigError) as caught:
        load(Paths(tmp_path, tmp_path), {})
    assert caught.value.problems == (
        f"{tmp_path}/conf.d: cannot be read: Too many levels of symbolic links",
        f"{tmp_path}/config.toml: cannot be read: Is a directory",
    )


@pytest.mark.parametrize(
    "sets",
    [
        ["server.url=ws://127.0.0.1:8000"],
        ["server.url=ws://[::1]:8000"],
        ["server.url=http://localhost:8000/"],
        ["server.broker_url=http://127.0.0.1/url?device=1"],
        ["activation.modes=push-to-talk,toggle", "panel.backend=mock"],
        ["activation.modes=push-to-talk", "panel.button_pin=17"],
    ],
)
def test_what_is_allowed_is_not_refused(tmp_path: Path, sets: list[str]) -> None:
    """Plain addresses on this machine, and buttons that are mock or have a pin, are fine."""
    load(Paths(tmp_path, tmp_path), {}, sets)


def test_a_broken_setting_is_reported_once(tmp_path: Path) -> None:
    """A pin that could not be read is not reported again as missing."""
    with pytest.raises(ConfigError) as caught:
        load(Paths(tmp_path, tmp_path), {}, ["activation.modes=toggle", "panel.button_pin=left"])
    assert caught.value.problems == ("--set: panel.button_pin must be a whole number",)


_names = st.sampled_from([*options(), "agent", "zz", "log.zz", f"agent.{SECRET}", "server.api_key", ""])
_values = st.one_of(
    st.text(max_size=20),
    st.integers().map(str),
    st.floats().map(str),
    st.sampled_from(
        ["[" * 2000, "{a={b=[1,'x']}}", "[1, 'a']", "true", "2026-01-01", f"'{SECRET}'", "'ws://[a'", "nan"]
    ),
)


@settings(max_examples=150, deadline=None)
@given(pairs=st.lists(st.tuples(_names, _values), max_size=6), garbage=st.text(max_size=20))
def test_no_input_raises_anything_but_one_line_problems(pairs: list[tuple[str, str]], garbage: str) -> None:
    """Whatever stands in a file, a variable or an option: settings or a ConfigError of single lines, never a secret."""
    lines = [f"{name} = {value}" for name, value in pairs]
    text = "\n".join([*lines, garbage])
    environ = {f"DEVICE_AGENT_{name.replace('.', '_').upper()}": value for name, value in pairs}
    with TemporaryDirectory() as directory:
        file = Path(directory, "c.toml")
        file.write_text(text, "utf-8", "surrogatepass")
        for given_environ, sets in (({}, []), (environ, []), ({}, [f"{name}={value}" for name, value in pairs])):
            try:
                load(Paths(file.parent, file.parent, file), given_environ, sets)
            except ConfigError as error:
                assert error.problems
                assert not any("\n" in problem or "CANARY" in problem for problem in error.problems)
