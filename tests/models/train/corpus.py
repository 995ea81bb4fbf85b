"""The text that the test model learns from: the English that a Debian machine carries.

Manual pages, package documentation, Perl pods and Python sources, reduced to plain ASCII. One
file in fifty is held out, chosen by a hash of its text, so that a text is held out on every
machine or on none."""
import gzip
import hashlib
import os
import random
import re

ROOTS = [f"/usr/share/man/man{i}" for i in (1, 2, 3, 5, 7, 8)] + [
    "/usr/share/doc", "/usr/share/perl", "/usr/lib/python3.11", "/usr/share/common-licenses"]
SKIP = re.compile(
    r"changelog|NEWS|/test|/tests/|/idle_test|unicore|"
    r"\.(html?|png|jpg|svg|js|css|pdf|ps|so|pyc|json|xml|c|h|o|bin|dat|tex)(\.gz)?$", re.I)
TROFF = re.compile(r"\\f[BIRP]|\\-|\\&|\\\(..|\\\[[^]]*\]|\\s[-+]?\d")
TROFF_LINES = (".\\\"", "'\\\"", ".if", ".ie", ".el", ".ds", ".de", ".nr", ".tr", ".rm")
FILE_BYTES_MAX, FILE_BYTES_MIN = 400_000, 500


def without_troff(text):
    """A manual page's source -> its words, headings marked with '#'."""
    text = "\n".join(line for line in text.splitlines() if not line.startswith(TROFF_LINES))
    text = re.sub(r"^\.(?:SH|SS|Sh|Ss) *", "\n# ", text, flags=re.M)
    text = re.sub(r"^\.\w+ ?", "", text, flags=re.M)
    return TROFF.sub(lambda m: "-" if m.group() == "\\-" else "", text).replace("\\", "")


def plain_text(path):
    """-> the file's text in ASCII, or "" where it is not text."""
    try:
        with open(path, "rb") as file:
            raw = file.read()
        text = (gzip.decompress(raw) if path.endswith(".gz") else raw)[:FILE_BYTES_MAX]
        text = text.decode("utf-8")
    except (OSError, EOFError, UnicodeDecodeError):
        return ""
    if "/man/" in path:
        text = without_troff(text)
    text = text.encode("ascii", "ignore").decode()
    return re.sub(r"\n{3,}", "\n\n", re.sub(r"[ \t]{5,}", "    ", text)).strip()


def files(roots=None):
    """Yields (path, text, held out) of every file that is worth reading, duplicates dropped."""
    seen = set()
    for root in roots or ROOTS:
        for folder, _, names in sorted(os.walk(root)):
            for name in sorted(names):
                path = os.path.join(folder, name)
                if os.path.islink(path) or SKIP.search(path):
                    continue
                text = plain_text(path)
                digest = hashlib.sha256(re.sub(r"\W+", "", text[:3000]).encode()).digest()
                if len(text) < FILE_BYTES_MIN or digest in seen:
                    continue
                seen.add(digest)
                yield path, text, digest[0] < 5


def collect():
    """-> (training bytes, held-out bytes), each with its files separated by NUL."""
    kept = ([], [])
    for _, text, held_out in files():
        kept[held_out].append(text.encode())
    random.Random(7).shuffle(kept[0])
    return tuple(b"\0".join(texts) for texts in kept)
