# SPDX-License-Identifier: Apache-2.0
"""gcc -O2 of a large generated C file: the object files are the same to the byte."""
import random


def source_text(n_functions):
    rng = random.Random(1)
    lines = ["#include <stdint.h>"]
    for f in range(n_functions):
        lines.append(f"uint64_t f{f}(uint64_t *a, uint64_t n)\n{{\n    uint64_t s = {f};\n"
                     "    for (uint64_t i = 0; i < n; i++) {")
        for _ in range(12):
            i, j, k = (rng.randrange(1, 99) for _ in range(3))
            op = rng.choice(["+", "^", "*", "-"])
            lines.append(f"        if ((a[i] & {i}) {op} s > {j}) s = (s {op} a[(i + {k}) % n]) >> "
                         f"{j % 13}; else a[i] {rng.choice(['+', '^', '-'])}= s {op} {k}u;")
        if f:
            lines.append(f"        s += f{rng.randrange(f)}(a, i & 3);")
        lines.append("    }\n    return s;\n}")
    return "\n".join(lines) + "\n"


def test(case):
    source = case.file("large.c", source_text(220))
    # The compiler proper is what needs memory; the driver starts it and the assembler.
    case.compare([case.need("gcc"), "-O2", "-fno-ident", "-c", source, "-o", "large.o"],
                 outputs=["large.o"])
