#!/bin/bash
# A bench on a Slurm cluster without Ray: one seed for each task of a job array, each in a folder of its own. Then the
# cells go into one folder, where nothing is left to compute.
#
#     sbatch --array=0-2 examples/benchmark/slurm_array.sh examples/benchmark/full.yaml results
#     bash examples/benchmark/slurm_array.sh examples/benchmark/full.yaml results
#     hf-finemix report results/all
#
#SBATCH --job-name=finemix-bench
#SBATCH --cpus-per-task=8
#SBATCH --gpus-per-task=1
#SBATCH --ntasks=1
#SBATCH --time=24:00:00
set -euo pipefail
config=$1 results=$2

if [ -n "${SLURM_ARRAY_TASK_ID:-}" ]; then
    mkdir -p "$results"
    # A task that was stopped goes on where it was when it is submitted again. The task N takes the Nth of the seeds.
    python - "$config" "$SLURM_ARRAY_TASK_ID" > "$results/seed-$SLURM_ARRAY_TASK_ID.yaml" <<'EOF'
import sys
import yaml

config = yaml.safe_load(open(sys.argv[1]))
print(yaml.safe_dump(config | {"seeds": [config.get("seeds", [0])[int(sys.argv[2])]]}))
EOF
    exec hf-finemix bench "$results/seed-$SLURM_ARRAY_TASK_ID.yaml" --output "$results/seed-$SLURM_ARRAY_TASK_ID"
fi

mkdir -p "$results/all"
for folder in "$results"/seed-*/; do
    cp -r "$folder/." "$results/all/"
done
hf-finemix bench "$config" --output "$results/all" --extend
