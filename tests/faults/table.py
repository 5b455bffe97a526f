"""The fault table as data. `python tests/faults/table.py` writes docs/faults.md and the README's ten recoveries.

Kinds of proof: `process` drives the started program from outside and asks a witness outside of it; `part` uses real
sockets, files or threads within the test; `fake` injects through a constructor argument or tells the pure core;
`open` has no proof yet.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
README = HERE.parents[1] / "README.md"
START, END = "<!-- faults -->\n", "<!-- /faults -->"
TESTS = HERE.parent
KINDS = ("process", "part", "fake", "open")
MOST_FAKES = 12


@dataclass(frozen=True)
class Row:
    """`proofs` are tests below tests/ (`file::name`, or a scenario); `why` says why the injection is a fake.

    `red` are tests that show the witness of a `process` row what it must see, where no proof says so itself.
    """

    number: int
    fault: str
    injection: str
    bound: str
    kind: str
    proofs: tuple[str, ...] = ()
    why: str = ""
    red: tuple[str, ...] = ()


HERE_ROWS = "faults/test_rows.py"
WAITS = f"{HERE_ROWS}::test_a_row_that_waits"
CAN_BE_RED = f"{WAITS}_can_be_red"
BLIND = (f"{HERE_ROWS}::test_the_witness_of_frames_is_no_blind_one",)
SOUND_FILES = ("test_bad_input.py::test_an_unreadable_file_and_an_open_key_name_themselves",)
CALLS = "faults/test_hostile_agent.py::test_rows_60_61_and_63_calls_of_every_kind"
LIMITS = "faults/test_limits.py"
SOUND = "faults/test_sound.py"
ROWS = (
    Row(1, "Server resets the connection", "RST from a raw server", "next attempt ≤ 1.3 s", "process",
        (f"{HERE_ROWS}::test_rows_1_and_2_a_lost_connection",), red=BLIND),
    Row(2, "Server closes without a close frame", "FIN from a raw server", "next attempt ≤ 1.3 s", "process",
        (f"{HERE_ROWS}::test_rows_1_and_2_a_lost_connection",), red=BLIND),
    Row(3, "Black-holed link", "route in a network namespace", "≤ 6 s talking, ≤ 13 s idle", "process",
        (f"{WAITS}[half_open]",
         "test_link_liveness.py::test_silence_asks_for_one_ping_and_then_ends")),
    Row(4, "Peer stops reading", "raw server with a small buffer", "12 s", "process",
        (f"{WAITS}[zero_window]",)),
    Row(5, "300 ms round trip, 5 % loss, 100 kbit/s", "packets delayed, dropped and paced between two tunnels",
        "no disconnect in 10 min", "process", ("faults/test_lines.py::test_row_5_a_bad_line",)),
    Row(6, "Jitter of the downlink", "audio just in time, random delays", "one gap at most", "part",
        ("audio/test_playback_real.py::test_a_reply_just_in_time_with_jitter_has_one_gap_at_most",)),
    Row(7, "Name server does not answer", "resolver that hangs", "attempt ≤ 3 s", "fake",
        ("test_dial.py::test_a_resolver_that_hangs_is_given_up_after_three_seconds",),
        "the system's resolver is the machine's, not the test's"),
    Row(8, "First address does not answer", "address list, full backlog", "≤ 1 s", "fake",
        ("test_dial.py::test_the_next_address_is_tried_after_a_quarter_of_a_second",), "as 7"),
    Row(9, "IPv6 without a route", "address list", "≤ 1 s", "fake",
        ("test_dial.py::test_a_refusal_tries_the_next_address_at_once", "test_dial.py::test_families_take_turns"),
        "as 7"),
    Row(10, "TCP accepted, TLS silent", "raw server", "10 s", "process",
        (f"{WAITS}[tls_silence]",)),
    Row(11, "Handshake in drips", "raw server, a byte in 0.4 s", "10.5 s", "process",
        (f"{WAITS}[drip]",)),
    Row(12, "Endless HTTP error body", "raw server", "cut off, no memory", "process",
        (f"{HERE_ROWS}::test_row_12_an_endless_answer",)),
    Row(13, "Redirect to another host", "raw server", "0 connections there", "process",
        (f"{HERE_ROWS}::test_row_13_a_redirect_is_not_followed",)),
    Row(14, "Certificate not yet valid", "certificate of the near future", "talking ≤ 6 s after it is", "process",
        (f"{WAITS}[not_yet_valid]", "scenarios/clock_not_set.txt")),
    Row(15, "Wrong host, self-signed, expired certificate", "private authority", "0 application bytes", "process",
        (f"{HERE_ROWS}::test_row_15_a_certificate_that_is_not_trusted",),
        red=(f"{HERE_ROWS}::test_row_15_sees_who_trusts_everybody",)),
    Row(16, "Captive portal", "HTML in place of the upgrade", "tried again, ≤ 60 s", "process",
        (f"{WAITS}[captive_portal]",
         "test_link_ends.py::test_nonsense_in_place_of_the_upgrade_is_a_protocol_fault")),
    Row(17, "HTTP 401, 403, 404", "raw server", "≤ 5 attempts an hour", "process",
        (f"{WAITS}[unauthorised]", "scenarios/wrong_key_always_on.txt")),
    Row(18, "HTTP 429 with Retry-After: 7", "raw server", "7.0–8.8 s", "process",
        (f"{WAITS}[retry_after]",)),
    Row(19, "HTTP 503, then well again", "raw server", "≤ 60 s", "process",
        (f"{WAITS}[unavailable]",)),
    Row(20, "Quota used up", "close 1002 with its text; an hour on a fake clock", "4 probes an hour", "process",
        (f"{WAITS}[quota]", "scenarios/quota.txt", "test_core_ending.py::test_meaning")),
    Row(21, "Close 1008 or 3000, three times", "raw server", "3 attempts", "process",
        (f"{WAITS}[policy]", "scenarios/override_refused.txt",
         "test_core_retry.py::test_three_refusals_in_a_row_are_the_last")),
    Row(22, "Opens and dies at once, a hundred times", "raw server; five minutes on a fake clock",
        "≤ 12 attempts in 5 min", "process",
        (f"{WAITS}[dies_young]", "scenarios/dies_young.txt",
         "test_core_retry.py::test_a_socket_that_opens_and_dies_at_once_keeps_growing")),
    Row(23, "Restart of a server with 10,000 clients", "simulation with our policy", "peak ≤ 6,500/s; ≤ 350/s", "part",
        ("faults/test_herd.py::test_after_a_restart_the_herd_is_spread",
         "faults/test_herd.py::test_after_an_outage_it_is_spread_wide"),
        red=("faults/test_herd.py::test_without_jitter_the_herd_comes_as_one",)),
    Row(24, "No metadata after the upgrade", "raw server", "5 s", "process",
        (f"{WAITS}[silent_after_upgrade]",)),
    Row(25, "Pongs under a full uplink", "raw server", "≤ 50 ms", "process",
        (f"{HERE_ROWS}::test_row_25_pongs_under_a_full_uplink",)),
    Row(26, "Malformed messages", "simulator, mutation fuzzer", "0 crashes", "process",
        ("audio/test_device_connection.py::test_malformed_messages_are_survived",
         "faults/test_frames.py::test_a_hundred_thousand_mutated_messages"),
        red=("audio/test_device_connection.py::test_a_device_that_stops_at_a_hostile_message_is_missed",)),
    Row(27, "Illegal frames", "raw server over RFC 6455", "all as expected", "process",
        ("faults/test_frames.py::test_row_27_every_case",),
        red=("faults/test_frames.py::test_row_27_sees_what_is_not_expected",)),
    Row(28, "Frame of 2^40 bytes", "raw server", "refused at its header", "process",
        (f"{HERE_ROWS}::test_row_28_a_frame_of_a_terabyte",), red=BLIND),
    Row(29, "Audio of odd length, wrong format", "raw server", "not played, the next is heard", "process",
        (f"{SOUND}::test_row_29_audio_that_is_none", "test_link_wire.py::test_a_malformed_message_is_skipped",
         "test_link_ends.py::test_an_unknown_audio_format_is_a_protocol_end")),
    Row(30, "Interruption in a reply", "simulator", "silent ≤ 60 ms", "process",
        ("audio/test_device_interruption.py::test_an_interruption_silences_the_loudspeaker",),
        red=("audio/test_device_interruption.py::test_without_the_message_the_reply_goes_on",)),
    Row(31, "TLS: tickets and key updates under load", "openssl s_server, 300 connections", "0 failures", "part",
        ("faults/test_tls.py::test_row_31_key_updates_under_load",)),
    Row(32, "A card is unplugged", "cards unplugged in the virtual machine, ten times; sound server killed",
        "reopened ≤ 3 s", "process",
        ("vm/test_hotplug.py::test_ten_times_unplugged_and_back",
         "audio/test_device_process.py::test_the_death_of_the_sound_server_is_survived"),
        red=("vm/test_hotplug.py::test_the_watch_sees_a_program_that_does_not_let_go",)),
    Row(33, "A card's stream blocks for ever", "sound library without its own thread", "ended for a restart ≤ 14 s",
        "process", (f"{WAITS}[blocked]",
                    "test_supervisor.py::test_a_worker_that_keeps_all_others_out_ends_the_process")),
    Row(34, "Loudspeaker does not open", "a raw card in another program's use, in the virtual machine",
        "named, retried, opened", "process",
        ("vm/test_hotplug.py::test_a_card_in_use_at_the_start_is_opened_once_it_is_free",
         "test_audio_devices.py::test_a_busy_raw_card_names_its_user"),
        red=("vm/test_hotplug.py::test_the_watch_sees_a_program_that_does_not_let_go",)),
    Row(35, "Card of another rate", "virtual cards, all formats", "whole", "process",
        ("audio/test_device_formats.py::test_a_tone_passes_both_ways",),
        red=("audio/test_device_formats.py::test_the_check_is_red_for_wrong_sound",)),
    Row(36, "Busy machine while playing", "a process that never rests", "no gap", "part",
        ("audio/test_playback_real.py::test_a_reply_at_once_has_no_gap_beside_a_busy_process",)),
    Row(37, "Card is lost after suspend", "kernel knows it no longer", "reopened", "fake",
        ("test_audio_capture.py::test_a_card_that_the_kernel_no_longer_knows_is_lost_at_once",), "no suspend here"),
    Row(38, "GPIO missing or forbidden", "a machine without pins", "READY ≤ 3 s, muted", "process",
        (f"{SOUND}::test_row_38_no_pins", "test_panel.py::test_real_pins_missing_here_are_a_state_not_a_crash",
         "test_panel.py::test_an_unreadable_switch_means_muted")),
    Row(39, "Button bounces, sticks, chatters", "edges of a pin of software", "one action", "process",
        (f"{WAITS}[button]",
         "scenarios/button_bounces.txt", "scenarios/button_stuck.txt", "scenarios/button_chatters.txt",
         "test_panel_inputs.py::test_a_storm_of_edges_is_bounded_and_its_end_is_known")),
    Row(40, "A pin fails in use", "gpiozero's mock pins", "claimed again", "fake",
        ("test_panel.py::test_a_pin_that_fails_while_in_use_is_claimed_again",), "no pins here"),
    Row(41, "Mute at any moment", "1,000 toggles over a conversation", "no sample of it is sent", "process",
        ("audio/test_device_mute.py::test_a_thousand_toggles_leak_no_sample",
         "test_link_uplink.py::test_a_frame_captured_before_a_mute_never_leaves_after_it",
         "test_audio_capture.py::test_what_was_heard_while_muted_never_passes_after_it")),
    Row(42, "Clock jumps", "libfaketime: a year ahead, ten years back, and right", "no timeout", "process",
        (f"{WAITS}[clock_jumps]", "test_architecture.py::test_the_wall_clock_decides_nothing")),
    Row(43, "No network for an hour", "network namespace whose cable comes after 8 s; an hour on a fake clock",
        "≤ 3 s after the link", "process",
        (f"{WAITS}[no_network]", "scenarios/network_up.txt", "scenarios/sounds_no_network.txt",
         "test_network.py::test_addresses_of_a_real_network")),
    Row(44, "Address changes", "network namespace", "≤ 3 s", "process",
        (f"{WAITS}[roaming]", "test_network.py::test_addresses_of_a_real_network")),
    Row(45, "Disk full", "file system in memory without a byte left", "no effect", "process",
        (f"{WAITS}[disk_full]", "test_state_file.py::test_a_full_card_leaves_the_old_state",
         "test_flight.py::test_a_full_or_missing_place_is_no_second_fault")),
    Row(46, "Root read-only", "mount namespace", "no effect, 0 bytes written", "process",
        (f"{WAITS}[read_only]", "test_state_file.py::test_a_medium_that_cannot_be_written_is_said_once",)),
    Row(47, "Nobody reads the log", "full pipe", "audio unaffected", "process",
        (f"{WAITS}[unread]",)),
    Row(48, "Memory pressure", "RLIMIT_AS, messages of 16 MB", "survives, heard again ≤ 8 s", "process",
        (f"{WAITS}[starved]",)),
    Row(49, "Out of file descriptors", "RLIMIT_NOFILE; 1,000 reconnects", "0 leaked, ≤ 1 MB more", "process",
        (f"{LIMITS}::test_row_49_a_thousand_reconnects", f"{LIMITS}::test_row_49_no_descriptor_to_be_had"),
        red=(f"{LIMITS}::test_row_49_sees_a_leak",)),
    Row(50, "No thread to be had", "control group", "keeps running", "process",
        (f"{LIMITS}::test_row_50_no_thread_to_be_had",
         "test_supervisor.py::test_a_machine_that_has_no_thread_for_a_replacement_gets_a_new_process")),
    Row(51, "SIGKILL", "kill -9 under a booted systemd, in namespaces", "READY ≤ 6 s, as muted as before", "process",
        ("package/test_boot.py::test_row_51_it_is_killed",),
        red=("package/test_boot.py::test_it_gets_ready_and_says_what_it_does",)),
    Row(52, "SIGTERM at any moment", "50 signals in eight states; as both servers die", "≤ 2 s", "process",
        ("faults/test_stop.py::test_row_52_sigterm_at_any_moment",
         "faults/test_stop.py::test_sigterm_while_the_sound_server_and_the_server_die",
         "audio/test_device_process.py::test_a_signal_ends_a_talk_at_once")),
    Row(53, "SIGTERM while all hangs", "four threads that stand still", "named, ≤ 6 s", "process",
        (f"{WAITS}[all_hang]", "test_supervisor.py::test_a_survivor_of_the_stop_is_named",)),
    Row(54, "A thread dies", "exception in a worker, from a tool", "replaced ≤ 1 s", "process",
        ("faults/test_workers.py::test_row_54_a_thread_dies",
         "test_supervisor.py::test_a_failed_worker_is_replaced_and_gets_its_orders_again",
         "test_device.py::test_a_failed_link_ends_its_connection_and_the_next_one_connects")),
    Row(55, "A thread hangs", "worker that stands still, by a tool", "replaced ≤ 3 s, or restart ≤ 14 s", "process",
        ("faults/test_workers.py::test_row_55_a_thread_hangs",
         "test_supervisor.py::test_a_stuck_worker_is_aborted_then_replaced",
         "test_supervisor.py::test_a_worker_that_fails_too_often_ends_the_process")),
    Row(56, "The process is stopped", "SIGSTOP", "no ping any more", "process",
        (f"{WAITS}[stopped]",)),
    Row(57, "C code holds the interpreter", "tool that sleeps in C with the GIL", "stacks and end ≤ 10.1 s", "process",
        (f"{WAITS}[greedy]",)),
    Row(58, "Three times the load", "six busy processes on two cores", "no disconnect", "process",
        (f"{LIMITS}::test_row_58_three_times_the_load",)),
    Row(59, "Tool never returns", "tool that sleeps", "answered after 5 s", "process",
        ("audio/test_device_tools.py::test_tools_answer_fail_and_hang",)),
    Row(60, "Tool raises, returns 10 MB", "tools", "one result, cut", "process",
        (CALLS, "test_tools_runner.py::test_what_goes_wrong_is_an_error_result",
         "test_tools_runner.py::test_a_result_of_10_mb_is_cut")),
    Row(61, "Unknown tool, hostile parameters", "calls", "0 executions", "process",
        (CALLS, "test_tools_registry.py::test_bad_arguments_are_refused_by_name",
         "test_device.py::test_a_tool_call_without_tools_is_answered")),
    Row(62, "A thousand calls a second", "calls", "10 a minute run", "process",
        ("faults/test_hostile_agent.py::test_row_62_a_thousand_calls_at_once",
         "test_tools_runner.py::test_a_thousand_calls_a_second_run_ten",)),
    Row(63, "A call comes twice", "calls", "once", "process",
        (CALLS, "test_tools_runner.py::test_a_repeated_id_runs_once",)),
    Row(64, "Configuration missing or wrong", "files", "one line, exit 78", "process",
        ("test_bad_input.py::test_run_refuses_in_one_line",
         "test_config_errors.py::test_a_mistake_in_a_file_is_one_line"), red=SOUND_FILES),
    Row(65, "Key unreadable or open to others", "file modes", "refused with the remedy", "process",
        ("test_bad_input.py::test_an_unreadable_file_and_an_open_key_name_themselves",)),
    Row(66, "Control socket under attack (there is no status page)",
        "a stranger, 1 MB lines, nonsense, 100 clients, a deaf and a slow one", "all refused, audio whole", "process",
        ("faults/test_control_socket.py::test_row_66_the_control_socket_under_attack",),
        red=("faults/test_control_socket.py::test_row_66_hears_a_hole",)),
    Row(67, "Secrets in logs", "canaries at level debug", "0 in log, stacks, dump, status, state", "process",
        ("faults/test_hostile_agent.py::test_row_67_no_secret_leaves_the_program",
         "test_signed_url.py::test_no_secret_appears_in_any_event_or_failure",
         "test_link_record.py::test_a_conversation_leaves_lines_and_no_contents",
         "test_flight.py::test_no_words_leave_the_memory"),
        red=("faults/test_hostile_agent.py::test_row_67_finds_what_is_allowed",)),
    Row(68, "Soak with random faults", "`script/soak 60`", "all recovered, nothing grows", "process",
        ("faults/soak.py",),
        red=("test_soak.py::test_whatever_grows_is_wrong", "test_soak.py::test_what_was_not_recovered_from_is_wrong")),
)  # fmt: skip


def missing_proofs() -> list[str]:
    """Proofs that are named and do not exist."""
    return [proof for row in ROWS for proof in row.proofs if not _exists(proof)]


def _names(tests: Sequence[str]) -> str:
    return "<br>".join(f"`{test.rpartition('/')[2]}`" for test in tests) or "–"


def _exists(proof: str) -> bool:
    return bool(_text(proof))


def _text(proof: str) -> str:
    """The test's own lines; of a case of many, those of all."""
    file, _, name = proof.partition("::")
    path = TESTS / file
    if not path.is_file():
        return ""
    text = path.read_text()
    if not name:
        return text
    _, found, rest = text.partition(f"def {name.partition('[')[0]}(")
    return found and rest.partition("\n\n\n")[0]


def sabotages(row: Row) -> list[str]:
    """What turns a row red: the tests that say so."""
    waits = [test.replace(WAITS, CAN_BE_RED) for test in row.proofs if test.startswith(WAITS)]
    return [test for test in (*row.proofs, *row.red, *waits) if "abotage" in _text(test)]


def text() -> str:
    """docs/faults.md."""
    measured = json.loads((HERE / "measured.json").read_text())
    kinds = Counter(row.kind for row in ROWS)
    lines = [
        "# Faults, and what becomes of them",
        "",
        "Generated by `python tests/faults/table.py`; `tests/faults` measures (`SAVE_FIGURES=1`), `script/test --all` "
        "runs it. *process*: the started program, driven from outside, judged by a witness outside of it. *part*: real "
        "sockets, files or threads within a test. *fake*: injected through a constructor argument, or told to the pure "
        "core. *open*: no proof yet.",
        "",
        ", ".join(f"{kinds[kind]} {kind}" for kind in KINDS)
        + f" of {len(ROWS)}. Figures are of x86-64, two shared cores.",
        "",
        "| # | fault | injection | kind | bound | measured | proof | turned red by |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in ROWS:
        kind = f"fake: {row.why}" if row.kind == "fake" else row.kind
        proofs, red = _names(row.proofs), _names(sabotages(row))
        what = measured.get(str(row.number), "–" if row.kind == "open" else "its test passes")
        lines.append(
            f"| {row.number} | {row.fault} | {row.injection} | {kind} | {row.bound} | {what} | {proofs} | {red} |"
        )
    return "\n".join([*lines, "", *_soak()]) + "\n"


# Of the rows that users care about most, what is known of the official SDK. Its link and its stop were measured with
# fake cards on loopback (2.78.0); what it does not try at all was read in its source.
TOP = {
    1: "never: it does not reconnect",
    3: "50.5 s, or not within 75 s, by the version of its WebSocket library",
    4: "not within 130 s",
    5: "–",
    19: "never: it does not reconnect",
    26: "1 of 10 single messages survived",
    49: "never: it does not reconnect",
    51: "– (it is no service)",
    52: "421 ms while talking",
    55: "– (nobody watches its threads)",
}


def top() -> str:
    """The README's table of recoveries."""
    measured = json.loads((HERE / "measured.json").read_text())
    lines = ["| | official SDK | this program | bound |", "|---|---|---|---|"]
    for row in ROWS:
        if row.number in TOP:
            lines.append(f"| {row.fault} | {TOP[row.number]} | {measured[str(row.number)]} | {row.bound} |")
    return "\n".join(lines) + "\n"


def published(readme: str) -> str:
    """What the README says between its markers. Raises ValueError where there are none."""
    _, found, rest = readme.partition(START)
    inside, closed, _ = rest.partition(END)
    if not found or not closed:
        raise ValueError(f"no {START.strip()} … {END}")
    return inside


def publish() -> None:
    """Put the table between the README's markers, and the other into docs/faults.md."""
    text_before = README.read_text()
    README.write_text(text_before.replace(published(text_before), top()))
    (README.parent / "docs/faults.md").write_text(text())


def _soak() -> list[str]:
    file = HERE / "soak.json"
    if not file.exists():
        return []
    found = json.loads(file.read_text())
    before, after = found["rss_mb"]
    lines = [
        "## The last long soak",
        "",
        f"{found['minutes']:.0f} minutes, {found['faults']} faults, {sum(found['failed'].values())} not recovered "
        f"from. RSS {before} MB after a third, {after} MB at the end; {found['descriptors']} descriptors and "
        f"{found['threads']} threads. Longest pause between two pings of the watchdog: "
        f"{found['longest_silence_of_the_watchdog_s']} s (it bites at 10 s). "
        + ("Nothing was wrong." if not found["wrong"] else f"Wrong: {'; '.join(found['wrong'])}."),
        "",
        "| fault | times | median | worst |",
        "|---|---|---|---|",
    ]
    for name, one in found["recovered"].items():
        lines.append(f"| {name} | {one['times']} | {one['median_s']} s | {one['worst_s']} s |")
    return [*lines, ""]


if __name__ == "__main__":
    publish()
