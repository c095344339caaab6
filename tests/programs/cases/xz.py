# SPDX-License-Identifier: Apache-2.0
"""xz -9e and back: the encoder reads and writes its tables all over at random."""
import compression_data


def test(case):
    xz = case.need("xz")
    source = case.file("data")
    compression_data.write(source, n_bytes=450_000)
    # -9e alone would size its dictionary by the input, so it is said.
    compress = [xz, "-T1", "-k", "-c", "--lzma2=preset=9e,dict=32MiB"]
    plain, _ = case.compare([*compress, source], share=2)
    back = case.plain([xz, "-d", "-c", case.file("data.xz", plain.stdout)])
    case.check(back.stdout == open(source, "rb").read(), "xz's own round trip fails plainly")

    # The decoder holds as much of its dictionary as it has written.
    compression_data.write(source, n_bytes=56 << 20, seed=10)
    packed = case.plain([xz, "-T1", "-k", "-c", "--lzma2=preset=0,dict=64MiB", source])
    case.compare([xz, "-d", "-c", case.file("data.xz", packed.stdout)])
