"""Whether a library has GPU code for every architecture that is promised, of each file of kernels, by
cuobjdump.

usage: cuda_architectures.py CUOBJDUMP LIBRARY FILE...     FILE: device_decoder, ...   77: no cuobjdump
"""
import re
import subprocess
import sys

MACHINE_CODE = {"sm_80", "sm_90"}
SKIPPED = 77


def listed(cuobjdump, library, option):
    """Architectures by member of the library, device_decoder.cu.o being device_decoder."""
    text = subprocess.run([cuobjdump, option, library], check=True, capture_output=True,
                          text=True).stdout
    found = {}
    member = ""
    for line in text.splitlines():
        if heading := re.match(r"member .*:(\w+)\.cu\.o:$", line):
            member = heading[1]
        if architecture := re.search(r"\.(sm_\d+)\.(?:cubin|ptx)$", line):
            found.setdefault(member, set()).add(architecture[1])
    return found


def main():
    cuobjdump, library, *files = sys.argv[1:]
    if not cuobjdump or cuobjdump.endswith("NOTFOUND"):
        print("SKIPPED: there is no cuobjdump, so nobody lists the architectures")
        return SKIPPED
    code = listed(cuobjdump, library, "--list-elf")
    ptx = listed(cuobjdump, library, "--list-ptx")
    good = bool(files)
    for file in files:
        machine = code.get(file, set())
        virtual = ptx.get(file, set())
        print(f"{file}: machine code for {', '.join(sorted(machine))}; PTX of"
              f" {', '.join(sorted(virtual))}")
        good = good and MACHINE_CODE <= machine and bool(virtual)
    if not good:
        print(f"wanted of each: {', '.join(sorted(MACHINE_CODE))}, and PTX")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
