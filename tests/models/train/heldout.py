"""Writes the held-out text that the repository carries: `heldout.py FOLDER`.

FOLDER/heldout.bin: about 256 KiB of files that corpus.py holds out of training, separated by NUL.
FOLDER/heldout_sources.txt: for every one of them its bytes, its Debian package and its path.
Only packages of Debian itself are taken whose copyright file does not name the GFDL, and one other
under the Apache licence, as half of the bytes: about its share of the training text."""
import random
import subprocess
import sys

import corpus

BYTES_TOTAL, BYTES_PER_FILE = 256 * 1024, 24 * 1024
OTHERS_TAKEN, OTHERS_SHARE = ("google-cloud-cli",), 0.5


def package_of(path):
    """-> "name version" of the Debian package that owns path, or None where we do not take it."""
    found = subprocess.run(["dpkg", "-S", path], capture_output=True, text=True, check=False)
    if found.returncode:
        return None
    name = found.stdout.split(":")[0].split(",")[0]
    shown = subprocess.run(["dpkg-query", "-Wf", "${Maintainer}\t${Version}\n", name],
                           capture_output=True, text=True, check=True).stdout.splitlines()[0]
    maintainer, version = shown.split("\t")
    try:
        with open(f"/usr/share/doc/{name}/copyright", encoding="utf-8") as file:
            terms = file.read()
    except OSError:
        return None
    free = not any(word in terms for word in ("GFDL", "Free Documentation License"))
    known = "debian" in maintainer.lower() or name in OTHERS_TAKEN
    return f"{name} {version}" if free and known else None


def cut(text, limit):
    """-> text of at most limit bytes, cut after a line."""
    return text if len(text) <= limit else text[:text.rfind("\n", 0, limit) + 1]


def sample():
    """-> [(text, package, path)] until BYTES_TOTAL is full, in an order that a seed fixes."""
    held = sorted((path, text) for path, text, held_out in corpus.files() if held_out)
    random.Random(11).shuffle(held)
    others = int(BYTES_TOTAL * OTHERS_SHARE)
    chosen, left = [], {True: others, False: BYTES_TOTAL - others}
    for path, text in held:
        package = package_of(path) if max(left.values()) > corpus.FILE_BYTES_MIN else None
        other = bool(package) and package.split()[0] in OTHERS_TAKEN
        text = cut(text, min(left[other], BYTES_PER_FILE))
        if package and len(text) >= corpus.FILE_BYTES_MIN:
            chosen.append((text, package, path.lstrip("/")))
            left[other] -= len(text) + 1
    return chosen


def main(folder):
    chosen = sample()
    with open(f"{folder}/heldout.bin", "wb") as file:
        file.write(b"\0".join(text.encode() for text, _, _ in chosen))
    with open(f"{folder}/heldout_sources.txt", "w", encoding="utf-8") as file:
        file.writelines(f"{len(t)}\t{package}\t{path}\n" for t, package, path in chosen)


if __name__ == "__main__":
    main(sys.argv[1])
