"""The output folder of a job: weights, tokenizer, evidence, and the report as a page."""

from transformers import PreTrainedModel

from .card import DefenseCard
from .differences import Differences
from .evidence import saved_files, saved_tokenizer, write_evidence
from .job import Job
from .loading import quiet_loading
from .manifest import Manifest
from .output import staged_folder


def write_job(
    job: Job,
    model: PreTrainedModel,
    card: DefenseCard,
    manifest: Manifest,
    figure: bytes | None,
    differences: Differences | None,
) -> None:
    """
    Writes the output folder of a job, which appears whole or not at all.

    Args:
        job ([`~hf_finemix.job.Job`]): The job.
        model ([`~transformers.PreTrainedModel`]): The purified model.
        card ([`~hf_finemix.card.DefenseCard`]): Its card, with the report.
        manifest ([`~hf_finemix.manifest.Manifest`]): Its manifest but for the outputs.
        figure (`bytes`, *optional*): The frontier as a PNG.
        differences ([`~hf_finemix.differences.Differences`], *optional*): Examples that are labelled differently now.
    """
    with staged_folder(job.output) as folder:
        # The name of the folder that the suspect was loaded from is a path of this machine.
        model.config._name_or_path = ""
        with quiet_loading():
            model.save_pretrained(folder)
        if figure is not None:
            path = folder / card.report.frontier.file
            path.parent.mkdir()
            path.write_bytes(figure)
        tokenizer_files = saved_tokenizer(job.tokenizer, folder)
        write_evidence(folder, card, manifest, saved_files(folder) | tokenizer_files, differences=differences)
