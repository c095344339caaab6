# SPDX-License-Identifier: Apache-2.0
"""ruby: hashes, strings and its mark-and-sweep collector with compaction."""

PROGRAM = r"""
index = {}
120_000.times { |i| index["key-#{i * 7919 % 1000003}"] = [i, "v" * (i % 70), { n: i }] }
digest = 0
2.times do |round|
  garbage = Array.new(100_000) { |i| "round #{round} #{i}" }
  digest = (digest * 31 + garbage.sum(&:size)) % 1_000_000_007
  garbage = nil
  GC.start
end
GC.compact if GC.respond_to?(:compact) && GC.stat(:total_allocated_objects) > 0 && RUBY_VERSION < "3.3"
index.keys.sort.each { |key| digest = (digest * 31 + index[key][0] + index[key][1].size) % 1_000_000_007 }
index.delete_if { |_, value| value[0].odd? }
puts "#{index.size} #{digest}"
"""


def test(case):
    case.compare([case.need("ruby"), "-e", PROGRAM])
