"""A row to export: the prompt as the other engine shall see it, how it decodes, and how long the answer may be.

Knows: what our own engine takes too. Does not know: any other engine's names for it.
"""

from __future__ import annotations

from dataclasses import dataclass

from lorauter.engine.decoding import GREEDY, Decoding, row_key
from lorauter.routing.routes import Mixture


@dataclass(frozen=True, slots=True)
class Asked:
    """One row of a batch.

    Args:
        prompt: the text as it is, template applied.
        mixture: its route's.
        max_new_tokens: the bound of the answer.
        stop: texts that end the answer, left out of it. Other engines stop at one that comes first of all, where ours
            passes over leading whitespace: give none that may, and cut what comes back with `stopping.cut_at_stop`.
        special_stops: whether a stop that is a special token is to end the answer too, where an engine has to be asked
            for that.
        decoding: greedy, or how tokens are drawn.
        sample: what tells drawn rows of one prompt apart.
    """

    prompt: str
    mixture: Mixture
    max_new_tokens: int
    stop: tuple[str, ...] = ()
    decoding: Decoding = GREEDY
    sample: str = ""
    special_stops: bool = False

    @property
    def seed(self) -> int:
        """A seed of the row's own, 1 to 2^31: under one seed other engines draw alike for alike prompts."""
        return (row_key(self.decoding, self.prompt, self.mixture, self.sample) >> 97) + 1
