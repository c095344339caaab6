# SPDX-License-Identifier: Apache-2.0
"""lua: tables in tables, strings, and its collector in both modes."""

PROGRAM = r"""
local index, digest = {}, 0
for i = 1, 50000 do
  index["key-" .. (i * 7919 % 1000003)] = { i, string.rep("v" .. i, 80 + i % 80), { n = i } }
end
for _, mode in ipairs { "generational", "incremental" } do
  collectgarbage(mode)
  for i = 1, 60000 do local garbage = { i, tostring(i) }; digest = (digest * 31 + #garbage[2]) % 1000000007 end
  collectgarbage()
end
local keys = {}
for key in pairs(index) do keys[#keys + 1] = key end
table.sort(keys)
for _, key in ipairs(keys) do digest = (digest * 31 + index[key][1] + #index[key][2]) % 1000000007 end
print(#keys, digest)
"""


def test(case):
    script = case.file("program.lua", PROGRAM)
    case.compare([case.need("lua5.4", "lua", "lua5.3"), script], share=2)
