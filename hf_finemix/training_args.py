"""`FineMixTrainingArguments`: `TrainingArguments` with the settings of mixing and purification."""

from dataclasses import dataclass, field

from transformers import TrainingArguments
from transformers.trainer_utils import HubStrategy

from .choices import SELECTIONS
from .config import FineMixConfig
from .errors import InputError


@dataclass
class FineMixTrainingArguments(TrainingArguments):
    """
    [`~transformers.TrainingArguments`] plus what [`FineMixTrainer`] does before training.

    Args:
        keep_ratio (`float`, *optional*, defaults to 0.3):
            Share of scalars that keep the fine-tuned value, in [0, 1].
        selection (`str`, *optional*, defaults to `"random"`):
            `"random"`, `"smallest_drift"` or `"largest_drift"`.
        mix_seed (`int`, *optional*):
            Seed of the masks; defaults to `seed`.
        purify_top_k (`int`, *optional*, defaults to 200):
            Embedding rows to reset; 0 turns embedding purification off.
        frequency_floor (`int`, *optional*, defaults to 20):
            Token counts below it are raised to it.
        frequencies (`str`, *optional*, defaults to `"vocabulary"`):
            Where token counts come from: `"vocabulary"`, `"wordfreq"` or a text file.
        mix_exclude (`list[str]`, *optional*):
            Regular expressions; parameters that match keep the suspect's values.
        align_vocabulary (`bool`, *optional*, defaults to `False`):
            Pair the rows of vocabularies of another order by their tokens; see [`FineMixConfig`].
        allow_unmatched (`bool`, *optional*, defaults to `False`):
            Keep parameters that should have a pretrained counterpart and have none; see [`FineMixConfig`].
        allow_mixed (`bool`, *optional*, defaults to `False`):
            Mix a model that was mixed before.
        hub_strategy (`str`, *optional*, defaults to `"end"`):
            The one strategy that publishes no half-trained weights.
    """

    keep_ratio: float = field(
        default=0.3, metadata={"help": "Share of scalars that keep the fine-tuned value, from 0 to 1."}
    )
    selection: str = field(default="random", metadata={"help": f"Which scalars are kept: {', '.join(SELECTIONS)}."})
    mix_seed: int | None = field(default=None, metadata={"help": "Seed of the masks; `seed` if not given."})
    purify_top_k: int = field(default=200, metadata={"help": "Embedding rows to reset; 0 turns purification off."})
    frequency_floor: int = field(default=20, metadata={"help": "Token counts below it are raised to it."})
    frequencies: str = field(
        default="vocabulary", metadata={"help": "Source of token counts: vocabulary, wordfreq or a text file."}
    )
    mix_exclude: list[str] | None = field(
        default=None, metadata={"help": "Regular expressions; parameters that match keep the suspect's values."}
    )
    align_vocabulary: bool = field(
        default=False, metadata={"help": "Pair the rows of vocabularies of another order by their tokens."}
    )
    allow_unmatched: bool = field(
        default=False, metadata={"help": "Keep parameters that should have a pretrained counterpart and have none."}
    )
    allow_mixed: bool = field(default=False, metadata={"help": "Mix a model that was mixed before."})
    hub_strategy: HubStrategy | str = field(
        default="end", metadata={"help": "Only 'end', which publishes no half-trained weights, is possible."}
    )

    def __post_init__(self):
        super().__post_init__()
        self.fine_mix_config()

    def fine_mix_config(self) -> FineMixConfig:
        """
        Returns the settings as a [`FineMixConfig`].

        Raises:
            InputError: If one of them is out of range.
        """
        if isinstance(self.mix_exclude, str):
            raise InputError(f"`mix_exclude` is the string {self.mix_exclude!r}, but must be a list of strings.")
        return FineMixConfig(
            keep_ratio=self.keep_ratio,
            selection=self.selection,
            seed=self.seed if self.mix_seed is None else self.mix_seed,
            purify_top_k=self.purify_top_k,
            frequency_floor=self.frequency_floor,
            exclude=tuple(self.mix_exclude or ()),
            align_vocabulary=self.align_vocabulary,
            allow_unmatched=self.allow_unmatched,
        )
