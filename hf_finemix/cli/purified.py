"""What `hf-finemix purify` has to say: the plan, or what became of it."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..printing import printable
from .answers import Answer
from .console import figures, show_plan, trials, wrapped


if TYPE_CHECKING:
    from ..job import Job
    from ..pipeline import PurifyResult
    from ..resets import TokenScore
    from ..results import Distillation, Recipe


def plan_answer(job: "Job", recipe: "Recipe", distillation: "Distillation", auto: bool, as_json: bool) -> Answer:
    """
    Returns what a dry run says.

    Args:
        job ([`~hf_finemix.job.Job`]): All inputs, and the plan.
        recipe, distillation ([`Recipe`], [`Distillation`]): The settings.
        auto (`bool`): Whether the reserve ratio is still to be chosen.
        as_json (`bool`): Whether a program wants it, which gets no plan that is refused; people see why it is.

    Raises:
        InputError: If the job would be refused.
    """
    from ..data import tokenize
    from ..evaluation import longest_input
    from ..generators.chat import encode
    from ..generators.conversations import is_conversations
    from ..job import rows_to_reset

    longest = longest_input(recipe.max_length, job.tokenizer, job.model)
    # Both refuse a limit that leaves no room for text.
    (encode if is_conversations(job.clean) else tokenize)(job.clean, job.tokenizer, longest)
    rows = rows_to_reset(job, recipe)
    if as_json:
        job.plan.check(job.pretrained.source)
    examples = len(job.clean)
    texts = examples + (0 if job.unlabeled is None else len(job.unlabeled))
    content = {
        "plan": job.plan.to_dict(),
        "auto": auto,
        "reset": [row.to_dict() for row in rows],
        "recipe": recipe.to_dict(),
        "distillation": distillation.to_dict(),
        "examples": examples,
        "texts": texts,
        "max_length": longest,
    }

    def show() -> None:
        show_plan(job.plan, job.pretrained.source)
        ratio = "that is still to be chosen" if auto else f"of {job.config.keep_ratio}"
        lines = [f"Of the mixed scalars a share {ratio} keeps the suspect's value ({job.config.selection})."]
        lines.append(f"Word embeddings to reset: {len(rows)}{_first(rows)}")
        if distillation.epochs:
            lines.append(
                f"Distillation: {texts} texts, {distillation.epochs} epochs, learning rate "
                f"{distillation.learning_rate}, batches of {distillation.batch_size}."
            )
        lines.append(
            f"Fine-tuning: {examples} examples, {recipe.epochs} epochs, learning rate {recipe.learning_rate}, "
            f"batches of {recipe.batch_size}, inputs of up to {longest} tokens."
        )
        print("\n".join(map(wrapped, [*lines, "Nothing was changed or written."])))

    return Answer(content, show)


def _first(rows: "tuple[TokenScore, ...]") -> str:
    if not rows:
        return ""
    return ", the most suspicious first: " + " ".join(printable(row.token or f"id {row.id}") for row in rows[:10])


def content_of(result: "PurifyResult", output: str) -> dict[str, Any]:
    """Returns the JSON of what was done, without what was published."""
    from ..loading import CARD_FILE
    from ..results import REPORT_FILE

    report = result.report
    return {
        "output": output,
        "card": str(Path(output) / CARD_FILE),
        "report": str(Path(output) / REPORT_FILE),
        "evaluations": {name: evaluation.to_dict() for name, evaluation in report.evaluations.items()},
        "search": None if report.search is None else report.search.to_dict(),
        "published": None,
    }


def print_result(result: "PurifyResult", output: str) -> None:
    """Prints the figures, and where the model is."""
    from ..loading import CARD_FILE

    if result.report.search is not None:
        print(f"{trials(result.report.search)}\n")
    if result.report.evaluations:
        print(f"{figures(result.report.evaluations)}\n")
    else:
        print("Nothing was measured; --eval-data measures the model before and after.")
    print(f"Purified model: {output} (its card: {Path(output) / CARD_FILE})")
