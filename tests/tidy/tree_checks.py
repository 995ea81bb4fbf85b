"""Checks that need the whole tree: sources against CMake, names in the code against the docs."""
import re
from pathlib import Path

from cpp_text import without_comments

CMAKE_SOURCE = re.compile(r"[\w./${}+-]+\.(?:cc|cu)\b")
CMAKE_FOLDERS = re.compile(r"\$\{(CMAKE_CURRENT_(?:LIST|SOURCE)_DIR|(?:PROJECT|CMAKE)_SOURCE_DIR)\}")


def cmake_files(root, folders):
    yield from sorted(root.glob("CMakeLists.txt"))
    for folder in ["cmake", *folders]:
        for pattern in ("CMakeLists.txt", "*.cmake"):
            yield from sorted((root / folder).rglob(pattern))


def named_sources(root, path):
    """(line, pattern) per source that the CMake file names: absolute, with * for a variable."""
    for number, line in enumerate(path.read_text().splitlines(), 1):
        for token in CMAKE_SOURCE.findall(line.split("#")[0]):
            if "BINARY_DIR" in token or ".pb." in token:  # generated
                continue
            token = CMAKE_FOLDERS.sub(
                lambda m: str(path.parent if "CURRENT" in m[1] else root), token)
            token = re.sub(r"\$\{\w+\}", "*", token)
            yield number, Path(token) if token.startswith("/") else path.parent / token


def source_findings(root, folders):
    """Sources that CMake names but are not there, and those that are there but no CMake names."""
    named = set()
    for path in cmake_files(root, folders):
        for number, source in named_sources(root, path):
            source = Path(*source.parts) if "*" in str(source) else source.resolve()
            found = list(source.parent.glob(source.name)) if "*" in source.name else [source]
            found = [f.resolve() for f in found if f.is_file()]
            if not found:
                yield f"{path.relative_to(root)}:{number}: no such source: {source.name}"
            named.update(found)
    for folder in folders:
        for path in sorted([*(root / folder).rglob("*.cc"), *(root / folder).rglob("*.cu")]):
            if path.resolve() not in named:
                yield f"{path.relative_to(root)}: dead: no CMakeLists.txt names it"


CONFIG_KEY = re.compile(r'\.\s*(?:Text|Choice|TextList|Boolean|Integer)\(\s*"(\w+)"\s*,\s*&')
METRIC_ROW = re.compile(r"^\| `(kdn_\w+)", re.M)
METRIC = re.compile(r'\b(?:CounterOf|GaugeOf|HistogramOf)\(\s*"(\w+)"')


def documentation_findings(root, folders):
    """Config keys and metrics of the product that have no row in docs/operations.md."""
    page = root / "docs/operations.md"
    if not page.is_file():
        return
    rows = "\n".join(line for line in page.read_text().splitlines() if line.startswith("|"))
    missing = {"config keys": set(), "metrics": set()}
    made = set()
    for folder in folders:
        if folder == "tests":
            continue
        for path in sorted((root / folder).rglob("*")):
            if path.suffix not in {".h", ".cc"}:
                continue
            code = without_comments(path.read_text(), keep_strings=True)
            made.update(METRIC.findall(code))
            for kind, names in (("config keys", CONFIG_KEY), ("metrics", METRIC)):
                for name in names.findall(code):
                    if not re.search(r"`(?:[\w.]+\.)?" + name + r"(?:\{[^`]*\})?`", rows):
                        missing[kind].add(name)
    if gone := set(METRIC_ROW.findall(rows)) - made:
        yield f"docs/operations.md: a row for metrics that nobody makes: {', '.join(sorted(gone))}"
    for kind, names in missing.items():
        if names:
            yield f"docs/operations.md: no row for {kind}: {', '.join(sorted(names))}"
