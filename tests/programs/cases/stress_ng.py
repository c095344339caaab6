# SPDX-License-Identifier: Apache-2.0
"""stress-ng --vm --verify: two processes write patterns by all its methods and check every bit."""


def test(case):
    stress = case.need("stress-ng")
    # Bounded by operations, so that both runs do the same; no random choices.
    case.compare([stress, "--vm", "2", "--vm-bytes", "72M", "--vm-keep", "--vm-method", "all",
                  "--vm-ops", "20000", "--verify", "--no-rand-seed", "--timeout", "500", "--quiet",
                  "--oomable", "--temp-path", case.directory], share=2)
