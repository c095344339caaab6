# SPDX-License-Identifier: Apache-2.0
"""node, whose V8 reserves gigabytes, protects pages to and fro and starts threads of its own."""

PROGRAM = r"""
const index = new Map();
for (let i = 0; i < 60000; i++) index.set(`key-${i * 7919 % 1000003}`, [i, "v".repeat(i % 60) + i, { n: i }]);
const buffers = [];
for (let i = 0; i < 60; i++) {
  const buffer = Buffer.alloc(1 << 20);
  for (let j = 0; j < buffer.length; j += 8) buffer.writeUInt32LE((j * 2654435761 + i) >>> 0, j);
  buffers.push(buffer);
}
let digest = 0;
for (const key of [...index.keys()].sort()) {
  const value = index.get(key);
  digest = (digest * 31 + value[0] + value[1].length) % 1000000007;
}
for (const buffer of buffers) for (let j = 0; j < buffer.length; j += 4096)
  digest = (digest * 31 + buffer.readUInt32LE(j)) % 1000000007;
console.log(index.size, digest);
"""


def test(case):
    node = case.need("node", "nodejs")
    script = case.file("program.js", PROGRAM)
    case.compare([node, script])
