# SPDX-License-Identifier: Apache-2.0
"""perl: hashes of arrays, strings that grow, a sort, regular expressions."""

PROGRAM = r"""
use strict; use warnings;
my %index;
for my $i (1 .. 45_000) {
    $index{"key-" . ($i * 7919 % 1000003)} = [$i, "v$i-" x (60 + $i % 90), $i / 7];
}
my $text = "";
for my $key (sort keys %index) {
    $text .= "$key=$index{$key}[0];" if $index{$key}[0] % 3 == 0;
}
my $n = () = $text =~ /7(\d)=/g;
my $sum = 0;
$sum = ($sum * 31 + length($index{$_}[1]) + $index{$_}[0]) % 1000000007 for sort keys %index;
delete $index{$_} for grep { $index{$_}[0] % 2 } keys %index;
printf "%d %d %d %s\n", scalar(keys %index), $n, $sum, unpack("%32C*", $text);
"""


def test(case):
    case.compare([case.need("perl"), "-e", PROGRAM], share=2)
