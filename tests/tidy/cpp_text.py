"""Reads C++ well enough to judge its shape: text without comments and literals, function bodies."""
import re

TOKEN = re.compile(
    r'R"(?P<delimiter>[^()\\\s]{0,16})\((?:.|\n)*?\)(?P=delimiter)"'  # raw string
    r'|"(?:\\.|[^"\\\n])*"'
    r"|(?<![0-9a-fA-F'])'(?:\\.|[^'\\\n])+'"  # not a digit separator
    r"|//[^\n]*"
    r"|/\*(?:.|\n)*?\*/")


def without_comments(text, keep_strings=False):
    """The same text with comments blanked, and literals too; line numbers and columns stay."""

    def blank(match):
        token = match[0]
        if keep_strings and not token.startswith(("//", "/*")):
            return token
        return re.sub(r"[^\n]", " ", token)

    return TOKEN.sub(blank, text)


def without_directives(code):
    """Blanks preprocessor lines and their continuations: their braces need not balance."""
    return re.sub(r"^[ \t]*#(?:[^\n\\]|\\\n|\\.)*", lambda m: re.sub(r"[^\n]", " ", m[0]), code,
                  flags=re.M)


def outside_parentheses(head):
    """`head` without what stands in parentheses; None if they do not balance."""
    depth, kept = 0, []
    for c in head:
        if c == "(":
            depth += 1
        if depth == 0:
            kept.append(c)
        if c == ")":
            depth -= 1
            if depth < 0:
                return None
    return "".join(kept) if depth == 0 else None


TEMPLATE = re.compile(r"\btemplate\s*<[^<>]*(?:<[^<>]*>[^<>]*)*>")


def opens(head):
    """What a brace opens whose statement so far is `head`: scope, function or other."""
    head = TEMPLATE.sub("", head)
    if re.search(r"\b(namespace|class|struct|union|enum|extern)\b", head):
        return "scope"
    rest = outside_parentheses(head)
    if rest is None or ")" not in head:
        return "other"
    if "=" in rest and "operator" not in rest:
        return "other"
    return "function"


def functions(text):
    """(first line, line count) of each function body that stands in a namespace or a class."""
    code = without_directives(without_comments(text))
    stack, head, line = ["scope"], "", 1
    begun = 0
    for c in code:
        if c == "\n":
            line += 1
        if c == "{":
            kind = opens(head) if stack[-1] == "scope" else "other"
            if kind == "function":
                begun = line
            stack.append(kind)
            head = ""
        elif c == "}":
            if len(stack) > 1 and stack.pop() == "function":
                yield begun, line - begun + 1
            head = ""
        elif c == ";" and outside_parentheses(head) is not None:
            head = ""
        else:
            head += c
