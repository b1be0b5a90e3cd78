r"""Text of strangers, escaped for where it goes: one function for each place, and no other code does it.

What statistics, prompts, folders and repositories say was written by somebody, and comes to stand in a terminal, a
program to copy, a page, a card or a figure. There it must be read as text, and as the text that it is:

    plain      one line for terminals, logs, messages and `repr`: no control sequence, no line break
    literal    a string of Python, which evaluates to the text
    html       the same line within HTML, its attributes included
    markdown   the same line within a paragraph, heading or table of Markdown
    code_span  the same line as code within Markdown
    fenced     lines as a block of code within Markdown
    notes      Markdown that somebody else wrote, without raw HTML and without links that run programs
    drawn      the same line in a figure of matplotlib, which reads formulas between dollars
    utf8       bytes of a file

What cannot be printed is shown as Python's `repr` does, such as \x1b or \u202e.
"""

from __future__ import annotations

import html as _html
import re

LONGEST = 200  # characters of a name, a fact or a prompt, where a person is to read it
JOINERS = "\u200c\u200d"  # invisible, but within letters of some languages, and emoji

_IN_MARKDOWN = re.compile(r"[\\`*_{}\[\]<>()#+!|~$&:@]|(?<=www)\.")
# Code as every reader of Markdown sees it: fences that are not indented, and spans within one line. Whatever else may
# be code is taken for text, where more is escaped.
_CODE = re.compile(
    r"^(?P<ticks>`{3,})[^`\n]*\n(?:.*?^ {0,3}(?P=ticks)`* *$|.*\Z)"
    r"|^(?P<tildes>~{3,})[^\n]*\n(?:.*?^ {0,3}(?P=tildes)~* *$|.*\Z)"
    r"|(?<![\\`])(?P<span>`+)(?!`)[^\n|]*?(?<!`)(?P=span)(?!`)",
    re.M | re.S,
)
_TAG = re.compile(r"<(?=[A-Za-z/!?])(?!(?:https?://|mailto:)[^\s<>`]*>)")
_DESTINATION = re.compile(r"(?P<before>\]\(\s*<?|^ {0,3}\[[^\]\n]+\]:\s*<?)(?P<target>[^\s)>]*)", re.M)
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*:", re.I)
_SAFE = ("http:", "https:", "mailto:")


def plain(text: object, most: int | None = LONGEST) -> str:
    """One line that can be printed.

    Args:
        text: Anything; its `str`.
        most: Characters from which on the rest is left out; None for all of it.
    """
    whole = str(text)
    shown = whole if most is None or len(whole) <= most else f"{whole[: most - 2]} …"
    return "".join(one if one.isprintable() or one in JOINERS else _shown(one) for one in shown)


def literal(text: str) -> str:
    """A string of Python in double quotes; `ast.literal_eval` gives the text back."""
    escaped = ("\\" + one if one in '"\\' else one if one.isprintable() else _shown(one) for one in text)
    return f'"{"".join(escaped)}"'


def html(text: object, most: int | None = LONGEST) -> str:
    """`plain`, with what HTML reads as markup escaped, quotes too."""
    return _html.escape(plain(text, most), quote=True)


def markdown(text: object, most: int | None = LONGEST) -> str:
    """`plain`, with a backslash before what Markdown reads as markup."""
    return _IN_MARKDOWN.sub(r"\\\g<0>", plain(text, most)).replace("\\<", "&lt;").replace("\\&", "&amp;")


def code_span(text: object, most: int | None = LONGEST) -> str:
    """`plain` between as many backticks as it takes."""
    inside = plain(text, most) or " "
    ticks = "`" * (_longest_run(inside) + 1)
    padding = " " if "`" in (inside[0], inside[-1]) else ""
    return f"{ticks}{padding}{inside}{padding}{ticks}"


def fenced(lines: str, language: str = "") -> str:
    """A block of code; a fence in it does not end it."""
    fence = "`" * max(3, _longest_run(lines) + 1)
    return f"{fence}{language}\n{lines}\n{fence}"


def notes(text: str) -> str:
    """Markdown with `<` of raw HTML escaped, and links of other kinds than the web's and mail emptied.

    Code stays as it is; so do links to other parts of a page or of a repository.
    """
    whole = "\n".join(plain(line.expandtabs(4), None) for line in re.split("\r\n|\r|\n", text))
    parts, last = [], 0
    for code in _CODE.finditer(whole):
        parts += [_quiet(whole[last : code.start()]), code.group()]
        last = code.end()
    return "".join([*parts, _quiet(whole[last:])])


def drawn(text: object, most: int | None = LONGEST) -> str:
    """`plain`, with dollars that are dollars."""
    return plain(text, most).replace("$", r"\$")


def utf8(text: str) -> bytes:
    """Bytes of a text; halves of characters, which UTF-8 does not have, become escapes as JSON and Python read them."""
    return text.encode("utf-8", "backslashreplace")


def _shown(one: str) -> str:
    named = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}.get(one)
    code = ord(one)
    return named or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}")


def _longest_run(text: str) -> int:
    return max((len(run) for run in re.findall("`+", text)), default=0)


def _quiet(text: str) -> str:
    return _DESTINATION.sub(_harmless, _TAG.sub("&lt;", text))


def _harmless(found: re.Match[str]) -> str:
    target = re.sub(r"\\(?=[!-/:-@\[-`{-~])", "", _html.unescape(found["target"]))
    scheme = _SCHEME.match("".join(one for one in target if one.isprintable() and one != " "))
    return found[0] if scheme is None or scheme[0].lower() in _SAFE else f"{found['before']}#"
