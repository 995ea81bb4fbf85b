"""Whether a library has GPU code for every architecture that is promised, by cuobjdump.

usage: cuda_architectures.py CUOBJDUMP LIBRARY     77: cuobjdump is missing
"""
import re
import subprocess
import sys

MACHINE_CODE = {"sm_80", "sm_90"}
SKIPPED = 77


def architectures(cuobjdump, library, option):
    text = subprocess.run([cuobjdump, option, library], check=True, capture_output=True,
                          text=True).stdout
    return set(re.findall(r"\bsm_\d+\b", text))


def main():
    cuobjdump, library = sys.argv[1:]
    if not cuobjdump or cuobjdump.endswith("NOTFOUND"):
        print("SKIPPED: there is no cuobjdump, so nobody lists the architectures")
        return SKIPPED
    code = architectures(cuobjdump, library, "--list-elf")
    ptx = architectures(cuobjdump, library, "--list-ptx")
    print(f"machine code: {', '.join(sorted(code))}; PTX: {', '.join(sorted(ptx))}")
    if MACHINE_CODE <= code and ptx:
        return 0
    print(f"wanted: {', '.join(sorted(MACHINE_CODE))}, and PTX")
    return 1


if __name__ == "__main__":
    sys.exit(main())
