#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks that every #include in src/ points downwards in the house (docs/architecture.md).

Usage: layers.py [SOURCE_ROOT]. Ends with 1 and one line for each offender.
"""
import pathlib
import re
import sys

# What each folder may include, besides itself, the system's headers and the public headers of
# what it may include. Grown downwards: whoever may use `store` may use what `store` stands on.
MAY_USE = {
    "base": [],
    "pages": ["base"],
    "extent": ["base"],
    "policy": ["base"],
    "store": ["extent", "pages", "base"],
    "heap": ["pages", "base"],
    "pager": ["policy", "store", "pages", "base"],
    "share": ["extent", "base"],
    "mmu": ["pages", "base"],
    "sim": ["policy", "mmu", "extent", "base"],
    "tensor": ["pager", "extent", "base"],
    "observe": ["base"],
    "preload": ["heap", "pager", "observe"],
    "cli": ["preload", "observe", "tensor", "sim", "mmu", "share", "pager", "heap", "store",
            "policy", "extent", "pages", "base"],
}

INCLUDE = re.compile(r'^\s*#\s*include\s*(["<])([^">]+)[">]')


def reachable(folder):
    """The folder and all that it stands on."""
    seen, todo = set(), [folder]
    while todo:
        here = todo.pop()
        if here not in seen:
            seen.add(here)
            todo += MAY_USE[here]
    return seen


def offences(root):
    source = root / "src"
    for path in sorted(source.rglob("*.[ch]")):
        folder = path.relative_to(source).parts[0]
        if folder not in MAY_USE:
            yield f"{path.relative_to(root)}: the house has no folder '{folder}'"
            continue
        allowed = reachable(folder)
        for number, line in enumerate(path.read_text().splitlines(), 1):
            match = INCLUDE.match(line)
            if not match:
                continue
            quote, name = match.groups()
            where = f"{path.relative_to(root)}:{number}"
            if quote == '"':
                target = name.split("/")[0]
                if "/" not in name or ".." in name.split("/"):
                    yield f'{where}: write "folder/{pathlib.Path(name).name}"'
                elif not (source / name).exists():
                    yield f"{where}: there is no src/{name}"
                elif target not in allowed:
                    yield f"{where}: {folder}/ may not use {target}/ ({name})"
            elif name.startswith("quire/"):
                module = pathlib.Path(name).stem
                if module in MAY_USE and module not in allowed:
                    yield f"{where}: {folder}/ may not use the public header of {module}/ ({name})"


def main():
    default = pathlib.Path(__file__).resolve().parents[2]
    root = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else default
    found = list(offences(root))
    for line in found:
        print(line)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
