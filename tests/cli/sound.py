#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Sound files that sox and espeak-ng make arrive through examples/sound.c bit for bit, at each size
of the buffer, and underruns are reported.

Usage: sound.py EXAMPLE_SOUND [unittest's arguments]
"""
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest
import wave

EXAMPLE = os.path.abspath(sys.argv.pop(1))
LINE = re.compile(r" *([0-9.]+) ms +([0-9]+) +([0-9.]+) ms +whole")


def lacks(program):
    return unittest.skipUnless(shutil.which(program), f"{program} is not installed")


class SoundTest(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.TemporaryDirectory(prefix="quire-sound-")
        self.path = os.path.join(self.directory.name, "sound.wav")
        self.heard = os.path.join(self.directory.name, "heard.raw")

    def tearDown(self):
        self.directory.cleanup()

    def play(self):
        result = subprocess.run([EXAMPLE, self.path, self.heard], capture_output=True, text=True,
                                check=False, timeout=300)
        self.assertEqual((result.returncode, result.stderr), (0, ""), result.stdout)
        lines = [LINE.fullmatch(line) for line in result.stdout.splitlines()[2:]]
        self.assertEqual(len(lines), 5, result.stdout)
        self.assertTrue(all(lines), result.stdout)
        with wave.open(self.path) as file:
            samples = file.readframes(file.getnframes())
        self.assertGreater(len(samples), 10000)
        with open(self.heard, "rb") as file:
            self.assertEqual(file.read(), samples)
        return [(float(line[1]), int(line[2]), float(line[3])) for line in lines]

    @lacks("sox")
    def test_stereo(self):
        subprocess.run(["sox", "-R", "-n", "-r", "44100", "-c", "2", "-b", "16", self.path,
                        "synth", "0.4", "sine", "300-3300"], check=True)
        sizes, underruns, silence = zip(*self.play())
        self.assertEqual(sizes, (5.0, 10.0, 20.0, 40.0, 80.0))
        # The client is late by 12 ms, on purpose, eight times: 5 ms can't bear that.
        self.assertGreater(underruns[0], 0)
        for count, missing in zip(underruns, silence):
            self.assertEqual(count > 0, missing > 0)

    @lacks("espeak-ng")
    def test_speech(self):
        subprocess.run(["espeak-ng", "-s", "300", "-w", self.path, "quire"], check=True)
        self.play()

    def test_no_sound(self):
        with open(self.path, "wb") as file:
            file.write(b"RIFF....WAVEdata\xff\xff\xff\xff")
        result = subprocess.run([EXAMPLE, self.path], capture_output=True, text=True, check=False)
        self.assertEqual(result.returncode, 1)
        self.assertIn("is no PCM file", result.stderr)


if __name__ == "__main__":
    unittest.main()
