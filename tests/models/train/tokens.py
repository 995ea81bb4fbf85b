"""The tokeniser of the test model: byte strings of vocab.txt, cut by longest match."""


class Tokenizer:
    """vocab.txt holds one byte string a line, in hex; the line number (from 0) is the token id.

    Encoding takes, at every position, the longest byte string of the vocabulary. All 256 single
    bytes are in it, so every text can be encoded and decoding gives the same bytes back."""

    def __init__(self, path):
        with open(path, encoding="ascii") as file:
            self.bytes = [bytes.fromhex(line) for line in file.read().split()]
        self.ids = {b: i for i, b in enumerate(self.bytes)}
        self.longest = {}
        for b in self.bytes:
            self.longest[b[0]] = max(self.longest.get(b[0], 0), len(b))

    def encode(self, text):
        out, i = [], 0
        while i < len(text):
            size = min(self.longest[text[i]], len(text) - i)
            while text[i:i + size] not in self.ids:
                size -= 1
            out.append(self.ids[text[i:i + size]])
            i += size
        return out

    def decode(self, ids):
        return b"".join(self.bytes[i] for i in ids)
