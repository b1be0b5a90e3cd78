"""What strangers may write into names, facts and prompts: payloads for each place that text goes to."""

from __future__ import annotations

import string

from hypothesis import strategies as st

PAYLOADS = {
    "html": "<script>alert(1)</script><img src=x onerror=alert(1)>",
    "attribute": '" onload="alert(1)" x=\'',
    "link": "[press](javascript:alert(1)) <javascript:alert(1)> https://evil.example www.evil.example",
    "entities": "[press](java&#115;cript&colon;alert(1)) &lt;b&gt; &amp;",
    "reference": "[a]\n\n[a]: javascript:alert(1)\n",
    "fence": "a\n```\n\n# Heading\n\n```python\nimport os\n~~~",
    "backticks": "`` ` ``` ````",
    "python": '"); import os; os.system("true"); ("',
    "python, single": "'); import os; os.system('true'); ('",
    "backslash": "a\\",
    "braces": "{model} {0} %s ${title} $title",
    "terminal": "\x1b[31mred\x1b[0m \x1b]0;title\x07 \x1b[2J \x9b31m \x08\x08\x7f",
    "lines": "a\nb\r\nc\rd\u2028e\u2029f\x85g\x0bh\x0c",
    "table": "a | b |\n|---|\n| c",
    "front matter": "\n---\nlicense: mit\n---\n",
    "bidi": "abc\u202edef\u2066ghi",
    "surrogates": "\ud800 \udfff \ud83d",
    "formula": "$x_1 \\frac{1}{$ and $\\undefined$",
    "nothing": "",
    "nul": "a\x00b",
    "emoji": "👨‍👩‍👧 café नमस्ते 漢字",
    "long": "m" * 5000,
}

TEXTS = st.sampled_from(list(PAYLOADS.values())) | st.text(
    st.sampled_from(string.printable + "\x00\x1b\x9b\u202e\u2028\ud800é漢👨\u200d"), max_size=60
)
"""Payloads, and texts made of the characters that they are made of."""


def printable(text: str) -> bool:
    """Whether a text does to a terminal nothing but print, lines apart."""
    return all(one.isprintable() or one in "\n\u200c\u200d" for one in text)
