"""Layouts: what headers claim, held against the file."""

from __future__ import annotations

import io
import os

import pytest
from audio_recordings import made, pcm
from hypothesis import given
from hypothesis import strategies as st

from fhir_bridge.audio import inspect
from fhir_bridge.audio.layout import Patched, layout_of


@given(
    st.binary(min_size=1, max_size=200),
    st.dictionaries(st.integers(0, 220), st.binary(min_size=1, max_size=8), max_size=2),
    st.lists(st.tuples(st.integers(0, 220), st.integers(1, 50)), max_size=8),
)
def test_corrections_are_in_place_however_a_file_is_read(content, fixes, reads):
    corrected = bytearray(content)
    for place, fix in fixes.items():
        kept = fix[: max(0, len(content) - place)]
        corrected[place : place + len(kept)] = kept
    file = Patched(io.BytesIO(content), fixes)

    assert file.read(1000) == corrected
    for start, size in reads:
        assert file.seek(start) == file.tell() == start
        assert file.read(size) == corrected[start : start + size]
    assert file.seek(0, os.SEEK_END) == len(content)


def test_a_wav_of_ten_thousand_chunks_is_taken_as_it_says():
    wav = made("wav")
    audio = wav[:12] + b"junk\0\0\0\0" * 10_001 + wav[12:]

    assert layout_of(io.BytesIO(audio)).fixes == {}
    assert inspect(io.BytesIO(audio)).seconds == 5.0


def test_an_m4a_whose_index_is_not_found_soon_counts_as_index_last():
    m4a = made("m4a")
    audio = m4a[:28] + b"\0\0\0\x08free" * 10_001 + m4a[28:]

    assert not layout_of(io.BytesIO(audio)).index_first


@pytest.mark.parametrize("box", [b"\0\0\0\0free", b"\0\0\0\x07free", b"\0\0\0\x01free" + bytes(8), b"\0\0"])
def test_boxes_that_lead_nowhere_end_the_search(box):
    assert not layout_of(io.BytesIO(made("m4a")[:28] + box)).index_first


def test_long_boxes_are_stepped_over():
    m4a = made("m4a")
    audio = m4a[:28] + b"\0\0\0\x01free" + (16).to_bytes(8, "big") + m4a[28:]

    assert layout_of(io.BytesIO(audio)).index_first


def test_the_length_of_an_odd_chunk_is_followed_by_its_padding():
    wav = made("wav")
    audio = wav[:12] + b"note\x03\0\0\0abc\0" + wav[12:]

    assert inspect(io.BytesIO(audio)).seconds == 5.0
    assert pcm(5.0) in audio
