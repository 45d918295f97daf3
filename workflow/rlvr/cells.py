"""The cells of an experiment: what is answered and judged, one folder each."""

from __future__ import annotations

from dataclasses import dataclass

TRAINING = "training"
"""The prompt under which training puts a task."""
AS = "-as-"


@dataclass(frozen=True)
class Cell:
    """One arm's answers to one task's held-out items.

    arm: `base`, `sft`, `sft/<variant>` or `grpo/<variant>/seed<k>`. decoding: `greedy` or `sampled`, with `-as-<kind>`
    where the arm answers under another prompt than its own: that of `training`, or of the arms `base`, `sft`, `grpo`.
    prompt: whose prompt that is, `training` or a kind of arm.
    """

    arm: str
    task: str
    decoding: str
    prompt: str = TRAINING

    @property
    def mode(self) -> str:
        """`greedy` or `sampled`."""
        return self.decoding.partition(AS)[0]

    @property
    def crossed(self) -> bool:
        """Whether the arm answers under another prompt than its own."""
        return AS in self.decoding

    @property
    def name(self) -> str:
        return f"{self.arm}/{self.task}/{self.decoding}"

    @property
    def folder(self) -> str:
        """Within the folder of the experiment."""
        return f"eval/{self.name}"
