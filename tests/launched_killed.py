"""
Run by test_killed_rank.py under torchrun: trains with checkpoints, and in one process kills itself at a step.

    torchrun --nproc-per-node 2 tests/launched_killed.py FOLDER OUTPUT STEP
"""

import os
import signal
import sys
import time
from pathlib import Path


os.environ["HF_HUB_OFFLINE"] = "1"
sys.path.insert(0, str(Path(__file__).parent.parent))

import torch
from transformers import TrainerCallback
from transformers.trainer_utils import get_last_checkpoint

from hf_finemix import FineMixTrainer
from hf_finemix.together import leave
from tests.launched import arguments, examples, suspect


class Killer(TrainerCallback):
    """Kills the last process after a step."""

    def __init__(self, step: int):
        self.step = step

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == self.step and args.process_index == args.world_size - 1:
            (Path(args.output_dir) / "death").write_text(str(time.time()))
            os.kill(os.getpid(), signal.SIGKILL)


def main(folder: Path, output: Path, step: int) -> None:
    """Trains for six steps, from the last checkpoint if there is one."""
    torch.set_num_threads(1)
    settings = {"output_dir": str(output), "max_steps": 6, "save_strategy": "steps", "save_steps": 2}
    trainer = FineMixTrainer(
        suspect(folder),
        arguments(folder, **settings),
        pretrained=folder / "base",
        train_dataset=examples(16),
        callbacks=[Killer(step)],
    )
    last = get_last_checkpoint(str(output)) if output.is_dir() else None
    trainer.train(resume_from_checkpoint=last)
    trainer.save_model()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
    leave(0)
