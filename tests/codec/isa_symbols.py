"""Checks that files compiled for one instruction set share no code: isa_symbols.py NM LIBRARY.

An inline function or template that such a file uses becomes a weak symbol, of which the linker keeps
one copy for all callers: perhaps the one with instructions that this CPU has not.
"""
import re
import subprocess
import sys

# Object file -> what the only symbols begin with that it may define for others.
MAY_DEFINE = {
    "avx2.cc.o": "kdn::codec::kAvx2Kernels",
    "avx2_encode.cc.o": "kdn::codec::kAvx2Encode",
    "avx2_nested.cc.o": "kdn::codec::avx2::",
    "avx512.cc.o": "kdn::codec::kAvx512Kernels",
    "avx512_correct.cc.o": "kdn::codec::avx512::",
    "avx512_encode.cc.o": "kdn::codec::kAvx512Encode",
    "avx512_lean_encode.cc.o": "kdn::codec::avx512::",
    "avx512_measure.cc.o": "kdn::codec::avx512::",
    "avx512_nested.cc.o": "kdn::codec::avx512::",
    "avx512_rans.cc.o": "kdn::codec::avx512::",
    "avx512_rans_encode.cc.o": "kdn::codec::avx512::",
    "avx512_residual.cc.o": "kdn::codec::avx512::",
    "avx512_synthesis.cc.o": "kdn::codec::avx512::",
}


def main(nm, library):
    listing = subprocess.run([nm, "-C", library], check=True, capture_output=True, text=True).stdout
    found, bad, current = set(), [], None
    for line in listing.splitlines():
        if member := re.fullmatch(r"(\S+\.o):", line):
            current = member[1]
            continue
        symbol = re.fullmatch(r"[0-9a-f]* *([A-Za-z]) (.+)", line.strip())
        if current not in MAY_DEFINE or not symbol:
            continue
        found.add(current)
        kind, name = symbol[1], symbol[2]
        # DW.ref: a pointer for the unwinder, which a sanitizer asks for.
        sanitizer = name.startswith(("__asan", "__odr_asan", "__tsan", "asan.module", "DW.ref."))
        if kind in "UNr" or kind.islower() and kind not in "uvw" or sanitizer:
            continue
        if kind in "VvWw" or not name.startswith(MAY_DEFINE[current]):
            bad.append(f"{current} defines {kind} {name}")
    for missing in sorted(set(MAY_DEFINE) - found):
        bad.append(f"{library} has no {missing}")
    print("\n".join(bad) or "instruction sets share no code")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
