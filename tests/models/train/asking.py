"""Writes the held-out questions that the repository carries: `asking.py FOLDER`.

From heldout.bin, vocab.txt and heldout_sources.txt of FOLDER it writes questions.jsonl (short
documents with facts, 320 questions for each of 0, 1, and 2 and more hops) and
demo_documents.jsonl (long documents with direct facts amid their text). Seeds are fixed."""
import json
import random
import sys

from questions import NAMES, VALUES, Fact, Filler, case, direct_parts, question
from tokens import Tokenizer

QUESTIONS_EACH, DOCUMENTS = 320, 6
DEMO_TOKENS, DEMO_FACTS, DEMO_FACT_ASKED = 2048, 12, 9
DEMO_FILES = {"The Mozilla Public License": "common-licenses/MPL-2.0",
              "access(2)": "man2/access.2.gz",
              "Params::Check": "Params/Check.pm",
              "Module::Load::Conditional": "Module/Load/Conditional.pm",
              "flow logs of a VPC": "gcloud_network-management_vpc-flow-logs-configs_update.1.gz",
              "systemd-detect-virt": "man1/systemd-detect-virt.1.gz"}


def write_lines(path, rows):
    with open(path, "w", encoding="ascii") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


def questions(filler):
    rng = random.Random(2026)
    for hops_wanted in (0, 1, 2):
        for _ in range(QUESTIONS_EACH):
            docs, q, a, hops = case(rng, filler, DOCUMENTS, 1, 2.5, hops_wanted)
            yield {"documents": [d.decode() for d in docs], "question": q.decode(),
                   "answer": a.decode(), "hops": hops}


def facts_for(rng):
    """-> {(name, attribute): Fact}, direct ones, each name once."""
    return {(name, attribute): Fact(rng.choice(VALUES[attribute]), 0, False)
            for name in rng.sample(NAMES, DEMO_FACTS) for attribute in [rng.choice(list(VALUES))]}


def amid(text, facts, size):
    """-> the first `size` bytes of text with the facts spread over it, at paragraphs' ends."""
    pieces, at = [], 0
    for i, ((name, attribute), fact) in enumerate(facts.items()):
        from_here = int(size * (i + 0.3) / len(facts))
        ends = [text.find(b"\n\n", from_here), text.find(b"\n", from_here)]
        end = next((e for e in ends if at <= e < size * (i + 1.3) / len(facts)), at)
        direct = b"".join(p.text for p in direct_parts(name, attribute, fact.value))
        pieces += [text[at:end], direct]
        at = end
    return b"".join(pieces) + text[at:size]


def demo_text(tok, text, facts):
    """-> a document that has DEMO_TOKENS tokens together with the NUL before it."""
    head, size = b"[document 1] ", len(text)
    while True:
        document = head + amid(text, facts, size) + b"\n"
        excess = len(tok.encode(b"\0" + document)) - DEMO_TOKENS
        if excess == 0:
            return document
        assert excess > 0 or size < len(text), "the file is too short"
        size -= max(1, excess) if excess > 0 else -1


def demo_documents(tok, texts):
    """texts: {path: bytes}. Yields one row a file."""
    rng = random.Random(7)
    for name, ending in DEMO_FILES.items():
        text = next(text for path, text in texts.items() if path.endswith(ending))
        facts = facts_for(rng)
        q, a = question(facts, list(facts)[DEMO_FACT_ASKED])
        yield {"name": name, "text": demo_text(tok, text, facts).decode(), "question": q.decode(),
               "answer": a.decode()}


def main(folder):
    tok = Tokenizer(f"{folder}/vocab.txt")
    with open(f"{folder}/heldout.bin", "rb") as file:
        text = file.read()
    with open(f"{folder}/heldout_sources.txt", encoding="utf-8") as file:
        paths = [line.rstrip("\n").split("\t")[2] for line in file]
    write_lines(f"{folder}/questions.jsonl", questions(Filler(text)))
    texts = dict(zip(paths, text.split(b"\0")))
    write_lines(f"{folder}/demo_documents.jsonl", demo_documents(tok, texts))


if __name__ == "__main__":
    main(sys.argv[1])
