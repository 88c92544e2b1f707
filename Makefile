# SPDX-License-Identifier: Apache-2.0
# Short names for what CMakePresets.json and scripts/ do. `make run` and `make check` start on a fresh
# machine: they install the distribution packages that are missing.

JOBS   ?= $(shell nproc 2>/dev/null || echo 2)
PREFIX ?= /usr/local
# Extra arguments of ctest, as in: make check ARGS='-L op'
ARGS   ?=

.PHONY: all run check check-long check-peers bench install uninstall wheel deb format setup clean help
.DEFAULT_GOAL := all

all: ## the program, optimised: build/mizan
	@cmake --preset release >/dev/null || \
	  { echo 'If a package is missing: scripts/setup build' >&2; exit 1; }
	cmake --build --preset release --parallel $(JOBS)

run: ## install what is missing, build, train a small model on English text and let it write
	@scripts/setup build demo
	@$(MAKE) --no-print-directory all
	build/mizan demo

check: ## install what is missing, build for development, run every test and check
	@scripts/setup build test
	@cmake --preset dev >/dev/null
	cmake --build --preset dev --parallel $(JOBS)
	ctest --preset dev --parallel $(JOBS) $(ARGS)

check-long: ## all of .ci/run and what takes too long for it
	@scripts/setup build test cross demo
	MIZAN_LONG=$${MIZAN_LONG:-1} .ci/run

check-peers: ## compare with the official implementations, installed in .cache/peers
	@scripts/setup build test peers
	@$(MAKE) --no-print-directory all
	tools/check_peers
	tools/check_npu || [ $$? -eq 77 ]
	tools/check_abi || [ $$? -eq 77 ]

bench: ## speed against peers, as CSV in bench/results
	@scripts/setup build bench
	bench/run

install: all ## into $(DESTDIR)$(PREFIX)
	cmake --install build --prefix $(PREFIX)

wheel: all ## a Python wheel that carries libmizan.so, into dist/
	@scripts/setup package
	rm -rf build/python && cp -r python build/python
	cp -L build/libmizan.so.1 build/python/mizan/
	cd build/python && /usr/bin/python3 setup.py -q bdist_wheel -d $(CURDIR)/dist

deb: ## Debian packages into dist/, checked by lintian
	@scripts/setup build package
	scripts/make-deb dist

uninstall: ## what the last `make install` wrote
	@sed "s|^|$(DESTDIR)|" build/install_manifest.txt | xargs -r rm -f --

format: ## rewrite the C files as .clang-format has them
	tools/check_format --fix

setup: ## install every package that building, testing and the demonstration want
	scripts/setup build test cross demo

clean: ## remove what was built; .cache stays
	rm -rf build build-*

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1\t\2/p' Makefile | expand -t 20
