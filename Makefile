# SPDX-License-Identifier: Apache-2.0
# The ways in. Each installs what it lacks (Debian, Ubuntu), builds what it needs, and runs.
#
#   make            builds: build/quire, build/libquire.so, build/libquire.a, build/libquire-preload.so,
#                   build/libquire-malloc.so
#   make run        a real program, plainly and in a third of its RAM; or RAM=128M CMD='...'
#   make test       every test, as CI runs them
#   make check      format, lint, unit and model tests: a minute
#   make bench      Quire beside glibc and beside the kernel's zram, figures and ratios
#   make bench-heap its heap beside mimalloc, jemalloc and tcmalloc: time and memory
#   make bench-share its rings beside libqb, ck_ring, rte_ring, ZeroMQ, sockets, queues and pipes
#   make install    to PREFIX (/usr/local)

BUILD  := build
PREFIX ?= /usr/local
RAM    ?=
CMD    ?=

export RAM CMD


.PHONY: all deps run test check bench bench-heap bench-share install clean help
.DEFAULT_GOAL := all

all: deps
	@test -f $(BUILD)/build.ninja || meson setup $(BUILD)
	@ninja -C $(BUILD) product

deps:
	@scripts/install-deps.sh build

run: all
	@scripts/demo.sh

test:
	@scripts/test.sh

check:
	@scripts/test.sh quick

bench: all
	@scripts/install-deps.sh test
	@bench/ample/run.py --quire $(BUILD)/quire
	@bench/pager/run.py --quire $(BUILD)/quire

bench-heap: all
	@scripts/install-deps.sh bench
	@bench/heap/run.py --quire $(BUILD)/libquire-malloc.so --rounds 3

bench-share: all
	@scripts/install-deps.sh bench
	@meson setup --reconfigure $(BUILD) >/dev/null
	@ninja -C $(BUILD) bench/share/share_bench
	@$(BUILD)/bench/share/share_bench

install: all
	meson configure $(BUILD) -Dprefix=$(PREFIX)
	meson install -C $(BUILD) --no-rebuild

clean:
	rm -rf $(BUILD) build-*

help:
	@sed -n 's/^#   //p' Makefile
