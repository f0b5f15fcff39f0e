"""The C programs of Benchmarks/Tools, built into a directory of this run."""

import os
import shutil
import subprocess
import tempfile

from lab.program import REPOSITORY

SOURCES = os.path.join(REPOSITORY, "Benchmarks", "Tools")
LIBRARIES = {"count_allocations", "pidfd_shim"}


class Tools:
    """Use it in a `with`: the built programs are gone at the end."""

    def __enter__(self):
        self.directory = tempfile.mkdtemp(prefix="kairos-bench-tools-")
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.directory, ignore_errors=True)

    def path(self, name):
        """The built program, or shared library, of this name."""
        target = os.path.join(self.directory, name)
        if not os.path.exists(target):
            compiler = next((found for found in map(shutil.which, ("cc", "gcc", "clang")) if found), None)
            if compiler is None:
                raise FileNotFoundError("no C compiler: scripts/setup --for bench installs one")
            kind = ["-shared", "-fPIC"] if name in LIBRARIES else ["-pthread"]
            command = [compiler, "-O2", "-Wall", "-Wextra", "-Werror", *kind, "-o", target]
            done = subprocess.run(
                [*command, os.path.join(SOURCES, f"{name}.c")], capture_output=True, text=True, timeout=120
            )
            if done.returncode != 0:
                raise RuntimeError(f"{name}.c does not build: {done.stderr}")
        return target
