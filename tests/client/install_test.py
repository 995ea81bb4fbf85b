"""Goal: what `cmake --install` lays down is enough to build and run a program against.
Method: install into an empty prefix, then configure, build and run one in C and one in C++ from
there, and the one in C once more by way of pkg-config.

usage: install_test.py CMAKE BUILD_FOLDER CONSUMER_FOLDER C_FLAGS CXX_FLAGS
The flags are those of the build: a sanitizer's runtime has to be in the program too.
"""
import os
import subprocess
import sys
import tempfile
from pathlib import Path

EXPECTED = ["bin/kdn-coordinator", "bin/kdn-node", "bin/kdnctl", "bin/kdn-bench", "include/kdn/kdn.h",
            "lib/systemd/system/kdn-coordinator.service", "lib/systemd/system/kdn-node.service"]


def run(*command, **options):
    print("$", *command, flush=True)
    return subprocess.run(command, check=True, text=True, **options)


def main(cmake, build, consumer, c_flags, cxx_flags):
    with tempfile.TemporaryDirectory() as folder:
        prefix = Path(folder) / "prefix"
        run(cmake, "--install", build, "--prefix", str(prefix), stdout=subprocess.DEVNULL)
        for name in EXPECTED:
            if not (prefix / name).is_file():
                sys.exit(f"{name} is not installed")
        for unit in prefix.glob("lib/systemd/system/*"):
            if f"ExecStart={prefix}/bin/{unit.stem} " not in unit.read_text():
                sys.exit(f"{unit.name} does not start what is installed in {prefix}")

        out = Path(folder) / "build"
        run(cmake, "-S", consumer, "-B", str(out), "-G", "Ninja", f"-DCMAKE_PREFIX_PATH={prefix}",
            f"-DCMAKE_C_FLAGS={c_flags}", f"-DCMAKE_CXX_FLAGS={cxx_flags}",
            stdout=subprocess.DEVNULL)
        run(cmake, "--build", str(out))
        version = run(str(out / "consumer_c"), capture_output=True).stdout
        run(str(out / "consumer_cpp"))

        library = next(prefix.glob("lib*/**/libkdn.so")).parent
        environment = dict(os.environ, PKG_CONFIG_PATH=str(library / "pkgconfig"))
        flags = run("pkg-config", "--cflags", "--libs", "kdn", capture_output=True,
                    env=environment).stdout.split()
        run("cc", *c_flags.split(), "-std=c99", f"{consumer}/consumer.c", "-o", f"{folder}/by_pkg_config", *flags,
            f"-Wl,-rpath,{library}")
        if run(f"{folder}/by_pkg_config", capture_output=True).stdout != version:
            sys.exit("the two programs say different versions")


if __name__ == "__main__":
    main(*sys.argv[1:])
