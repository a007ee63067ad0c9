"""The plain-text equations of the systems' pages, set as MathML."""

import re
from html import escape

GREEK = {
    "alpha": "α", "beta": "β", "gamma": "γ", "eps": "ε", "lambda": "λ", "mu": "μ", "phi": "φ", "psi": "ψ",
    "sigma": "σ",
}  # fmt: skip
LARGE = {"sum": "∑", "product": "∏", "sqrt": "√"}
FUNCTIONS = {
    "CE", "ELBO", "IWAE", "KL", "exp", "ln", "log", "max", "mean", "min", "sigmoid", "softmax", "softplus",
    "std", "swish", "tanh", "variance",
}  # fmt: skip
SIGNS = {"||": "∥", "!=": "≠", "<=": "≤", "+-": "±", "-": "−", "*": "∗", " . ": "⊙", "~": "∼", "...": "…"}
TOKEN = re.compile(
    r"(?P<space> +(?!\. ))|(?P<product> \. )|(?P<option>--[a-z][a-z-]*)|(?P<fraction>\d+/\d+(?![\d.]))"
    r"|(?P<size>\d+x\d+)|(?P<number>\d+(?:\.\d+)?(?:e-?\d+)?)|(?P<hyphened>[A-Za-z]{2,}(?:-[A-Za-z]{2,})+)"
    r"|(?P<indexed>[A-Z]\d)|(?P<name>[A-Za-z]+)|(?P<sub>_[A-Za-z0-9]+(?:-\d+(?![A-Za-z]))?)|(?P<power>\^-?[A-Za-z0-9]+)"
    r"|(?P<accent>(?<=[A-Za-z])[~'])|(?P<sign>\|\||!=|<=|\+-|\.\.\.|.)"
)
WORD = re.compile(r"[A-Za-z]{2,}")


def typeset(text: str) -> str:
    """HTML of a block of equations: a row for each line, its label, formulas as MathML, and remarks."""
    rows = "".join(_row(line) for line in text.splitlines() if line.strip())
    return f'<div class="equations" tabindex="0" role="group" aria-label="Equations">{rows}</div>\n'


def _row(line: str) -> str:
    """Two or more spaces of the source separate a label, formulas and remarks."""
    cells = list[str]()
    for cell in re.split(r" {2,}", line.strip()):
        joined = cells and (cell.startswith(("=", "+", "sum ")) or cells[-1].endswith(("=", " of")))
        if joined:
            cells[-1] += f" {cell}"
        else:
            cells.append(cell)
    label = ""
    if len(cells) > 1 and re.fullmatch(r"[\w ,-]+:|\w+(?<!_.) minimises|[a-zA-Z]", cells[0]):
        label = cells.pop(0)
    inner = "".join(_cell(cell, place) for place, cell in enumerate(cells))
    return f'<div class="label">{escape(label)}</div><div class="formulas">{inner}</div>'


def _cell(cell: str, place: int) -> str:
    """A formula, a remark in words, or `z = ..., a remark`."""
    head, comma, tail = cell.partition(", ")
    if comma and "=" in head and not _words(head) and _words(tail):
        return f"<math>{formula(head)}</math>{_remark(tail)}"
    words = _words(cell)
    in_words = len(words) > 1 or (words and cell[0] == "(")
    if in_words and (place > 0 or not re.search(r"[=_()]", cell)):
        return _remark(cell)
    return f"<math>{formula(cell)}</math>"


def _words(cell: str) -> list[str]:
    """What is neither a subscript, an option, a function nor a letter."""
    words = WORD.findall(re.sub(r"_\w+|--[a-z-]+", "", cell))
    known = FUNCTIONS | GREEK.keys()
    return [word for word in words if word not in known]


def _remark(text: str) -> str:
    greek = re.sub(r"[a-z]{2,}", lambda match: GREEK.get(match[0], match[0]), text)
    return f'<span class="remark">{escape(greek)}</span>'


def formula(text: str) -> str:
    """The inner MathML of one line, with subscripts, powers, Greek letters, and fractions of numbers."""
    parts = list[str]()
    after_operator, waiting = True, False
    for match in TOKEN.finditer(text):
        kind, token = str(match.lastgroup), match.group()
        if kind == "space":
            waiting = not after_operator
            continue
        if kind in ("sub", "power", "accent"):
            parts[-1] = _attached(parts[-1], kind, token)
            continue
        spaced = text[match.start() - 1 : match.start()] == " " == text[match.end() : match.end() + 1]
        is_operator = kind == "product" or (
            kind == "sign" and token not in "()[]<>" and (token != "|" or spaced)
        )
        if waiting and not is_operator and token not in (")", "]", ">"):
            parts.append('<mspace width="0.22em"></mspace>')
        waiting = False
        parts.append(_atom(kind, token, after_operator, spaced))
        after_operator = is_operator or token in ("(", "[", "<")
    return "".join(parts)


def _atom(kind: str, token: str, after_operator: bool, spaced: bool) -> str:
    """A token by itself; `after_operator`: it is at the start of a term."""
    if kind == "option":
        return f'<mtext class="option">{escape(token)}</mtext>'
    if kind == "fraction":
        above, below = token.split("/")
        return f"<mfrac><mn>{above}</mn><mn>{below}</mn></mfrac>"
    if kind in ("number", "size"):
        return f"<mn>{token.replace('x', '×').replace('-', '−')}</mn>"
    if kind == "indexed":
        return f"<msub><mi>{token[0]}</mi><mn>{token[1]}</mn></msub>"
    if kind in ("name", "hyphened"):
        return _name(token)
    sign = escape(SIGNS.get(token, token))
    if token in ("<", ">"):
        return f"<mo>{'⟨' if token == '<' else '⟩'}</mo>"
    if token == "|":
        space = "0.25em" if spaced else "0"
        return f'<mo stretchy="false" lspace="{space}" rspace="{space}">|</mo>'
    if token in ("(", ")", "[", "]"):
        return f'<mo stretchy="false">{token}</mo>'
    if token in ("-", "+-") and after_operator:
        return f'<mo form="prefix">{sign}</mo>'
    return f"<mo>{sign}</mo>"


def _name(token: str) -> str:
    if token in GREEK:
        return f"<mi>{GREEK[token]}</mi>"
    if token in LARGE:
        return f'<mo movablelimits="true">{LARGE[token]}</mo>'
    if token == "E":  # the expectation
        return '<mi mathvariant="normal">E</mi>'
    return f"<mi>{token}</mi>" if len(token) == 1 or token in FUNCTIONS else f"<mtext>{token}</mtext>"


def _attached(before: str, kind: str, token: str) -> str:
    """What a subscript, a power, a prime or a tilde makes of the part before it."""
    if kind == "accent":
        if token == "~":
            return f'<mover accent="true">{before}<mo stretchy="false">~</mo></mover>'
        return f'<mrow>{before}<mo lspace="0" rspace="0">′</mo></mrow>'
    inner = f"<mrow>{formula(token[1:])}</mrow>"
    if kind == "power":
        return f"<msup>{before}{inner}</msup>"
    return f"<msub>{before}{inner}</msub>"
