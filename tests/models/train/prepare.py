"""Makes what train.py reads: `prepare.py OUT [VOCABULARY]`, about two minutes.

Writes corpus.bin, heldout.bin, vocab.txt and the token files corpus.u16 and heldout.u16 to OUT.
With VOCABULARY that vocab.txt is kept, which is what weights that exist need."""
import random
import shutil
import sys

import numpy as np

from corpus import collect
from questions import NAMES, VALUES
from tokens import Tokenizer

SIZE = 2048
PHRASES = [" lives in", " lives where", " lives", " has a", " has the same pet as",
           " likes the color that", " likes", "Q: Where does", " live? A:", "Q: Which pet does",
           " have? A:", "Q: Which color does", " like? A:", "[document ", "]\n"]
BLOCK_BYTES = 1 << 20  # tokenised at a time


def byte_pairs(text, count):
    """-> the commonest byte pairs of the text, as characters of byte-level BPE, in order."""
    from tokenizers import Tokenizer as Bpe, models, pre_tokenizers, trainers
    rng = random.Random(1)
    starts = [rng.randrange(len(text) - 4000) for _ in range(3000)]
    sample = [text[i:i + 4000].decode("ascii", "ignore") for i in starts]
    bpe = Bpe(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.train_from_iterator(sample, trainers.BpeTrainer(
        vocab_size=count, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False))
    return [piece for piece, _ in sorted(bpe.get_vocab().items(), key=lambda x: x[1])]


def vocabulary(text):
    """256 bytes, the words of the questions, then the commonest byte pairs of the text."""
    words = NAMES + [v for values in VALUES.values() for v in values]
    special = list(dict.fromkeys([" " + w for w in words] + NAMES + PHRASES))
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]  # BPE shows them as they are
    others = [b for b in range(256) if b not in printable]
    to_byte = {chr(b): b for b in printable} | {chr(256 + i): b for i, b in enumerate(others)}
    tokens = [bytes([i]) for i in range(256)] + [s.encode() for s in special]
    for piece in byte_pairs(text, SIZE - len(special) + 60):
        token = bytes(to_byte[c] for c in piece)
        if token not in tokens and len(tokens) < SIZE:
            tokens.append(token)
    return tokens


def main(out, keep=None):
    texts = dict(zip(("corpus", "heldout"), collect()))
    for name, text in texts.items():
        with open(f"{out}/{name}.bin", "wb") as file:
            file.write(text)
    if keep:
        shutil.copyfile(keep, f"{out}/vocab.txt")
    else:
        with open(f"{out}/vocab.txt", "w", encoding="ascii") as file:
            file.writelines(token.hex() + "\n" for token in vocabulary(texts["corpus"]))
    tok = Tokenizer(f"{out}/vocab.txt")
    for name, text in texts.items():
        blocks = (text[i:i + BLOCK_BYTES] for i in range(0, len(text), BLOCK_BYTES))
        ids = [i for block in blocks for i in tok.encode(block)]
        np.array(ids, dtype=np.uint16).tofile(f"{out}/{name}.u16")


if __name__ == "__main__":
    main(*sys.argv[1:])
