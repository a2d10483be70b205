"""Prompt formats that a card shows or names: in its code, in its words, in a training tool's config.

Knows: fences, the texts of known formats, templates with a place for a question. Does not know: what else a repo says,
or whom to believe (detect). A card is a stranger's text: it is read up to a bound, by plain search and patterns whose
repetitions are bounded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice

from catalog.adapters.card import CARD_LIMIT
from catalog.formats.format import INPUT, INSTRUCTION, SYSTEM, PromptFormat
from catalog.formats.table import format_of, formats

SPAN = 1_500  # characters that a shown input may have
OWN_LIMIT = 2_000  # characters of a template that a card spells out
MOST_BLOCKS = 200
_TRIES = 20  # places where a format may begin in one block
_LEAST = 14  # characters of marks that tell a format apart
_MARKS = ("###", "<|", "[INST]", "[/INST]", "USER:", "ASSISTANT:", "<start_of_turn>", "<human>", "<bot>")
_FAMILIES = {  # marks of one family that may stand apart from each other
    "chatml": ("<|im_start|>user", "<|im_start|>assistant"),
    "llama3": ("<|start_header_id|>user<|end_header_id|>", "<|start_header_id|>assistant<|end_header_id|>"),
    "gemma": ("<start_of_turn>user", "<start_of_turn>model"),
}
_ASKED = (
    "input",
    "question",
    "instruction",
    "prompt",
    "query",
    "text",
    "problem",
    "user_input",
    "user_message",
    "message",
)
_ANSWERED = ("answer", "output", "response", "completion", "solution", "assistant_message")
_PLACE = re.compile(r"\$?\{([A-Za-z_][\w. \[\]'\"]{0,40})\}")
_JOINED = re.compile(r"(?<!\")\"[ \t]{0,8}\+?[ \t]{0,8}\n[ \t]{0,40}[rf]{0,2}\"(?!\")")
_TRAILING = re.compile(r"[ \t]{1,400}(?=\n)")
_QUOTED = re.compile(r"""(?<![\w"'`])[rRfFbB]{0,2}("|'|`)((?:(?!\1)[^\\\n]|\\.){1,2000})\1""")
_PROGRAM = re.compile(  # a line of a program or of a shell, which no prompt has
    r"^[ \t]{0,40}(?:(?:import|const|let|var|raise|pip|python3?)[ \t]|from [\w.]{1,60} import\b"
    r"|(?:def|class|if|for|while|with)[ \t][^\n]{1,200}:$|[\w.]{1,60}\(|\$ |#!|@\w"
    r"|[\w.]{1,40}(?:\[[^\]\n]{0,40}\])?[ \t]{0,4}\+?=(?!=))",
    re.MULTILINE,
)
_BEGINS = ("<s>", "<bos>", "<|begin_of_text|>")  # what tokenizers write by themselves


@dataclass(frozen=True, slots=True)
class Shown:
    """A format that a card shows.

    Args:
        format: its name in the table, "" for one of the card's own.
        template: the template of one of the card's own.
        in_code: whether it stands in code; else in prose.
        whole: whether its text stands there as a whole; else only its marks.
    """

    format: str
    template: str
    in_code: bool
    whole: bool


@dataclass(frozen=True, slots=True)
class Block:
    """A piece of a card: fenced code with the language it names, or the prose between."""

    text: str
    language: str = ""
    code: bool = False


def blocks(card: str) -> list[Block]:
    """The pieces of a card behind its front matter, up to the bounds."""
    pieces: list[Block] = []
    lines: list[str] = []
    fence = language = ""
    for line in _body(card[:CARD_LIMIT].replace("\r\n", "\n")).split("\n"):
        bare = line.strip()
        opens = bare.startswith(("```", "~~~"))
        if opens and (not fence or (bare.startswith(fence) and not bare.strip("`~"))):
            pieces.append(Block("\n".join([*lines, ""]) if fence else "\n".join(lines), language, bool(fence)))
            fence, language = ("", "") if fence else (bare[:3], bare.strip("`~ ").lower()[:20])
            lines = []
        else:
            lines.append(line)
    pieces.append(Block("\n".join(lines), language, bool(fence)))
    return [block for block in pieces if block.text.strip()][:MOST_BLOCKS]


def shown_formats(pieces: list[Block]) -> Iterator[Shown]:
    """The formats that a card's pieces show, at most one a piece, in their order; else those whose marks it has."""
    none = True
    for piece in pieces:
        if shown := next(_shown(piece), None):
            none = False
            yield shown
    code = "\n".join(piece.text for piece in pieces if piece.code)
    families = (name for name, marks in _FAMILIES.items() if none and all(mark in code for mark in marks))
    yield from (Shown(name, "", in_code=True, whole=False) for name in families)


def _shown(piece: Block) -> Iterator[Shown]:
    """What a piece shows: in its long strings, as a whole, in its short strings."""
    if not piece.code:
        yield from _shown_known(_plain(piece.text), piece)
        return
    for text in _strings(piece.text):
        yield from _shown_known(_plain(text), piece)
        yield from _shown_own(_unescaped(_plain(text)))
    yield from _shown_known(_plain(piece.text), piece)
    for text in _short_strings(piece.text):
        yield from _shown_own(_unescaped(_plain(text)))
    if not _PROGRAM.search(piece.text):
        yield from _shown_own(_plain(piece.text))


def _shown_known(text: str, piece: Block) -> Iterator[Shown]:
    if known := _known(text):
        yield Shown(known, "", piece.code, whole=True)


def _shown_own(text: str) -> Iterator[Shown]:
    if template := _own(text):
        named = format_of(template)
        yield Shown(named.name if named else "", "" if named else template, in_code=True, whole=True)


def _known(text: str) -> str | None:
    """The known format whose texts stand here, with most of them."""
    best, most = None, _LEAST - 1
    for name, texts in _literals():
        length = sum(map(len, texts))
        if length > most and _stand(texts, text):
            best, most = name, length
    return best


@lru_cache(maxsize=1)
def _literals() -> tuple[tuple[str, tuple[str, ...]], ...]:
    """The texts between the slots of every format that its marks tell apart, and then those without a system text:
    a text belongs first to the format that has it by default.
    """
    marked = [one for one in formats().values() if one.marked]
    usual = [(one.name, _between(one, one.default_system)) for one in marked]
    return (*usual, *((one.name, _between(one, "")) for one in marked if one.default_system))


def _between(one: PromptFormat, system: str) -> tuple[str, ...]:
    told = one.system.replace(SYSTEM, system) if system else ""
    turn = one.turn.replace(SYSTEM, told).replace(INSTRUCTION, INPUT)
    return tuple(_TRAILING.sub("", text) for text in turn.split(INPUT) if text)


def _stand(texts: tuple[str, ...], text: str) -> bool:
    """Whether the texts stand one behind another, with nothing between them that looks like another mark."""
    start = -1
    for _ in range(_TRIES):
        start = text.find(texts[0], start + 1)
        if start < 0:
            return False
        end, whole = start + len(texts[0]), True
        for following in texts[1:]:
            place = text.find(following, end, end + SPAN)
            if place < 0 or any(mark in text[end:place] for mark in _MARKS):
                whole = False
                break
            end = place + len(following)
        if whole:
            return True
    return False


def _own(text: str) -> str | None:
    """The template that a text is: marks, one place for a question, nothing else to fill before the answer."""
    text = text.strip("\n")
    text = text.removeprefix(next((begin for begin in _BEGINS if text.startswith(begin)), ""))
    if len(text) > OWN_LIMIT or text.count("\n") > 30 or not any(mark in text for mark in _MARKS):
        return None
    places = list(_PLACE.finditer(text))[:8]
    if len(places) > 1 and _asked(places[1], _ANSWERED):
        text = text[: places[1].start()].rstrip(" ")
    elif len(places) != 1:
        return None
    if not places or not _asked(places[0], _ASKED) or not text[places[0].end() :].strip():
        return None
    template = text[: places[0].start()] + INPUT + text[places[0].end() :]
    slots = (SYSTEM, INSTRUCTION)
    return template if template.count(INPUT) == 1 and not any(slot in template for slot in slots) else None


def _asked(place: re.Match[str], names: tuple[str, ...]) -> bool:
    """Whether a place is called by one of the names: {question}, {row['question']}, {x.question}."""
    words = re.findall(r"[A-Za-z_]{1,40}", place[1])
    return bool(words) and words[-1].lower() in names


def _strings(code: str) -> Iterator[str]:
    """The triple-quoted strings of a piece of code."""
    for quote in ('"""', "'''"):
        yield from code.split(quote)[1:41:2]


def _short_strings(code: str) -> Iterator[str]:
    """The strings of a piece of code that end on their line, those that are joined as one."""
    yield from (string[2] for string in islice(_QUOTED.finditer(_JOINED.sub("", code)), MOST_BLOCKS))


def _unescaped(text: str) -> str:
    """The text that a string with places is: `{{` and `}}` are braces, `\\"` is a quote."""
    return re.sub(r"\\([\"'`])", r"\1", text).replace("{{", "{").replace("}}", "}")


def _plain(text: str) -> str:
    r"""The text with its strings joined, `\n` as a line's end, and no blanks at the ends of lines."""
    joined = _JOINED.sub("", text) if '"' in text else text
    return _TRAILING.sub("", joined.replace("\\n", "\n"))


def _body(card: str) -> str:
    """The card behind its front matter."""
    text = card.removeprefix("\ufeff")
    if not text.startswith("---"):
        return text
    end = text.find("\n---", 3)
    return text[end + 4 :] if end > 0 else text


# --- What training tools write into a card ------------------------------------------------------------------------

_CHAT_TEMPLATE = re.compile(r"^chat_template:[ \t]{0,8}[\"']?([\w.\-]{1,60})", re.MULTILINE)
_TYPE = re.compile(r"^[ \t]{1,12}(?:-[ \t]{1,4})?type:[ \t]{0,8}[\"']?([\w.:\-]{1,60})", re.MULTILINE)
_CONVERSATION = re.compile(r"^[ \t]{1,12}conversation:[ \t]{0,8}[\"']?([\w.\-]{1,60})", re.MULTILINE)
_TEMPLATE = re.compile(r"^[#]{0,3}[ \t]{0,4}template:[ \t]{0,8}[\"']?([\w.\-]{1,60})", re.MULTILINE)
_FLAG = re.compile(r"--template[ =]{1,4}[\"']?([\w.\-]{1,60})")
_UNSLOTH = re.compile(r"get_chat_template\(.{0,200}?chat_template[ ]{0,4}=[ ]{0,4}[\"']([\w.\-]{1,40})", re.DOTALL)
TOKENIZER_DEFAULT = "tokenizer_default"


def axolotl_words(pieces: list[Block]) -> tuple[tuple[str, ...], str]:
    """The types of data sets and the chat template that an axolotl config in a card names."""
    for piece in pieces:
        if piece.code and "datasets:" in piece.text and ("base_model:" in piece.text or "adapter:" in piece.text):
            types = tuple(dict.fromkeys(t.lower() for t in _TYPE.findall(piece.text)[:50]))
            chat = _CHAT_TEMPLATE.search(piece.text) or _CONVERSATION.search(piece.text)
            return types, chat[1].lower() if chat else ""
    return (), ""


def llama_factory_word(pieces: list[Block]) -> str:
    """The template that a LLaMA-Factory config or command line in a card names, or ""."""
    for piece in pieces:
        if not piece.code or not ("finetuning_type" in piece.text or "llamafactory" in piece.text):
            continue
        if named := _TEMPLATE.search(piece.text) or _FLAG.search(piece.text):
            return named[1].lower()
    return ""


def unsloth_word(pieces: list[Block]) -> str:
    """The chat template that a call of Unsloth's get_chat_template in a card names, or ""."""
    named = next((n for piece in pieces if piece.code and (n := _UNSLOTH.search(piece.text))), None)
    return named[1].lower() if named else ""


def applies_chat_template(pieces: list[Block]) -> bool:
    """Whether a card's own code applies the tokenizer's chat template."""
    return any(piece.code and "apply_chat_template(" in piece.text for piece in pieces)


# --- What a card says in words ------------------------------------------------------------------------------------

_BEFORE = re.compile(  # "the Alpaca prompt format", "ChatML template"
    r"\b([A-Za-z]{4,12}(?:[ \-]?[23])?(?:[ \-](?:chat|instruct))?)['’`*\"]{0,3}(?:s|-style)?[ \-]{1,2}"
    r"(?:instruction |chat |conversation )?(?:prompt|template)\b"
)
_BEHIND = re.compile(  # "Prompt template: Alpaca"
    r"\b(?:prompt|chat)[ _\-](?:template|format|style)[`*]{0,3}(?: is|:|=)[ `*\"]{0,6}(?:the )?"
    r"([A-Za-z]{4,12}(?:[ \-]?[23])?(?:[ \-](?:chat|instruct))?)",
    re.IGNORECASE,
)


def named_formats(pieces: list[Block], words: Mapping[str, str]) -> Iterator[str]:
    """The formats that a card's prose calls its prompt or template."""
    for piece in pieces:
        if piece.code:
            continue
        for pattern in (_BEHIND, _BEFORE):
            for said in pattern.finditer(piece.text):
                name = re.sub(r"[ \-]", "", said[1].lower())
                if name in words:
                    yield words[name]
