# SPDX-License-Identifier: Apache-2.0
"""zstd with large windows, and back."""
import compression_data


def test(case):
    zstd = case.need("zstd")
    source = case.file("data")
    compression_data.write(source, n_bytes=1_000_000)
    # From standard input, so that the window is not made as small as the file.
    case.compare([zstd, "-17", "--long=27", "-T1", "-q", "-c"], stdin=source, share=2)

    compression_data.write(source, n_bytes=64 << 20, seed=10)
    plain, run = case.compare([zstd, "-1", "--long=26", "-T1", "-q", "-c"], stdin=source,
                              share=2)
    packed = case.file("data.zst", plain.stdout * 3)  # frames can be joined
    _, back = case.compare([zstd, "-d", "--long=26", "-q", "-c"], stdin=packed)
    case.check(back.stdout == open(source, "rb").read() * 3, "the round trip gives something else")
