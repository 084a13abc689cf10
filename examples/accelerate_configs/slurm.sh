#!/bin/bash
# sbatch examples/accelerate_configs/slurm.sh examples/train.py ARGUMENTS
#SBATCH --job-name=finemix
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=32
#SBATCH --time=02:00:00
set -euo pipefail

first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
# One launcher on each machine; each starts a process for each of its GPUs.
srun bash -c "accelerate launch \
    --config_file examples/accelerate_configs/two_machines.yaml \
    --num_machines $SLURM_NNODES --num_processes $((SLURM_NNODES * 8)) \
    --machine_rank \$SLURM_NODEID --main_process_ip $first --main_process_port 29500 \
    $*"
