"""Generated questions: documents with facts, and samples to train on.

A fact is direct ("Leo lives in Rome.") or refers to a fact of an earlier document ("Mia lives
where Leo lives."), up to four hops. In training some references are spelled out (", in Rome"):
that teaches the model to resolve a reference while it reads, so that the value stands in the KV
of the referring sentence, and is missing there where the document was prefilled without the
others. That is what blending has to repair.

Texts are lists of `Part`s. A part has a loss weight and may say what its last token should know,
for auxiliary losses: the value that it refers to, and which fact it should look at. All randomness
comes from the `rng` that is handed in; every name and value is one token with its leading space."""
from typing import NamedTuple

NAMES = """
Anna Ben Carl Dora Emil Fay Gus Hana Ivan Jill Kurt Lena Mia Nils Olga Paul Quinn Rosa Sam Tina
Udo Vera Will Xena Yuri Zoe Adam Beth Cody Dina Eric Finn Gina Hugo Iris Jack Kate Leo Mona Noah
Otto Pia Rolf Sara Tom Ute Vic Wade Yara Zack Alma Bob Cleo Dan Elsa Fred Gwen Hal Ines Jon Kim
Liam Max Nina Oskar Petra Ralf Sven Tess Ulla Vito Wanda Abel Bella Cora Dirk Edna Falk Greta
Horst Ilse Jana Klaus Lucy Marta Nora""".split()
VALUES = {
    "city": """
Rome Paris Oslo Cairo Delhi Tokyo Lima Quito Bonn Kiel Turin Milan Porto Seoul Hanoi Perth Dakar
Accra Lagos Tunis Sofia Riga Minsk Bern Graz Linz Nice Lyon York Leeds Derry Cork""".split(),
    "pet": """
dog cat horse goat sheep cow duck goose hen pig mouse rat rabbit snake frog turtle parrot owl crow
finch fox wolf bear lion tiger zebra camel mule donkey otter beaver hamster""".split(),
    "color": """
red blue green white black brown pink gray gold silver purple orange yellow violet indigo cyan
teal olive navy maroon beige ivory coral crimson amber lilac khaki lime rust plum peach
salmon""".split()}


class Form(NamedTuple):
    direct: str       # what follows the name and comes before the value
    reference: tuple  # what follows the name, and what follows the other name
    spelling: str     # what then may come before the value
    question: str


FORMS = {
    "city": Form(" lives in", (" lives where", " lives"), ", in", "Where does {n} live?"),
    "pet": Form(" has a", (" has the same pet as", ""), ", a", "Which pet does {n} have?"),
    "color": Form(" likes", (" likes the color that", " likes"), ",",
                  "Which color does {n} like?")}

ANSWER, SPELLED, TEXT, REST = 3.0, 2.0, 1.0, 0.2  # loss weights


class Part(NamedTuple):
    text: bytes
    weight: float
    value: bytes = b""   # the value of a fact that is only referred to
    states: tuple = ()   # the (name, attribute) whose value stands here, or should be known here
    looks: tuple = ()    # the (name, attribute) that has to be looked up here


class Fact(NamedTuple):
    value: str
    hops: int
    spelled: bool


def encode_parts(tok, parts):
    """-> token ids, weights, values (token ids or -1) and sources (positions or -1).

    A token belongs to the part of its last byte; values and sources stand at parts' ends."""
    origin = [i for i, part in enumerate(parts) for _ in part.text]
    ids, weights, values, sources = tok.encode(b"".join(p.text for p in parts)), [], [], []
    stated, end = {}, 0
    for at, i in enumerate(ids):
        end += len(tok.bytes[i])
        part = parts[origin[end - 1]]
        last = end == len(origin) or origin[end] != origin[end - 1]
        weights.append(part.weight)
        values.append(tok.ids[part.value] if last and part.value else -1)
        sources.append(stated[part.looks] if last and part.looks else -1)
        if last and part.states:
            stated[part.states] = at
    return ids, weights, values, sources


class Filler:
    """Sentences cut out of a text, to stand between facts."""

    def __init__(self, text):
        self.text = text

    def sentence(self, rng):
        size, start = rng.randint(20, 110), rng.randrange(len(self.text) - 400)
        s = self.text[start:start + size + 60]
        a, b = s.find(b" ") + 1, s.rfind(b" ", 0, size + 1)
        words = s[a:max(a + 1, b)].replace(b"\0", b" ").replace(b"\n", b" ").strip()
        return b" " + words + b"."


def direct_parts(name, attribute, value):
    before = f" {name}{FORMS[attribute].direct}".encode()
    return [Part(before, REST), Part(f" {value}".encode(), REST, states=(name, attribute)),
            Part(b".", REST)]


def reference_parts(name, other, attribute, value, spelled):
    form, value = FORMS[attribute], f" {value}".encode()
    before, after = form.reference
    parts = [Part(f" {name}{before}".encode(), REST),
             Part(f" {other}".encode(), REST, value, (name, attribute), (other, attribute)),
             Part(after.encode(), REST)]
    if spelled:
        parts.append(Part(form.spelling.encode() + value, SPELLED))
    return parts + [Part(b".", REST)]


class Writer:
    """Writes documents whose facts refer to those of the documents before."""

    def __init__(self, rng, filler, names, fill, spelled, refer, hops_max):
        self.rng, self.filler, self.names = rng, filler, names
        self.fill, self.spelled, self.refer, self.hops_max = fill, spelled, refer, hops_max
        self.facts = {}  # (name, attribute) -> Fact
        self.known = {a: [] for a in VALUES}  # names with such a fact in an earlier document

    def fact(self):
        """-> the parts of one more fact, with filler before it, and its key; or None."""
        rng, parts = self.rng, []
        attribute, name = rng.choice(list(VALUES)), rng.choice(self.names)
        if (name, attribute) in self.facts:
            return None
        known = self.known[attribute]
        sources = [m for m in known if self.facts[(m, attribute)].hops < self.hops_max]
        for _ in range(self.fill):
            if rng.random() < 0.8:
                parts.append(Part(self.filler.sentence(rng), TEXT))
        if sources and rng.random() < self.refer:
            other = rng.choice(sources)
            value, hops, _ = self.facts[(other, attribute)]
            fact = Fact(value, hops + 1, rng.random() < self.spelled)
            parts += reference_parts(name, other, attribute, value, fact.spelled)
        else:
            fact = Fact(rng.choice(VALUES[attribute]), 0, False)
            parts += direct_parts(name, attribute, fact.value)
        self.facts[(name, attribute)] = fact
        return parts, (name, attribute)

    def document(self, number, facts_each):
        parts, new = [Part(f"[document {number}]".encode(), REST)], []
        for _ in range(max(1, round(self.rng.gauss(facts_each, 0.5)))):
            written = self.fact()
            if written:
                parts += written[0]
                new.append(written[1])
        for name, attribute in new:
            self.known[attribute].append(name)
        return parts + [Part(b"\n", REST)]


def documents(rng, filler, count, facts_each, fill, spelled, refer=0.6, hops_max=4):
    """-> documents as lists of parts, and {(name, attribute): Fact}.

    fill: sentences of filler before each fact; spelled, refer: shares of references that are
    spelled out, and of facts that are references where one is possible."""
    names = rng.sample(NAMES, min(len(NAMES), max(4, int(count * facts_each * 0.8))))
    writer = Writer(rng, filler, names, fill, spelled, refer, hops_max)
    docs = [writer.document(d + 1, facts_each) for d in range(count)]
    return docs, writer.facts


def question(facts, key):
    """-> question and answer as bytes."""
    text = FORMS[key[1]].question.format(n=key[0])
    return f"Q: {text} A:".encode(), f" {facts[key].value}".encode()


def asked(facts, key, weight):
    q, a = question(facts, key)
    return [Part(q, REST, looks=key), Part(a, weight), Part(b"\n", REST)]


def case(rng, filler, count=6, fill=1, facts_each=2.5, hops=None):
    """-> (documents, question, answer, hops): one question for evaluation, nothing spelled out.

    hops: 0, 1, or 2 for two and more; None for any."""
    while True:
        docs, facts = documents(rng, filler, count, facts_each, fill, spelled=0.0)
        keys = [k for k in facts if hops is None or min(facts[k].hops, 2) == hops]
        if keys:
            break
    key = rng.choice(keys)
    return [b"".join(p.text for p in d) for d in docs], *question(facts, key), facts[key].hops


# --- samples to train on: each is (ids, weights, values, sources) of `length` tokens --------------


def filled(tok, length, make):
    """Calls make() for lists of parts until `length` tokens are full."""
    sample = ([], [], [], [])
    while len(sample[0]) < length:
        start, columns = len(sample[0]), encode_parts(tok, make())
        columns[-1][:] = [start + at if at >= 0 else -1 for at in columns[-1]]
        for column, more in zip(sample, columns):
            column.extend(more)
    return tuple(column[:length] for column in sample)


def question_sample(rng, filler, tok, length, spelled):
    """Documents amid filler, then many questions about them."""
    if length <= 256:
        count, each, fill, asks = rng.randint(1, 4), 2, rng.randint(0, 1), 6
    elif length <= 512:
        count, each, fill, asks = rng.randint(3, 6), 2.5, rng.randint(0, 1), 12
    elif length <= 1024:
        count, each, fill, asks = rng.randint(4, 12), 2.5, rng.randint(0, 2), 14
    else:
        count, each, fill, asks = rng.randint(6, 12), 3, rng.randint(1, 4), 24

    def make():
        docs, facts = documents(rng, filler, count, each, fill, spelled)
        keys = list(facts)
        rng.shuffle(keys)
        if rng.random() < 0.5:  # references that are not spelled out first
            keys.sort(key=lambda k: not (facts[k].hops and not facts[k].spelled))
        parts = [Part(b"\0", REST)] + [p for d in docs for p in d]
        return parts + [p for k in keys[:asks] for p in asked(facts, k, ANSWER)]

    return filled(tok, length, make)


def chain_sample(rng, tok, length, spelled):
    """Dense chains of references: short documents without filler, then every question."""
    def make():
        count = rng.randint(3, 8 if length <= 256 else 14)
        docs, facts = documents(rng, None, count, 1.2, 0, spelled, refer=0.7)
        keys = list(facts)
        rng.shuffle(keys)
        parts = [Part(b"\0", REST)] + [p for d in docs for p in d]
        for k in keys:
            unspelled = facts[k].hops and not facts[k].spelled
            parts += asked(facts, k, ANSWER if unspelled else TEXT)
        return parts

    return filled(tok, length, make)


def crowded_sample(rng, tok, length, spelled):
    """Many facts without filler, then the questions, references that are not spelled out first.

    So many values are in sight that none can be guessed, which a chain_sample often allows. Names
    and values that nothing tells beforehand weigh little: they are most of the loss here."""
    def make():
        count, each = (rng.randint(3, 6), 3) if length <= 256 else (rng.randint(4, 10), 4)
        docs, facts = documents(rng, None, count, each, 0, spelled)
        unspelled = {k: bool(f.hops and not f.spelled) for k, f in facts.items()}
        keys = list(facts)
        rng.shuffle(keys)
        keys.sort(key=lambda k: not unspelled[k])
        parts = [Part(b"\0", REST)] + [p for d in docs for p in d]
        for k in keys:
            parts += asked(facts, k, ANSWER if unspelled[k] else TEXT)
        return [p._replace(weight=REST / 5) if p.weight == REST else p for p in parts]

    return filled(tok, length, make)


def recall_sample(rng, tok, length):
    """Dense recall: the same facts again and again, in another order, as facts and questions."""
    def make():
        count = rng.randint(2, 8 if length <= 256 else 24 if length <= 1024 else 48)
        facts = {(m, a): Fact(rng.choice(VALUES[a]), 0, False)
                 for m in rng.sample(NAMES, count) for a in [rng.choice(list(VALUES))]}
        parts, keys = [Part(b"\0", REST)], list(facts)
        for again in range(rng.randint(2, 4)):
            rng.shuffle(keys)
            for key in keys:
                if again and rng.random() < 0.5:
                    parts += asked(facts, key, ANSWER)
                else:
                    before, value, stop = direct_parts(*key, facts[key].value)
                    value = value._replace(weight=ANSWER if again else REST)
                    parts += [before, value, stop]
        return parts

    return filled(tok, length, make)


def copy_sample(rng, length, vocab_size):
    """Random tokens, the same run of them again and again: it forms induction heads."""
    count = rng.randint(8, max(9, min(length // 2, 200)))
    run = [rng.randrange(256, vocab_size) for _ in range(count)]
    ids, weights = run * (length // count + 1), [0.0] * count + [TEXT + 0.01] * length
    return ids[:length], weights[:length], [-1] * length, [-1] * length
