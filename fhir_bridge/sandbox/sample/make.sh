#!/bin/sh
# Speaks consultation.txt with two voices of flite and writes consultation.ogg. Needs flite, sox and ffmpeg.
#
# Licence: the text was written for this repository (Apache-2.0). The voices rms and slt are Carnegie Mellon
# University's, distributed with flite under its BSD-style licence, which leaves the spoken output free.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

number=100
while IFS= read -r line; do
    text=${line#*: }
    case ${line%%:*} in
        doctor) voice=rms stretch=1.05 ;;
        *) voice=slt stretch=1.1 ;;
    esac
    flite -voice "$voice" --setf duration_stretch="$stretch" -t "$text" -o "$work/said.wav"
    sox "$work/said.wav" -r 16000 -c 1 "$work/$number.wav" gain -n -3 pad 0 0.6
    number=$((number + 1))
done < "$here/consultation.txt"

sox "$work"/[0-9]*.wav "$work/all.wav" pad 0.4 0.6
ffmpeg -y -loglevel error -i "$work/all.wav" -map_metadata -1 -fflags +bitexact -flags:a +bitexact \
    -c:a libopus -b:a 48k "$here/consultation.ogg"
