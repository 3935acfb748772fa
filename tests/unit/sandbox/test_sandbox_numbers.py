from __future__ import annotations

import io

import av
import numpy as np
import pytest

from fhir_bridge.sandbox import numbers
from fhir_bridge.sandbox.engine import Situation
from fhir_bridge.sandbox.hearing import Hearing


def coded(wav, form, codec, bit_rate):
    """The WAV in another coding, made by PyAV."""
    out = io.BytesIO()
    with av.open(io.BytesIO(wav)) as source, av.open(out, "w", format=form) as target:
        stream = target.add_stream(codec, rate=48_000 if codec == "libopus" else source.streams.audio[0].rate)
        stream.bit_rate = bit_rate
        for frame in source.decode(audio=0):
            target.mux(stream.encode(frame))
        target.mux(stream.encode(None))
    return out.getvalue()


def heard(payload, size=4001, *, multichannel=False):
    hearing = Hearing(numbers.NumbersEngine(), None, Situation(), multichannel=multichannel)
    said = [one for at in range(0, len(payload), size) for one in hearing.feed(payload[at : at + size])]
    said += hearing.finish()
    hearing.close()
    return said


def told(said, channel=0):
    return [int(word) for one in said if one.channel == channel for word in one.text.split()]


def test_numbers_that_are_said_apart_are_heard_with_the_times_between_them():
    said = heard(numbers.make_wav(8, pause=1.0))

    assert told(said) == list(range(8))
    assert [one.start for one in said] == pytest.approx([0.0, 5.0], abs=0.02)


def test_numbers_are_heard_in_order_with_the_times_of_their_frames():
    said = heard(numbers.make_wav(9, first=1000))

    assert [one.text for one in said] == ["1000 1001 1002 1003", "1004 1005 1006 1007", "1008"]
    assert [round(one.start, 2) for one in said] == [0.0, 1.0, 2.0]
    assert said[0].end == pytest.approx(0.93, abs=0.02)


@pytest.mark.parametrize("rate", [8000, 16000, 22050, 44100, 48000])
def test_any_sample_rate_carries_numbers(rate):
    assert told(heard(numbers.make_wav(20, first=300, rate=rate))) == list(range(300, 320))


@pytest.mark.parametrize(
    ("form", "codec", "bit_rate"),
    [("mp3", "libmp3lame", 48_000), ("webm", "libopus", 24_000), ("ogg", "libopus", 32_000), ("flac", "flac", 0)],
)
def test_numbers_survive_coding(form, codec, bit_rate):
    wav = numbers.make_wav(120, first=7, rate=48_000 if codec == "libopus" else 16_000)

    assert told(heard(coded(wav, form, codec, bit_rate))) == list(range(7, 127))


def test_channels_are_heard_apart():
    said = heard(numbers.make_wav(8, channels=2), multichannel=True)

    assert told(said, 0) == list(range(8))
    assert told(said, 1) == list(range(numbers.CHANNEL_STEP, numbers.CHANNEL_STEP + 8))


def test_a_frame_that_was_cut_is_not_heard_but_all_others_are():
    samples = numbers.samples(50, 10)
    cut = np.concatenate([samples[: 4 * 4000 + 1500], samples[4 * 4000 + 1500 + 2000 :]])
    listener = numbers.NumbersEngine().listen(Situation())

    said = listener.hear(cut[None, :]) + listener.flush()

    assert told(said) == [50, 51, 52, 53, *range(55, 60)]


def test_a_repeated_frame_is_heard_twice():
    twice = np.concatenate([numbers.samples(5, 3), numbers.samples(6, 2)])
    listener = numbers.NumbersEngine().listen(Situation())

    assert told(listener.hear(twice[None, :]) + listener.flush()) == [5, 6, 7, 6, 7]


def test_speech_and_noise_are_not_heard_as_numbers():
    noise = np.random.default_rng(1).normal(0, 3000, 160_000).astype(np.int16)
    listener = numbers.NumbersEngine().listen(Situation())

    assert listener.hear(noise[None, :]) + listener.flush() == []
    assert numbers.number_in(noise[:100]) is None
    assert numbers.number_in(noise[:3000]) is None


def test_every_fortieth_number_is_a_fact_quoted_from_the_words():
    engine = numbers.NumbersEngine()
    facts = engine.facts_in(heard(numbers.make_wav(90)))

    assert [(one.text, one.quote) for one in facts] == [("Number 0", "0"), ("Number 40", "40"), ("Number 80", "80")]


def test_a_number_that_fits_in_no_frame_is_refused():
    with pytest.raises(ValueError, match="65536"):
        numbers.samples(numbers.LIMIT, 1)
    assert len(numbers.samples(0, 0)) == 0
