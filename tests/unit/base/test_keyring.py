from __future__ import annotations

import base64
import os
import stat
import subprocess
import sys

import pytest

from fhir_bridge.errors import BadSetting
from fhir_bridge.keyring import KEY_FILE, KeyRing
from fhir_bridge.settings import Settings

FIRST_TO_ASK = """
import sys
from pathlib import Path
from fhir_bridge.keyring import KeyRing
from fhir_bridge.settings import Settings
ready, data = Path(sys.argv[1]), Path(sys.argv[2])
print("here", flush=True)
sys.stdin.readline()
print(KeyRing.open(Settings(data_dir=data)).wrap(b"a secret", about="a race"))
"""


@pytest.fixture
def ring(tmp_path):
    return KeyRing.open(Settings(data_dir=tmp_path))


def test_what_was_wrapped_comes_back_for_the_same_purpose(ring):
    assert ring.unwrap(ring.wrap(b"a secret", about="audio of tenant a"), about="audio of tenant a") == b"a secret"


def test_the_wrapped_value_shows_nothing_and_never_repeats(ring):
    first, second = (ring.wrap(b"a secret", about="x") for _ in range(2))

    assert first != second
    assert b"a secret" not in base64.b64decode(first)


def test_a_value_for_another_purpose_does_not_open(ring):
    with pytest.raises(BadSetting) as refused:
        ring.unwrap(ring.wrap(b"a secret", about="tenant a"), about="tenant b")

    assert refused.value.at == "FHIR_BRIDGE_SECRET_KEY"


def test_no_altered_value_opens(ring):
    raw = base64.b64decode(ring.wrap(b"a secret", about="x"))

    for place in range(len(raw)):
        altered = bytes(byte ^ (index == place) for index, byte in enumerate(raw))
        with pytest.raises(BadSetting):
            ring.unwrap(base64.b64encode(altered).decode(), about="x")


@pytest.mark.parametrize("wrapped", ["", "AAAA", "not base64 at all", "é"])
def test_what_was_never_wrapped_does_not_open(ring, wrapped):
    with pytest.raises(BadSetting):
        ring.unwrap(wrapped, about="x")


def test_a_key_of_the_settings_opens_in_every_process_and_makes_no_file(tmp_path):
    wrapped = KeyRing.open(Settings(data_dir=tmp_path, secret_key="k1")).wrap(b"a secret", about="x")

    assert KeyRing.open(Settings(data_dir=tmp_path, secret_key="k1")).unwrap(wrapped, about="x") == b"a secret"
    assert list(tmp_path.iterdir()) == []


def test_another_key_does_not_open_and_the_error_names_the_setting_not_the_key(tmp_path):
    wrapped = KeyRing.open(Settings(data_dir=tmp_path, secret_key="k1")).wrap(b"a secret", about="x")

    with pytest.raises(BadSetting, match="FHIR_BRIDGE_SECRET_KEY") as refused:
        KeyRing.open(Settings(data_dir=tmp_path, secret_key="k2")).unwrap(wrapped, about="x")

    assert "k2" not in refused.value.text


def test_the_key_file_is_its_owners_alone_and_is_used_again(tmp_path):
    before = os.umask(0)
    try:
        wrapped = KeyRing.open(Settings(data_dir=tmp_path / "new")).wrap(b"a secret", about="x")
    finally:
        os.umask(before)
    made = tmp_path / "new" / KEY_FILE

    assert stat.S_IMODE(made.stat().st_mode) == 0o600
    assert list(made.parent.iterdir()) == [made]
    assert KeyRing.open(Settings(data_dir=tmp_path / "new")).unwrap(wrapped, about="x") == b"a secret"


def test_processes_that_make_the_key_file_at_once_agree_on_one_key(tmp_path):
    data = tmp_path / "data"
    racers = [
        subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-c", FIRST_TO_ASK, tmp_path, data],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    for racer in racers:
        assert racer.stdout.readline() == "here\n"
    for racer in racers:
        racer.stdin.write("go\n")
        racer.stdin.flush()
    wrapped = [racer.communicate(timeout=60)[0].strip() for racer in racers]

    ring = KeyRing.open(Settings(data_dir=data))
    assert {ring.unwrap(each, about="a race") for each in wrapped} == {b"a secret"}
    assert [each.name for each in data.iterdir()] == [KEY_FILE]


def test_a_data_directory_that_cannot_be_written_is_a_setting_at_fault(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")

    with pytest.raises(BadSetting) as refused:
        KeyRing.open(Settings(data_dir=blocked))

    assert refused.value.at == "FHIR_BRIDGE_DATA_DIR"


def test_a_key_file_that_lost_its_content_is_refused(tmp_path):
    KeyRing.open(Settings(data_dir=tmp_path))
    (tmp_path / KEY_FILE).write_text("")

    with pytest.raises(BadSetting, match=KEY_FILE):
        KeyRing.open(Settings(data_dir=tmp_path))
