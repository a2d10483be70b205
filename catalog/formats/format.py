"""A prompt format: how an input becomes a prompt up to where the answer begins, and where an answer stops.

Knows: the slots of a format's text, and how one becomes a task's template. Does not know: which formats there are
(table), who was trained for which (detect), chat templates in Jinja (lorauter/formats).

A begin-of-text token is never part of a format: some tokenizers write it by themselves, and two are one too many.
"""

from __future__ import annotations

from dataclasses import dataclass

from catalog.errors import SettingError

INPUT, SYSTEM, INSTRUCTION = "{input}", "{system}", "{instruction}"


@dataclass(frozen=True, slots=True)
class PromptFormat:
    """One prompt format. All braces but those of the three slots are plain text.

    Args:
        name: what people call it, unique in a table.
        turn: the text of one turn up to where the answer begins, with one `{input}`; where a system text goes,
            `{system}`; where what to do is told apart from what to do it with, `{instruction}`.
        system: how a system text is written in its place, with one `{system}`; "" where the family has none.
        default_system: the system text of prompts that bring none.
        stops: texts that end an answer, beside the tokenizer's end-of-text token.
        marked: whether its own marks tell it apart: "### Response:" does, "User:" stands in any dialogue.
        source: where the field records these texts.
        strips: whether a prompt leaves out its input's outer blanks, as the chat templates of Llama 3 and Gemma do. A
            task's template cannot say that.
    """

    name: str
    turn: str
    system: str = ""
    default_system: str = ""
    stops: tuple[str, ...] = ()
    marked: bool = True
    source: str = ""
    strips: bool = False

    def __post_init__(self) -> None:
        most = {INPUT: 1, SYSTEM: 1 if self.system else 0, INSTRUCTION: 1}
        for slot, count in most.items():
            if self.turn.count(slot) > count or (slot == INPUT and slot not in self.turn):
                raise SettingError(
                    f"The prompt format {self.name} has {slot} {self.turn.count(slot)} times in its turn, "
                    f"it may have it {'once' if count else 'only with a system text'}.",
                    "Write every slot once.",
                )
        if self.system and (self.system.count(SYSTEM) != 1 or SYSTEM not in self.turn or INPUT in self.system):
            raise SettingError(
                f"The prompt format {self.name} has a system text without a place for it.",
                f"Write {SYSTEM} once in `system` and once in `turn`.",
            )
        if self.default_system and not self.system:
            raise SettingError(f"The prompt format {self.name} has a default_system but no `system`.", "Write both.")

    @property
    def needs_instruction(self) -> bool:
        """Whether a prompt has to say what to do apart from what to do it with."""
        return INSTRUCTION in self.turn

    def template(self, system: str | None = None, instruction: str = "") -> str:
        """The format as a task's template: text with one `{input}`, which is all that a ledger has to remember.

        Args:
            system: a system text in place of the default one; "" for none.
            instruction: what to do, where the format wants it apart from the input.

        Raises:
            SettingError: the format has no such place, or lacks what goes there, or a text has a slot in it.
        """
        told = self.default_system if system is None else system
        if told and not self.system:
            raise SettingError(f"The prompt format {self.name} has no system text.", "Leave the system text out.")
        if bool(instruction) != self.needs_instruction:
            lacking = "needs an instruction" if self.needs_instruction else "has no place for an instruction"
            raise SettingError(
                f"The prompt format {self.name} {lacking}.",
                f"Take its text from `lorauter tasks formats`, write what to do in place of {INSTRUCTION}, and give "
                "that text as the template."
                if self.needs_instruction
                else "Leave the instruction out.",
            )
        for text in (told, instruction):
            if INPUT in text:
                raise SettingError(f"{INPUT} stands in a system text or an instruction.", "Take it out there.")
        texts = {SYSTEM: self.system.replace(SYSTEM, told) if told else "", INSTRUCTION: instruction}
        return _filled(self.turn, texts)

    def prompt(self, text: str, system: str | None = None, instruction: str = "") -> str:
        """The prompt for an input, up to where the answer begins."""
        return self.template(system, instruction).replace(INPUT, text.strip() if self.strips else text)


def of_template(template: str, name: str = "own", stops: tuple[str, ...] = ()) -> PromptFormat:
    """The format whose template this is: text with one `{input}`, all other braces as they stand.

    Raises:
        SettingError: there is no `{input}`, more than one, or a slot that a template has no text for.
    """
    for slot in (SYSTEM, INSTRUCTION):
        if slot in template:
            raise SettingError(f"The template has {slot}, which nothing fills.", f"Leave {INPUT} as the only slot.")
    return PromptFormat(name, template, stops=stops)


def chat_name(owner: str) -> str:
    """What the chat template of a base or a repo is called as a format."""
    return f"chat template of {owner}"


def _filled(turn: str, texts: dict[str, str]) -> str:
    """The turn with its slots filled at once: a text that holds a slot's name stays as it is."""
    parts, rest = [], turn
    while places := {rest.find(slot): slot for slot in texts if slot in rest}:
        place = min(places)
        parts += [rest[:place], texts[places[place]]]
        rest = rest[place + len(places[place]) :]
    return "".join([*parts, rest])
