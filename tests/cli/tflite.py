#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""TFLite models, written here, resized by --shape: what follows from the inputs.

Usage: tflite.py QUIRE [unittest's arguments]. Expected shapes are those that TensorFlow's documentation of
the operators gives. Real models, and all of their shapes inferred again, are in models.py.
"""
import json
import os
import pathlib
import struct
import subprocess
import sys
import tempfile
import unittest

QUIRE = os.path.abspath(sys.argv.pop(1))
PATIENCE_SECONDS = 60
CODES = {
    "ADD": 0, "CONCATENATION": 2, "CONV_2D": 3, "DEPTHWISE_CONV_2D": 4, "DEPTH_TO_SPACE": 5,
    "EMBEDDING_LOOKUP": 7, "FULLY_CONNECTED": 9, "MAX_POOL_2D": 17, "MUL": 18, "RELU": 19, "RESHAPE": 22,
    "RESIZE_BILINEAR": 23, "SPACE_TO_DEPTH": 26, "CUSTOM": 32, "PAD": 34, "GATHER": 36,
    "HASHTABLE_LOOKUP": 10, "LSTM": 16, "RNN": 24, "SVDF": 27, "UNIDIRECTIONAL_SEQUENCE_RNN": 35,
    "UNIDIRECTIONAL_SEQUENCE_LSTM": 44, "BIDIRECTIONAL_SEQUENCE_RNN": 46, "BIDIRECTIONAL_SEQUENCE_LSTM": 52,
    "HASHTABLE_FIND": 137, "BROADCAST_ARGS": 145, "MULTINOMIAL": 149,
    "BATCH_TO_SPACE_ND": 37, "SPACE_TO_BATCH_ND": 38, "TRANSPOSE": 39, "MEAN": 40, "SQUEEZE": 43,
    "STRIDED_SLICE": 45, "TOPK_V2": 48, "SPLIT": 49, "ARG_MAX": 56, "SELECT": 64, "SLICE": 65,
    "TRANSPOSE_CONV": 67, "TILE": 69, "EXPAND_DIMS": 70, "SHAPE": 77, "PACK": 83, "ONE_HOT": 85,
    "UNPACK": 88, "FILL": 94, "SPLIT_V": 102, "WHERE": 109, "MATRIX_DIAG": 113, "IF": 118, "WHILE": 119,
    "SELECT_V2": 123, "BATCH_MATMUL": 126, "BROADCAST_TO": 130, "RFFT2D": 131, "CONV_3D": 132,
}
INT32, FLOAT32 = 2, 0


# FlatBuffers: a table is a dict of fields, a vector a list or bytes.

def pad(out):
    out += bytes(-len(out) % 4)


def write(out, value):
    """Appends a value; where it lies."""
    pad(out)
    if isinstance(value, dict):
        return write_table(out, value)
    if isinstance(value, (bytes, str)):
        data = value.encode() if isinstance(value, str) else value
        out += struct.pack("<I", len(data)) + data + b"\0"
        return len(out) - len(data) - 5
    at = len(out)
    out += struct.pack(f"<I{len(value)}i", len(value), *(v if isinstance(v, int) else 0 for v in value))
    for i, element in enumerate(value):
        if not isinstance(element, int):
            refer(out, at + 4 + 4 * i, element)
    return at


def refer(out, slot, value):
    struct.pack_into("<I", out, slot, write(out, value) - slot)


def write_table(out, fields):
    offsets = [0] * (max(fields, default=-1) + 1)
    for k, index in enumerate(fields):
        offsets[index] = 4 + 4 * k
    vtable = len(out)
    out += struct.pack(f"<HH{len(offsets)}H", 4 + 2 * len(offsets), 4 + 4 * len(fields), *offsets)
    pad(out)
    table = len(out)
    out += struct.pack("<i", table - vtable) + bytes(4 * len(fields))
    for index, value in fields.items():
        slot = table + offsets[index]
        if isinstance(value, int):
            struct.pack_into("<i", out, slot, value)
        else:
            refer(out, slot, value)
    return table


class Graph:
    """A subgraph in the making; tensors are numbers."""

    def __init__(self, model):
        self.model, self.tensors, self.operators, self.inputs, self.outputs = model, [], [], [], []

    def tensor(self, name, shape, kind=FLOAT32, buffer=0):
        """Its sizes are left open but for the stand-ins in `shape`; a constant's are not."""
        self.tensors.append({0: shape, 1: kind, 2: buffer, 3: name})
        if buffer == 0:
            self.tensors[-1][7] = [-1] * len(shape)
        return len(self.tensors) - 1

    def input(self, name, rank):
        self.inputs.append(self.tensor(name, [1] * rank))
        return self.inputs[-1]

    def constant(self, shape, numbers=None):
        """int32 numbers, or zeros."""
        n = 1
        for size in shape:
            n *= size
        self.model.buffers.append({0: struct.pack(f"<{n}i", *numbers) if numbers else bytes(4 * n)})
        return self.tensor(f"constant{len(self.tensors)}", shape, INT32 if numbers else FLOAT32,
                           len(self.model.buffers) - 1)

    def place(self, given):
        """One of those that numbers(), zeros(), variable() and LEFT_OUT give."""
        what, shape, contents = given
        if what == "left out":
            return -1
        if what != "variable":
            return self.constant(shape, contents)
        place = self.tensor(f"variable{len(self.tensors)}", shape)
        self.tensors[place][5] = 1
        del self.tensors[place][7]
        return place

    def run(self, kind, inputs, options=None, n_outputs=1, custom=b""):
        outputs = [self.tensor(f"{kind}{len(self.operators)}_{i}", [1]) for i in range(n_outputs)]
        self.operators.append({0: self.model.code(kind), 1: inputs, 2: outputs, 4: options or {},
                               5: custom})
        return outputs[0] if n_outputs == 1 else outputs

    def table(self):
        return {0: self.tensors, 1: self.inputs, 2: self.outputs, 3: self.operators}


class Model:
    def __init__(self):
        self.codes, self.buffers, self.graphs = [], [{}], []

    def graph(self):
        self.graphs.append(Graph(self))
        return self.graphs[-1]

    def code(self, kind):
        number = CODES.get(kind, CODES["CUSTOM"])
        self.codes.append({0: min(number, 127), 3: number} | ({} if kind in CODES else {1: kind}))
        return len(self.codes) - 1

    def bytes(self):
        out = bytearray(struct.pack("<I4s", 0, b"TFL3"))
        refer(out, 0, {0: 3, 1: self.codes, 2: [graph.table() for graph in self.graphs],
                       4: self.buffers})
        return bytes(out)


def numbers(*values):
    return ("numbers", [len(values)], list(values))


def number(value):
    return ("numbers", [], [value])


def zeros(*shape):
    return ("zeros", list(shape), None)


def variable(*shape):
    return ("variable", list(shape), None)


LEFT_OUT = ("left out", None, None)


def recurrent(sequence, gates, *states):
    """An LSTM's inputs, where it has them: x, weights by gate, recurrent ones, the rest, states."""
    cells, n_in, n_out = gates
    one_way = [LEFT_OUT, *[zeros(cells, n_in)] * 3, LEFT_OUT, *[zeros(cells, n_out)] * 3,
               *[LEFT_OUT] * 9]
    return [sequence, *one_way, *states]


# Operator; inputs: a list is the shape that --shape gives; options by field; what comes out.
CASES = [
    ("ADD", [[4, 1, 3], [2, 3]], {}, [[4, 2, 3]]),
    ("CONV_2D", [[2, 225, 224, 3], zeros(8, 3, 3, 3)], {0: 0, 1: 2, 2: 2}, [[2, 113, 112, 8]]),
    ("CONV_2D", [[1, 20, 10, 4], zeros(5, 3, 2, 4)], {0: 1, 1: 1, 2: 3, 4: 4, 5: 2}, [[1, 6, 6, 5]]),
    ("DEPTHWISE_CONV_2D", [[1, 9, 9, 2], zeros(1, 3, 3, 6)], {0: 1, 1: 2, 2: 1, 3: 3}, [[1, 7, 4, 6]]),
    ("CONV_3D", [[1, 9, 8, 7, 2], zeros(3, 2, 1, 2, 5)], {0: 1, 1: 2, 2: 1, 3: 3}, [[1, 4, 3, 7, 5]]),
    ("MAX_POOL_2D", [[1, 9, 8, 3]], {0: 1, 1: 2, 2: 3, 3: 2, 4: 3}, [[1, 3, 4, 3]]),
    ("TRANSPOSE_CONV", [numbers(1, 9, 10, 4), zeros(4, 3, 3, 2), [1, 5, 5, 2]], {1: 2, 2: 2},
     [[1, 9, 10, 4]]),
    ("Convolution2DTransposeBias", [[1, 5, 6, 2], zeros(4, 3, 2, 2), zeros(4)],
     struct.pack("<3i", 2, 2, 3), [[1, 15, 12, 4]]),
    ("RESIZE_BILINEAR", [[2, 3, 4, 5], numbers(7, 8)], {}, [[2, 7, 8, 5]]),
    ("PAD", [[2, 3], ("numbers", [2, 2], [1, 0, 2, 4])], {}, [[3, 9]]),
    ("SPACE_TO_DEPTH", [[1, 6, 4, 3]], {0: 2}, [[1, 3, 2, 12]]),
    ("DEPTH_TO_SPACE", [[1, 3, 2, 12]], {0: 2}, [[1, 6, 4, 3]]),
    ("SPACE_TO_BATCH_ND", [[1, 5, 6, 3], numbers(2, 3), ("numbers", [2, 2], [0, 1, 3, 0])], {},
     [[6, 3, 3, 3]]),
    ("BATCH_TO_SPACE_ND", [[6, 3, 3, 3], numbers(2, 3), ("numbers", [2, 2], [0, 1, 3, 0])], {},
     [[1, 5, 6, 3]]),
    ("FULLY_CONNECTED", [[4, 2, 6], zeros(5, 12)], {}, [[4, 5]]),
    ("FULLY_CONNECTED", [[4, 2, 6], zeros(5, 6)], {2: 1}, [[4, 2, 5]]),
    ("RESHAPE", [[4, 6], numbers(-1, 3)], {}, [[8, 3]]),
    ("RESHAPE", [[4, 6]], {0: [2, -1, 2]}, [[2, 6, 2]]),
    ("SLICE", [[9, 8], numbers(2, 1), numbers(-1, 3)], {}, [[7, 3]]),
    ("STRIDED_SLICE", [[9, 8, 7], numbers(1, 0), numbers(-1, 8), numbers(2, 3)], {}, [[4, 3, 7]]),
    ("STRIDED_SLICE", [[9, 8, 7], numbers(5, 2), numbers(0, 3), numbers(-1, 1)], {1: 1, 4: 2},
     [[6, 7]]),
    ("STRIDED_SLICE", [[9, 8, 7], numbers(0, 0, 2), numbers(0, 0, 6), numbers(1, 1, 2)], {2: 2, 3: 1},
     [[1, 9, 8, 2]]),
    ("PACK", [[2, 3], [2, 3], [2, 3]], {0: 3, 1: -1}, [[2, 3, 3]]),
    ("UNPACK", [[2, 3]], {0: 3, 1: 1}, [[2]] * 3),
    ("SPLIT", [number(1), [2, 6]], {0: 3}, [[2, 2]] * 3),
    ("SPLIT_V", [[7, 2], numbers(2, -1, 1), number(0)], {0: 3}, [[2, 2], [4, 2], [1, 2]]),
    ("TRANSPOSE", [[2, 3, 4], numbers(2, 0, 1)], {}, [[4, 2, 3]]),
    ("GATHER", [[5, 6, 7], [2, 3]], {0: 1}, [[5, 2, 3, 7]]),
    ("GATHER", [[5, 6, 7], [5, 3]], {0: 1, 1: 1}, [[5, 3, 7]]),
    ("ARG_MAX", [[5, 6, 7], number(-2)], {}, [[5, 7]]),
    ("TOPK_V2", [[5, 6], number(4)], {}, [[5, 4]] * 2),
    ("WHERE", [[5, 6]], {}, [[30, 2]]),
    ("CONCATENATION", [[2, 3], [2, 5]], {0: -1}, [[2, 8]]),
    ("MEAN", [[2, 3, 4], numbers(0, -1)], {}, [[3]]),
    ("MEAN", [[2, 3, 4], numbers(1)], {0: 1}, [[2, 1, 4]]),
    ("SQUEEZE", [[1, 3, 1]], {0: [-1]}, [[1, 3]]),
    ("SQUEEZE", [[1, 3, 1]], {}, [[3]]),
    ("EXPAND_DIMS", [[2, 3], number(-1)], {}, [[2, 3, 1]]),
    ("TILE", [[2, 3], numbers(3, 2)], {}, [[6, 6]]),
    ("BROADCAST_TO", [[2, 1], numbers(4, 2, 3)], {}, [[4, 2, 3]]),
    ("FILL", [numbers(4, 2), [1]], {}, [[4, 2]]),
    ("ONE_HOT", [[4, 2], number(9), number(1), number(0)], {0: -1}, [[4, 2, 9]]),
    ("BATCH_MATMUL", [[7, 4, 3], [5, 4]], {0: 1, 1: 1}, [[7, 3, 5]]),
    ("EMBEDDING_LOOKUP", [[6], zeros(9, 4)], {}, [[6, 4]]),
    ("RFFT2D", [[3, 8, 9], numbers(8, 16)], {}, [[3, 8, 9]]),
    ("SELECT", [[4], [4, 3], [4, 3]], {}, [[4, 3]]),
    ("SELECT_V2", [[4, 1], [3], [4, 3]], {}, [[4, 3]]),
    ("MATRIX_DIAG", [[2, 3]], {}, [[2, 3, 3]]),
    ("BROADCAST_ARGS", [numbers(3, 1), numbers(2, 1, 4)], {}, [[3]]),
    ("MULTINOMIAL", [[5, 9], number(7)], {}, [[5, 7]]),
    ("HASHTABLE_LOOKUP", [[6], zeros(9), zeros(9, 4, 3)], {}, [[6, 4, 3], [6]]),
    ("HASHTABLE_FIND", [numbers(0), [6, 2], number(0)], {}, [[6, 2]]),
    # by time and batch, or batch and time; the state is the file's
    ("RNN", [[5, 7], zeros(4, 7), zeros(4, 4), zeros(4), variable(5, 4)], {}, [[5, 4]]),
    ("SVDF", [[5, 7], zeros(8, 7), zeros(8, 3), LEFT_OUT, variable(5, 24)], {0: 2}, [[5, 4]]),
    ("UNIDIRECTIONAL_SEQUENCE_RNN", [[9, 5, 7], zeros(4, 7), zeros(4, 4), zeros(4), variable(5, 4)],
     {0: 1}, [[9, 5, 4]]),
    ("UNIDIRECTIONAL_SEQUENCE_RNN", [[9, 5, 7], zeros(4, 7), zeros(4, 4), zeros(4), variable(9, 4)],
     {}, [[9, 5, 4]]),
    ("BIDIRECTIONAL_SEQUENCE_RNN",
     [[9, 5, 7], zeros(4, 7), zeros(4, 4), zeros(4), variable(5, 4), zeros(3, 7), zeros(3, 3),
      zeros(3), variable(5, 3), LEFT_OUT, LEFT_OUT, LEFT_OUT], {0: 1}, [[9, 5, 4], [9, 5, 3]]),
    ("BIDIRECTIONAL_SEQUENCE_RNN",
     [[9, 5, 7], zeros(4, 7), zeros(4, 4), zeros(4), variable(9, 4), zeros(3, 7), zeros(3, 3),
      zeros(3), variable(9, 3), LEFT_OUT, LEFT_OUT, LEFT_OUT], {2: 1}, [[9, 5, 7]]),
    ("LSTM", recurrent([5, 7], (6, 7, 4), variable(5, 4), variable(5, 6)), {}, [[5, 4]]),
    ("LSTM", [[5, 7], variable(5, 6), zeros(24, 13), zeros(24), variable(5, 6)], {3: 1},
     [[5, 6], [5, 6], [5, 13], [5, 24]]),
    ("UNIDIRECTIONAL_SEQUENCE_LSTM", recurrent([9, 5, 7], (6, 7, 4), variable(5, 4), variable(5, 6)),
     {3: 1}, [[9, 5, 4]]),
    ("UNIDIRECTIONAL_SEQUENCE_LSTM", recurrent([9, 5, 7], (6, 7, 4), variable(9, 4), variable(9, 6)),
     {}, [[9, 5, 4]]),
    ("BIDIRECTIONAL_SEQUENCE_LSTM",
     recurrent([9, 5, 7], (6, 7, 4), *recurrent(LEFT_OUT, (5, 7, 3))[1:], variable(5, 4),
               variable(5, 6), variable(5, 3), variable(5, 5)), {}, [[9, 5, 4], [9, 5, 3]]),
    ("BIDIRECTIONAL_SEQUENCE_LSTM",
     recurrent([9, 5, 7], (6, 7, 4), *recurrent(LEFT_OUT, (5, 7, 3))[1:], variable(9, 4),
               variable(9, 6), variable(9, 3), variable(9, 5)), {3: 1, 4: 0}, [[9, 5, 7]]),
]

# Operator, inputs, options, what is said.
CONTRADICTIONS = [
    ("CONV_2D", [[1, 2, 2, 3], zeros(8, 3, 3, 3)], {0: 1, 1: 1, 2: 1}, "a window larger than"),
    ("CONV_2D", [[1, 9, 9, 4], zeros(8, 3, 3, 3)], {0: 1, 1: 1, 2: 1}, "another number of channels"),
    ("CONV_2D", [[1, 9, 9, 3], zeros(8, 3, 3, 3)], {0: 1}, "out of range"),
    ("ADD", [[4], [3]], {}, "do not go together"),
    ("FULLY_CONNECTED", [[5], zeros(2, 4)], {}, "another number of inputs"),
    ("RESHAPE", [[5, 3], numbers(4, 4)], {}, "another number of elements"),
    ("SLICE", [[9], numbers(3), numbers(7)], {}, "beyond the input"),
    ("STRIDED_SLICE", [[9], numbers(3), numbers(7), numbers(0)], {}, "a step of 0"),
    ("SPLIT", [number(0), [5]], {0: 2}, "not the whole"),
    ("PACK", [[5], [6]], {}, "do not go together"),
    ("RNN", [[5, 7], zeros(4, 6), zeros(4, 4), zeros(4), variable(5, 4)], {}, "number of inputs"),
    ("SVDF", [[6, 7], zeros(8, 7), zeros(8, 3), LEFT_OUT, variable(5, 24)], {0: 2}, "another batch"),
    ("SVDF", [[5, 7], zeros(8, 7), zeros(8, 3), LEFT_OUT, variable(5, 24)], {0: 3}, "does not divide"),
    ("LSTM", recurrent([5, 9, 7], (6, 7, 4)), {}, "an input [batch, in]"),
    ("UNIDIRECTIONAL_SEQUENCE_LSTM", recurrent([9, 5, 7], (6, 7, 4), variable(5, 4), variable(8, 6)),
     {3: 1}, "another batch"),
]


def build(kind, inputs, options, n_outputs):
    model = Model()
    graph, places, shapes = model.graph(), [], []
    for i, given in enumerate(inputs):
        if isinstance(given, list):
            places.append(graph.input(f"x{i}", len(given)))
            shapes += ["--shape", f"x{i}=" + "x".join(map(str, given))]
        else:
            places.append(graph.place(given))
    is_custom = isinstance(options, bytes)
    made = graph.run(kind, places, None if is_custom else options, n_outputs,
                     options if is_custom else b"")
    graph.outputs = made if isinstance(made, list) else [made]
    return model, shapes


class Shapes(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.TemporaryDirectory()

    def tearDown(self):
        self.directory.cleanup()

    def call(self, model, *arguments):
        path = os.path.join(self.directory.name, "model.tflite")
        pathlib.Path(path).write_bytes(model.bytes())
        return subprocess.run([QUIRE, "plan", path, "--json", *arguments], capture_output=True,
                              text=True, check=False, timeout=PATIENCE_SECONDS)

    def outputs(self, model, *arguments):
        result = self.call(model, *arguments)
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        return [t for t in json.loads(result.stdout)["model"]["tensors"] if t["output"]]

    def refused(self, model, *arguments):
        result = self.call(model, *arguments)
        self.assertEqual((result.returncode, result.stdout), (125, ""))
        return result.stderr

    def test_each_operator(self):
        for kind, inputs, options, expected in CASES:
            with self.subTest(kind=kind, inputs=inputs, options=options):
                model, shapes = build(kind, inputs, options, len(expected))
                self.assertEqual([t["shape"] for t in self.outputs(model, *shapes)], expected)

    def test_contradictions(self):
        for kind, inputs, options, why in CONTRADICTIONS:
            with self.subTest(kind=kind, inputs=inputs):
                model, shapes = build(kind, inputs, options, 2 if kind == "SPLIT" else 1)
                message = self.refused(model, *shapes)
                self.assertIn(why, message)
                self.assertIn(f"the operator {kind} that makes '{kind}0_", message)

    def test_shapes_that_are_computed(self):
        """Rows and columns of x are joined: shape(x) -> [a, b, c] -> [a, b * c]."""
        model = Model()
        graph = model.graph()
        x = graph.input("x", 3)
        shape, parts = graph.run("SHAPE", [x]), []
        for i in range(3):
            ends = [graph.constant([1], [k]) for k in (i, i + 1, 1)]
            parts.append(graph.run("STRIDED_SLICE", [shape, *ends], {4: 1}))
        both = graph.run("MUL", parts[1:])
        graph.outputs = [graph.run("RESHAPE", [x, graph.run("PACK", [parts[0], both], {0: 2})])]
        self.assertEqual(self.outputs(model, "--shape", "x=7x5x4")[0]["shape"], [7, 20])

    def two_bodies(self, kind, *operators):
        """x (and a condition of IF) through an operator that runs bodies with one operator each."""
        model = Model()
        main, bodies = model.graph(), [model.graph() for _ in operators]
        for body, operator in zip(bodies, operators):
            x = body.input("inner", 2)
            body.outputs = [body.run(operator, [x, x] if operator == "CONCATENATION" else [x])]
        first = [main.input("condition", 0)] if kind == "IF" else []
        main.outputs = [main.run(kind, [*first, main.input("x", 2)], {0: 1, 1: 2})]
        return model

    def test_branches(self):
        made = self.outputs(self.two_bodies("IF", "RELU", "CONCATENATION"), "--shape", "x=3x4")[0]
        self.assertEqual((made["shape"], made["bound"]), ([6, 4], True))
        made = self.outputs(self.two_bodies("IF", "RELU", "RELU"), "--shape", "x=3x4")[0]
        self.assertEqual((made["shape"], made["bound"]), ([3, 4], False))

    def test_loops(self):
        made = self.outputs(self.two_bodies("WHILE", "RELU", "RELU"), "--shape", "x=3x4")[0]
        self.assertEqual(made["shape"], [3, 4])
        self.assertIn("a WHILE changes the shape of", self.refused(
            self.two_bodies("WHILE", "RELU", "CONCATENATION"), "--shape", "x=3x4"))

    def test_unknown_operators(self):
        model, shapes = build("Mystery", [[3, 4]], {}, 1)
        self.assertIn("give its shape by --shape 'Mystery0_0=", self.refused(model, *shapes))
        made = self.outputs(model, *shapes, "--shape", "Mystery0_0=12")[0]
        self.assertEqual(made["shape"], [12])
        self.assertEqual(self.outputs(model)[0]["shape"], [1])  # the file's own sizes

    def test_what_can_not_be_resized(self):
        model, shapes = build("CONV_2D", [[1, 9, 9, 3], zeros(8, 3, 3, 3)], {0: 0, 1: 1, 2: 1}, 1)
        self.assertIn("a weight", self.refused(model, *shapes, "--shape", "constant1=8x5x5x3"))
        self.assertIn("has 3 dimensions", self.refused(model, "--shape", "x0=1x9x9"))
        self.assertIn("no tensor or dimension", self.refused(model, *shapes, "--shape", "y=1"))

    def test_sizes_left_open(self):
        model, _ = build("CONV_2D", [[1, 9, 9, 3], zeros(8, 3, 3, 3)], {0: 1, 1: 1, 2: 1}, 1)
        self.assertIn("as --shape 'x0=...'", self.refused(model))

    def test_windows(self):
        """`quire layout` measures the convolution that the options say: no Winograd's if dilated."""
        for dilation, padding in ((2, 0), (3, 1)):
            model, shapes = build("CONV_2D", [[1, 28, 28, 64], zeros(64, 3, 3, 64)],
                                  {0: padding, 1: 1, 2: 1, 4: dilation, 5: dilation}, 1)
            path = os.path.join(self.directory.name, "model.tflite")
            pathlib.Path(path).write_bytes(model.bytes())
            result = subprocess.run([QUIRE, "layout", "--network", path, *shapes, "--json"], text=True,
                                    capture_output=True, check=False, timeout=PATIENCE_SECONDS)
            self.assertEqual((result.returncode, result.stderr), (0, ""))
            step = json.loads(result.stdout)["steps"][0]
            self.assertEqual((step["operator"], step["algorithm"]), ("CONV_2D", "direct"))

    def test_too_large(self):
        model, _ = build("RELU", [[1, 1]], {}, 1)
        self.assertIn("does not fit", self.refused(model, "--shape", f"x0={2 ** 40}x{2 ** 40}"))


if __name__ == "__main__":
    unittest.main()
