"""Settings come in layers, and each knows where it comes from."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from device_agent.config.load import Loaded, load
from device_agent.config.options import options
from device_agent.config.paths import Paths
from device_agent.config.schema import Settings
from device_agent.errors import ConfigError


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    """An empty system directory and an empty home."""
    (tmp_path / "etc" / "conf.d").mkdir(parents=True)
    (tmp_path / "home").mkdir()
    return Paths(tmp_path / "etc", tmp_path / "home")


def level(loaded: Loaded) -> tuple[str, str]:
    return loaded.settings.log.level, loaded.origins["log.level"]


def test_without_any_layer_the_defaults_of_the_schema_hold(paths: Paths) -> None:
    """No file, no variable, no option: every setting is the schema's default and says so."""
    loaded = load(paths, {})
    assert loaded.settings == Settings()
    assert set(loaded.origins.values()) == {"default"}
    assert loaded.origins.keys() == options().keys()
    assert loaded.files == ()


def test_each_layer_wins_over_the_one_before(paths: Paths) -> None:
    """System file, conf.d in lexical order, user's file, environment, --set: the later one wins and is named."""
    system, own = paths.system / "config.toml", paths.own / "config.toml"
    system.write_text("# system\n[log]\nlevel = 'debug'\n")
    assert level(load(paths, {})) == ("debug", f"{system}:3")
    late = paths.system / "conf.d" / "20.toml"
    late.write_text("log.level = 'error'\n")
    (paths.system / "conf.d" / "10.toml").write_text("[log]\nlevel = 'warning'\n")
    (paths.system / "conf.d" / "30.toml.bak").write_text("not read")
    assert level(load(paths, {})) == ("error", f"{late}:1")
    own.write_text("[log]\nlevel = 'info'\n")
    assert level(load(paths, {})) == ("info", f"{own}:2")
    environ = {"DEVICE_AGENT_LOG_LEVEL": "debug", "PATH": "/bin"}
    assert level(load(paths, environ)) == ("debug", "environment")
    assert level(load(paths, environ, ["log.level=error", "log.level=warning"])) == ("warning", "--set")
    assert [file.name for file in load(paths, {}).files] == ["config.toml", "10.toml", "20.toml", "config.toml"]


def test_a_layer_changes_only_what_it_names(paths: Paths) -> None:
    """Settings of one section may come from several layers."""
    (paths.system / "config.toml").write_text("[gate]\nonset = 4\nwindow = 10\n")
    gate = load(paths, {"DEVICE_AGENT_GATE_PREROLL_MS": "400"}, ["gate.window=9"]).settings.gate
    assert (gate.onset, gate.window, gate.preroll_ms, gate.hangover_ms) == (4, 9, 400, 800)


def test_a_named_file_replaces_all_other_files(paths: Paths, tmp_path: Path) -> None:
    """With --config, neither the system's nor the user's files count; environment and --set still do."""
    (paths.system / "config.toml").write_text("[agent]\nid = 'system'\n[log]\nlevel = 'debug'\n")
    named = tmp_path / "named.toml"
    named.write_text("[agent]\nid = 'named'\n")
    loaded = load(Paths(paths.system, paths.own, named), {"DEVICE_AGENT_AGENT_USER_ID": "me"})
    assert loaded.settings.agent.id == "named"
    assert loaded.settings.agent.user_id == "me"
    assert loaded.settings.log.level == "info"
    assert loaded.files == (named,)


def test_relative_paths_start_at_the_file_that_names_them(paths: Paths) -> None:
    """A file's relative paths start at its directory, a command line's at the working directory; absolute ones stay."""
    (paths.own / "config.toml").write_text(
        "[tools]\nfiles = ['mine.py', '/opt/theirs.py']\n[server]\nca_file = 'ca.pem'\n"
    )
    loaded = load(paths, {}, ["server.api_key_file=key"])
    assert loaded.settings.tools.files == (str(paths.own / "mine.py"), "/opt/theirs.py")
    assert loaded.settings.server.ca_file == str(paths.own / "ca.pem")
    assert loaded.settings.server.api_key_file == "key"


@pytest.mark.parametrize(
    ("assignment", "expected"),
    [
        ("agent.id=agent_1", "agent_1"),
        ("agent.id='quoted'", "quoted"),
        ("agent.id=12", "12"),
        ("agent.id='open", "'open"),
        ("agent.first_message=", ""),
        ("agent.prompt=a=b", "a=b"),
        ("log.transcripts=true", True),
        ("log.transcripts=false", False),
        ("gate.onset=7", 7),
        ("session.idle_close_s=7", 7.0),
        ("session.idle_close_s=2.5", 2.5),
        ("tools.files=a.py, b.py", ("a.py", "b.py")),
        ("tools.files=['a.py', 'b.py']", ("a.py", "b.py")),
        ("tools.files=", ()),
        ("agent.dynamic_variables={name = 'Ada', n = 2}", {"name": "Ada", "n": 2}),
        ("agent.extra_body={max_tokens = 100}", {"max_tokens": 100}),
        ("audio.input=id:Loopback,1", ("id:Loopback,1",)),
        ("audio.input=['Jabra', 'default']", ("Jabra", "default")),
        ("audio.input=", ()),
    ],
)
def test_set_takes_bare_text_and_toml_values(paths: Paths, assignment: str, expected: object) -> None:
    """What --set says is read by the setting's type: text as it stands, lists from commas, tables as TOML."""
    section, key = assignment.partition("=")[0].split(".")
    value = getattr(getattr(load(paths, {}, [assignment]).settings, section), key)
    assert value == expected
    assert type(value) is type(expected)


def test_toml_values_become_the_schema_s_types(paths: Paths) -> None:
    """Lists become tuples, whole numbers become floats where the schema says so, tables stay tables."""
    (paths.own / "config.toml").write_text(
        "[activation]\nmodes = ['always-on']\n[session]\nidle_close_s = 5\n[agent.overrides.tts]\nspeed = 1.1\n"
    )
    loaded = load(paths, {})
    assert loaded.settings.activation.modes == ("always-on",)
    assert isinstance(loaded.settings.session.idle_close_s, float)
    assert loaded.settings.agent.overrides == {"tts": {"speed": 1.1}}
    assert loaded.origins["agent.overrides"] == f"{paths.own / 'config.toml'}:5"


def test_a_list_of_cards_may_be_one_text(paths: Paths) -> None:
    """The common case needs no brackets."""
    (paths.own / "config.toml").write_text("[audio]\ninput = 'Jabra'\noutput = ['id:A', 're:^USB']\n")
    audio = load(paths, {}).settings.audio
    assert (audio.input, audio.output) == (("Jabra",), ("id:A", "re:^USB"))


def test_a_card_that_cannot_be_found_reliably_is_a_mistake(paths: Paths) -> None:
    """A bare number, a broken expression: each with its place."""
    (paths.own / "config.toml").write_text("[audio]\ninput = ['2', 're:(']\n")
    with pytest.raises(ConfigError) as caught:
        load(paths, {})
    first, second = caught.value.problems
    assert "config.toml:2: audio.input: '2' is a number" in first
    assert "config.toml:2: audio.input: 're:(' is not a regular expression" in second


def test_the_usual_places_depend_on_the_user() -> None:
    """Root configures the system; others have $XDG_CONFIG_HOME or ~/.config; without a home there is none."""
    etc = Path("/etc/device-agent")
    assert Paths.standard({"HOME": "/root"}, root=True) == Paths(etc, etc)
    assert Paths.standard({"HOME": "/home/a"}, root=False) == Paths(etc, Path("/home/a/.config/device-agent"))
    assert Paths.standard({"XDG_CONFIG_HOME": "/x", "HOME": "/h"}, root=True) == Paths(etc, Path("/x/device-agent"))
    assert Paths.standard({}, root=False) == Paths(etc, etc)
    assert Paths.standard({"HOME": "/h"}, only="a.toml", root=False).config == Path("a.toml")


def test_without_paths_the_usual_places_are_read(tmp_path: Path) -> None:
    """`load(None, environ)` finds the user's file through the environment it is given."""
    (tmp_path / "device-agent").mkdir()
    (tmp_path / "device-agent" / "config.toml").write_text("[agent]\nid = 'agent_x'\n")
    assert load(None, {"XDG_CONFIG_HOME": str(tmp_path)}).settings.agent.id == "agent_x"


def test_the_first_mistake_does_not_hide_the_others(paths: Paths) -> None:
    """All mistakes of all layers come at once, also of a setting that a later layer overrides."""
    (paths.system / "config.toml").write_text("[log]\nlevel = 'loud'\n")
    (paths.own / "config.toml").write_text("[log\n")
    with pytest.raises(ConfigError) as caught:
        load(paths, {"DEVICE_AGENT_GATE_ONSET": "none"}, ["log.level=info", "gate.windo=3"])
    assert len(caught.value.problems) == 4
    assert caught.value.exit_code == 78


def test_values_of_the_right_type_are_loaded_without_the_converter(tmp_path: Path) -> None:
    """Importing cattrs takes as long as all the rest of loading: the command line that starts a device avoids it."""
    code = (
        "import sys\nfrom device_agent.config.load import load\n"
        "load(None, {}, ['agent.id=a', 'gate.onset=5', 'session.idle_close_s=5', 'activation.modes=always-on'])\n"
        "print('cattrs' in sys.modules)"
    )
    environ = {"XDG_CONFIG_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, timeout=20)
    assert done.stdout == "False\n", done.stderr
