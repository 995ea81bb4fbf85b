"""Goal: an engine that embeds the client library gets nothing with it that could disturb it.
Method: readelf and nm say what a built library needs, exports and calls.

usage: binary_test.py LIBRARY [--embedded] [--debug]
"""
import re
import subprocess
import sys

# The engine may have its own, of another version.
FOREIGN = ["grpc", "protobuf", "absl", "openblas", "spdlog", "prometheus", "tomlplusplus"]
# What ends a process, or changes what its signals do.
FORBIDDEN_CALLS = {"abort", "exit", "_exit", "_Exit", "quick_exit", "signal", "sigaction",
                   "sigprocmask", "raise", "kill"}
# Functions of the types that the C++ API hands out; their headers are installed with it.
OF_ITS_TYPES = ["kdn::CodeName(", "kdn::Status::ToString[abi:cxx11](", "kdn::Levels(", "kdn::LevelName(",
                "kdn::FindLevel(", "kdn::DTypeBytes(", "kdn::DTypeName(", "kdn::PlaneName(",
                "kdn::ValidateModelSpec(", "kdn::LayerCount(", "kdn::GroupOfLayer(",
                "kdn::BytesPerToken(", "kdn::FingerprintOf(",
                "kdn::ToString[abi:cxx11]("]
EXPORTED = re.compile(r"^kdn_[a-z0-9_]+$|^((vtable|typeinfo|typeinfo name) for )?kdn::client::|" +
                      "|".join(f"^{re.escape(name)}" for name in OF_ITS_TYPES))


def lines_of(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()


def needed(library):
    return re.findall(r"\(NEEDED\).*\[(.+)\]", "\n".join(lines_of("readelf", "-d", library)))


def exported(library):
    """Names as C++ writes them; the version node that the linker defines has type A."""
    for line in lines_of("nm", "-D", "--defined-only", "--demangle", library):
        _, kind, name = line.split(maxsplit=2)
        if kind != "A":
            yield name


def called(library):
    for line in lines_of("nm", "-D", "--undefined-only", library):
        yield line.split()[-1].split("@")[0]


def findings(library, embedded, debug):
    foreign = FOREIGN if embedded else [*FOREIGN, "rocksdb"]
    for name in needed(library):
        if any(word in name for word in foreign):
            yield f"needs {name}"
    names = list(exported(library))
    if "kdn_client_open" not in names:
        yield "exports no kdn_client_open"
    for wanted in OF_ITS_TYPES:
        if not any(name.startswith(wanted) for name in names):
            yield f"exports no {wanted}"
    for name in names:
        if not EXPORTED.match(name):
            yield f"exports {name}"
    if not embedded:
        # An assert that is on in debug builds only.
        allowed = {"__assert_fail"} if debug else set()
        forbidden = (FORBIDDEN_CALLS | {"__assert_fail"}) - allowed
        for name in sorted(forbidden & set(called(library))):
            yield f"calls {name}"


if __name__ == "__main__":
    found = list(findings(sys.argv[1], "--embedded" in sys.argv, "--debug" in sys.argv))
    print("\n".join(found))
    sys.exit(bool(found))
