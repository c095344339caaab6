#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Runs a libFuzzer target from its corpus, without adding to the corpus in the tree. What the code
# under test says is closed off; reports are not. QUIRE_TEST_SEED: what it draws, else at random.
# Usage: run.sh TARGET CORPUS [SECONDS]
set -eu
new=$(mktemp -d)
trap 'rm -rf "$new"' EXIT
mkdir "$new/corpus"
"$1" "$new/corpus" "$2" -max_total_time="${3:-5}" -artifact_prefix="$new/" -print_final_stats=1 \
    -seed="${QUIRE_TEST_SEED:-0}" -close_fd_mask=2 ||
    { echo "the input that fails, in base64:"; for f in "$new"/*-*; do echo "$f"; base64 "$f"; done; exit 1; }
