"""The policy of the router `polar`: its versions in a folder, and what it learns from the ledger between batches.

Knows: files of states, rows of feedback as lessons. Does not know: how it learns (lorauter/bandit), who answers.

    home/polar/org--name/000001.safetensors

The file of the highest number is current. None is ever changed: to go back, move the later ones away. Two processes
that learn at once may write the same number, and the later file stays; what only the other one had learned is learned
again, as a state says what it has learned.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from catalog.errors import SettingError
from flows.answer.answered import MakeAnswers
from lorauter.bandit.lessons import Lesson, learn
from lorauter.bandit.options import PolicyOptions
from lorauter.bandit.state import BASE_ARM, PolarState, read_state, with_arms, write_state
from lorauter.routers.polar import fresh_policy
from lorauter.routing.task_index import TaskIndex
from warehouse.ledger.ledger import Ledger
from warehouse.records.feedback import feedback_on

_ENDING = ".safetensors"


@dataclass(frozen=True, slots=True)
class PolicyFolder:
    """Where the states of one home lie.

    Args:
        root: one folder a base.
        options: constants of the policy.
        capacity: places of the bank.
    """

    root: Path
    options: PolicyOptions
    capacity: int

    def current(self, index: TaskIndex) -> PolarState:
        """The current state for a catalog; one that has learned nothing where there is no file.

        Raises:
            SettingError: the file is damaged, or of another base or encoder.
        """
        paths = self._paths(index)
        if not paths:
            return fresh_policy(index, self.options, self.capacity)
        state = read_state(paths[-1])
        wanted = index.base, index.base_sha, index.encoder.hash
        for kind, own, other in zip(
            ("base", "base revision", "encoder"), (state.base, state.base_sha, state.encoder), wanted, strict=True
        ):
            if own != other:
                raise SettingError(
                    f"The policy in {paths[-1]} learned on the {kind} {own}, and the snapshot is of {other}.",
                    f"Move {paths[-1].parent} away to learn anew, or answer by the snapshot that it learned on.",
                )
        return with_arms(self._as_set(state), index.adapters)

    def learned(self, index: TaskIndex, ledger: Ledger) -> PolarState:
        """The current state after everything that was said of its answers since; a new file where that was anything."""
        before = self.current(index)
        lessons = lessons_on(ledger, before)
        state = with_arms(before, index.adapters, {lesson.arm for lesson in lessons})
        if learn(state, lessons) or not before.version or not self._holds(index, state):
            state = replace(state, version=before.version + 1)
            write_state(self._folder(index) / f"{state.version:06d}{_ENDING}", state)
        return state

    def _holds(self, index: TaskIndex, state: PolarState) -> bool:
        """Whether the current file has those arms."""
        return read_state(self._paths(index)[-1]).names == state.names

    def _as_set(self, state: PolarState) -> PolarState:
        """The state under the settings of today; what they do not change any more is as the state has it."""
        options = replace(self.options.polar(self.capacity), ridge=state.polar.options.ridge)
        state.polar.options = options
        return replace(state, load_cost=self.options.load_cost)

    def _folder(self, index: TaskIndex) -> Path:
        return self.root / index.base.replace("/", "--")

    def _paths(self, index: TaskIndex) -> list[Path]:
        files = self._folder(index).glob(f"*{_ENDING}")
        return sorted((path for path in files if path.stem.isdecimal()), key=lambda path: int(path.stem))


@dataclass(frozen=True, slots=True)
class PolicyPart:
    """A policy's part in a batch of answers.

    Args:
        state: what chooses.
        make: gives its answers, with its resident adapters kept in the bank.
    """

    state: PolarState
    make: MakeAnswers

    @property
    def name(self) -> list[object]:
        """What a chunk of answers is known by."""
        return [self.state.lineage, self.state.version]


def lessons_on(ledger: Ledger, state: PolarState) -> list[Lesson]:
    """What the ledger says of a policy's answers, oldest first."""
    return [
        Lesson(row.answer, row.adapters[0] if row.adapters else BASE_ARM, row.context or (), row.score, at.isoformat())
        for at, row in feedback_on(ledger, state.lineage)
        if len(row.context or ()) == state.basis.d
    ]
