#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`quire layout` as a user meets it: figures, JSON, networks, refusals.

Usage: layout.py QUIRE [unittest's arguments]
"""
import json
import os
import re
import struct
import subprocess
import sys
import tempfile
import unittest

QUIRE = os.path.abspath(sys.argv.pop(1))
PATIENCE_SECONDS = 300
LINE, PAGE = 64, 4096


def call(*arguments):
    return subprocess.run([QUIRE, "layout", *arguments], capture_output=True, text=True,
                          stdin=subprocess.DEVNULL, timeout=PATIENCE_SECONDS, check=False)


def answer(*arguments):
    result = call(*arguments, "--json")
    assert result.returncode == 0 and result.stderr == "", result.stderr
    return json.loads(result.stdout)


class Conversion(unittest.TestCase):
    def test_in_words(self):
        result = call("--shape", "1x20x8x8", "--from", "nchw", "--to", "nchw16c")
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        self.assertTrue(result.stdout.startswith(
            "shape      1x20x8x8 f32, 5.0 KiB\n"
            "from       nchw, 5.0 KiB\n"
            "to         nchw16c, 8.0 KiB, of which 3.0 KiB are tails: zeros\n"
            "in place   with 4.0 KiB beside it\n"), result.stdout)
        self.assertIn("tile by tile", result.stdout)
        self.assertNotIn("memcpy", result.stdout)

    def test_the_model_counts_what_there_is(self):
        """What is touched, counted here by the formulas of the layouts."""
        n, c, h, w = shape = (2, 40, 12, 20)
        places = {"nchw": lambda i, k, y, x: ((i * c + k) * h + y) * w + x,
                  "nhwc": lambda i, k, y, x: ((i * h + y) * w + x) * c + k,
                  "nchw8c": lambda i, k, y, x: (((i * (c // 8) + k // 8) * h + y) * w + x) * 8 + k % 8}
        n_bytes = 2 * n * c * h * w
        for start, end in (("nchw", "nhwc"), ("nhwc", "nchw8c"), ("nchw8c", "nchw")):
            found = answer("--shape", "x".join(map(str, shape)), "--type", "f16", "--from", start,
                           "--to", end)
            self.assertEqual(found["shape"], list(shape))
            self.assertEqual((found["from"]["bytes"], found["to"]["bytes"]), (n_bytes, n_bytes))
            for walk in ("tiles", "elements"):
                counts = found["model"][walk]
                self.assertEqual(counts["lines"], 2 * n_bytes // LINE)
                self.assertEqual(counts["pages"], 2 * -(-n_bytes // PAGE))
                self.assertGreaterEqual(counts["fetched_lines"], counts["lines"])
                self.assertGreaterEqual(counts["page_table_walks"], counts["pages"])
            for side in ("from", "to"):
                place = places[found[side]["layout"]]
                pixel = {2 * place(0, k, h // 2, w // 2) for k in range(c)}
                window = {2 * place(0, k, h // 2 + dy, w // 2 + dx) for k in range(c)
                          for dy in (-1, 0, 1) for dx in (-1, 0, 1)}
                for name, touched in (("pixel", pixel), ("pixels_3x3", window)):
                    self.assertEqual(found[side][name],
                                     {"lines": len({at // LINE for at in touched}),
                                      "pages": len({at // PAGE for at in touched})})

    def test_tiles_fetch_each_line_once(self):
        """Element by element, the columns of a tall matrix evict each other."""
        model = answer("--shape", "1x256x64x64", "--from", "nhwc", "--to", "nchw")["model"]
        self.assertLess(model["tiles"]["fetched_lines"], 1.2 * model["tiles"]["lines"])
        self.assertGreater(model["elements"]["fetched_lines"], 4 * model["elements"]["lines"])

    def test_bench(self):
        bench = answer("--shape", "1x64x28x28", "--from", "nchw", "--to", "nchw16c", "--bench")["bench"]
        self.assertEqual(bench["moved_bytes"], 2 * 4 * 64 * 28 * 28)
        self.assertAlmostEqual(bench["gigabytes_per_second"],
                               bench["moved_bytes"] / bench["seconds"] / 1e9, 3)
        self.assertGreater(bench["memcpy_gigabytes_per_second"], 0)
        self.assertAlmostEqual(bench["share_of_memcpy"] * bench["memcpy_gigabytes_per_second"],
                               bench["gigabytes_per_second"], 3)
        result = call("--shape", "1x64x28x28", "--from", "nchw", "--to", "nchw16c", "--bench",
                      "--isa", "portable")
        self.assertRegex(result.stdout, r"moved +392\.0 KiB .* GB/s \(portable\)\n"
                                        r"memcpy .*GB/s: the conversion has \d+% of it")

    def test_weights(self):
        found = answer("--shape", "20x20x3x3", "--from", "oihw", "--to", "OIhw16i16o")
        self.assertEqual(found["to"]["bytes"], 4 * 32 * 32 * 9)
        self.assertEqual(found["to"]["tail_bytes"], 4 * (32 * 32 - 20 * 20) * 9)
        self.assertNotIn("pixel", found["to"])


class Refusals(unittest.TestCase):
    def refused(self, words, *arguments):
        result = call(*arguments)
        self.assertEqual((result.returncode, result.stdout), (125, ""), arguments)
        self.assertIn(words, result.stderr)

    def test_command_lines(self):
        self.refused("give its shape: --shape 1x64x56x56")
        self.refused("give --from and --to", "--shape", "1x2x3x4", "--to", "nchw")
        for shape in ("", "x", "1x", "1xx2", "0x3", "1x-3", "1,2", "1x2x3x4x5x6x7", "1.5x2",
                      "99999999999999999999x1"):
            self.refused("--shape:", "--shape", shape, "--from", "nchw", "--to", "nhwc")
        self.refused("'nhw' is no layout of 4 dimensions\n       names are such as nchw",
                     "--shape", "1x2x3x4", "--from", "nchw", "--to", "nhw")
        self.refused("'c' is no layout of 1 dimension\n", "--shape", "4", "--from", "c", "--to", "c")
        self.refused("with blocks of 256 at most", "--shape", "1x2x3x4", "--from", "nchw", "--to",
                     "nchw512c")
        self.refused("'nchw' is no layout of 3 dimensions", "--shape", "1x2x3", "--from", "nchw",
                     "--to", "nhwc")
        self.refused("one is of data, the other of weights", "--shape", "1x2x3x4", "--from", "nchw",
                     "--to", "oihw")
        self.refused("a tensor has 128 TiB at most", "--shape", "10000000x10000000x4x5", "--from",
                     "nchw", "--to", "nhwc")
        self.refused("there is no type 'f64'", "--type", "f64")
        self.refused("none of portable", "--isa", "sse9")
        self.refused("everything is said by options", "model.onnx")
        self.refused("give a smaller --shape, or leave --bench out", "--shape", "1000x1000x1000x20",
                     "--from", "nchw", "--to", "nhwc", "--bench")

    def test_networks(self):
        self.refused("without --from and --to", "--network", "x.onnx", "--from", "nchw")
        for option in (("--bench",), ("--type", "i8"), ("--isa", "portable")):
            self.refused("without --type, --bench and --isa", "--network", "x.onnx", *option)
        self.refused("is an input's, of --network", "--shape", "x=1x3x8x8")
        self.refused("/nonexistent.onnx", "--network", "/nonexistent.onnx")


# A model, as protobuf lays it down: https://protobuf.dev/programming-guides/encoding

def varint(number):
    out = b""
    while number > 127:
        out += bytes([number & 127 | 128])
        number >>= 7
    return out + bytes([number])


def field(number, value):
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    value = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(value)) + value


def node(kind, inputs, *outputs, **attributes):
    text = b"".join(field(1, name) for name in inputs) + b"".join(field(2, name) for name in outputs)
    text += field(3, outputs[0])
    text += field(4, kind)
    for name, values in attributes.items():
        if isinstance(values, int):
            text += field(5, field(1, name) + field(3, values) + field(20, 2))
        else:
            text += field(5, field(1, name) + b"".join(field(8, v) for v in values) + field(20, 7))
    return field(1, text)


FLOAT, FLOAT16 = 1, 10  # elements, as ONNX numbers them


def value(name, shape, element=FLOAT):
    dims = b"".join(field(1, field(1, dim)) for dim in shape)
    return field(1, name) + field(2, field(1, field(1, element) + field(2, dims)))


def weights(name, shape):
    n = 1
    for dim in shape:
        n *= dim
    return field(5, b"".join(field(1, dim) for dim in shape) + field(2, 1) + field(8, name) +
                 field(9, struct.pack("<f", 0.5) * n))


def numbers(name, values):
    return field(5, field(1, len(values)) + field(2, 7) + field(8, name) +
                 field(9, struct.pack(f"<{len(values)}q", *values)))


def onnx(graph, inputs, outputs):
    """A model of nodes and weights; the shapes of what goes in and comes out."""
    graph += field(2, "graph")
    graph += b"".join(field(11, value(name, shape)) for name, shape in inputs.items())
    graph += b"".join(field(12, value(name, shape)) for name, shape in outputs.items())
    return field(1, 8) + field(7, graph) + field(8, field(2, 13))


def residual_block(channels, side, element=FLOAT):
    """conv, ReLU, conv, and the input added; then a transposition, which wants its input as it is."""
    same = [1, 1, 1, 1]
    graph = node("Conv", ["x", "w0"], "a", pads=same) + node("Relu", ["a"], "b")
    graph += node("Conv", ["b", "w1"], "c", pads=same) + node("Add", ["c", "x"], "d")
    graph += node("Transpose", ["d"], "e")
    graph += field(2, "block") + weights("w0", [channels, channels, 3, 3])
    graph += weights("w1", [channels, channels, 3, 3])
    shape = [1, channels, side, side]
    graph += field(11, value("x", shape, element)) + field(12, value("e", shape[::-1], element))
    graph += b"".join(field(13, value(name, shape, element)) for name in "abcd")
    return field(1, 8) + field(7, graph) + field(8, field(2, 13))


class Network(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory(prefix="quire-layout-")
        self.addCleanup(directory.cleanup)
        self.path = os.path.join(directory.name, "block.onnx")
        with open(self.path, "wb") as file:
            file.write(residual_block(64, 28))

    def test_the_steps_fit_each_other(self):
        found = answer("--network", self.path)
        names = [step["name"] for step in found["steps"]]
        self.assertEqual(names, ["a", "b", "c", "d", "e"])
        inputs = {"a": ["x"], "b": ["a"], "c": ["b"], "d": ["c", "x"], "e": ["d"]}
        there = {"x": {"nchw"}}
        moves = list(found["moves"])
        for number, step in enumerate(found["steps"]):
            while moves and moves[0]["before_step"] == number:
                move = moves.pop(0)
                self.assertIn(move["from"], there[move["tensor"]])
                there[move["tensor"]].add(move["to"])
            for tensor in inputs[step["name"]]:
                self.assertIn(step["reads"], there[tensor])
            there[step["name"]] = {step["writes"]}
            if step["operator"] != "Conv":
                self.assertEqual(step["reads"], step["writes"])
        for move in moves:
            there[move["tensor"]].add(move["to"])
        self.assertEqual((found["steps"][4]["reads"], found["plain_layout"]), ("nchw", "nchw"))
        self.assertIn("nchw", there["e"])
        self.assertTrue(found["shortest"])

    def test_the_sums_are_right(self):
        found = answer("--network", self.path)
        best, plain = found["best"], found["plain"]
        for path, key in ((best, "seconds"), (plain, "plain_seconds")):
            kernels = sum(step[key] for step in found["steps"])
            self.assertAlmostEqual(kernels, path["kernel_seconds"], 9)
            self.assertAlmostEqual(path["kernel_seconds"] + path["conversion_seconds"],
                                   path["seconds"], 9)
        self.assertAlmostEqual(sum(move["seconds"] for move in found["moves"]),
                               best["conversion_seconds"], 9)
        self.assertEqual((plain["conversions"], best["conversions"]), (0, len(found["moves"])))
        self.assertLessEqual(best["seconds"], plain["seconds"] * (1 + 1e-9))
        self.assertGreaterEqual(plain["arena_peak_bytes"], 3 * 4 * 64 * 28 * 28)

    def test_conversions_are_of_the_tensors_type(self):
        found = answer("--network", self.path)
        self.assertEqual((found["kernel_type"], found["conversion_types"]), ("f32", ["f32"]))
        with open(self.path, "wb") as file:
            file.write(residual_block(64, 28, FLOAT16))
        half = answer("--network", self.path)
        self.assertEqual((half["kernel_type"], half["conversion_types"]), ("f32", ["f16"]))
        self.assertEqual({move["type"] for move in half["moves"]} - {"f16"}, set())
        # five tensors of 64 x 28 x 28; the arena has the same of them, of half the size
        self.assertLess(half["plain"]["arena_peak_bytes"], found["plain"]["arena_peak_bytes"])

    def write(self, model):
        with open(self.path, "wb") as file:
            file.write(model)

    def steps(self):
        return {step["name"]: step for step in answer("--network", self.path)["steps"]}

    def test_windows_are_the_models_own(self):
        """Sizes alone don't tell a dilated window from a plain one, which Winograd's would do."""
        graph = weights("w", [64, 64, 3, 3])
        graph += node("Conv", ["x", "w"], "a", pads=[2, 2, 2, 2], dilations=[2, 2])
        graph += node("Conv", ["a", "w"], "b", pads=[1, 1, 1, 1], strides=[2, 2])
        graph += node("Relu", ["b"], "c")
        self.write(onnx(graph, {"x": [1, 64, 28, 28]}, {"c": [1, 64, 14, 14]}))
        steps = self.steps()
        self.assertEqual((steps["a"]["algorithm"], steps["b"]["algorithm"]), ("direct", "direct"))
        self.assertNotIn("algorithm", steps["c"])

    def choices(self, rest, channels):
        """Of what follows a convolution of 3x3, without padding."""
        graph = weights("w", [channels, 64, 3, 3]) + node("Conv", ["x", "w"], "a") + rest
        self.write(onnx(graph, {"x": [1, 64, 28, 28]}, {"y": [1]}))
        found = answer("--network", self.path)
        steps = {step["name"]: step for step in found["steps"]}
        text = call("--network", self.path).stdout
        return steps, int(re.search(r"1 convolution and (\d+) others", text)[1])

    def test_padding_goes_along(self):
        """Rows and columns are padded in any layout; where channels are, it is the model's."""
        pads = {"rows": [0, 0, 1, 1, 0, 0, 1, 1], "channels": [0, 1, 0, 0, 0, 0, 0, 0]}
        for name, its in pads.items():
            graph = numbers("pads", its) + node("Pad", ["a", "pads"], "y")
            self.assertEqual(self.choices(graph, 64)[1], name == "rows", name)

    def test_pieces_go_along(self):
        """In the blocked layout only where they are made of whole blocks."""
        for channels in (64, 20):
            graph = node("Concat", ["a", "a"], "b", axis=1) + node("Relu", ["b"], "y")
            steps, n_others = self.choices(graph, channels)
            self.assertEqual(n_others, 2)
            if channels == 20:
                self.assertIn(steps["b"]["reads"], ("nchw", "nhwc"))
            graph = node("Split", ["a"], "b", "y", axis=1)
            self.assertEqual(self.choices(graph, channels)[1], 1)

    def test_no_choice(self):
        self.write(onnx(node("Relu", ["x"], "y"), {"x": [1, 64]}, {"y": [1, 64]}))
        result = call("--network", self.path)
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        self.assertIn("\nnothing here is worth a conversion: no operator has a choice\n", result.stdout)
        self.assertNotIn("reads", result.stdout)

    def test_in_words(self):
        result = call("--network", self.path)
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        self.assertIn("5 operators: 2 convolutions and 2 others have a choice", result.stdout)
        self.assertRegex(result.stdout, r"(?m)^measured +\d+ kernels of f32 and \d+ conversions of f32 on")
        self.assertRegex(result.stdout, r"(?m)^best +[\d.e-]+ ms, of which .* conversions: .* of plain")
        self.assertRegex(result.stdout, r"(?m)^arena +[\d.]+ [KM]iB with nchw, [\d.]+ [KM]iB now$")


if __name__ == "__main__":
    unittest.main()
