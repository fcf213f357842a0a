#!/bin/bash
# Eight machines of eight GPUs: sbatch training/slurm.sh training/recipes/qwen2.5-7b-siglip.yaml runs/qwen joint
#SBATCH --job-name=heartcare
#SBATCH --nodes=8
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=64
#SBATCH --time=24:00:00
#SBATCH --requeue

set -euo pipefail
config=$1 output=$2 stage=$3
head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
# A job that was put back into the queue goes on where its last checkpoint is.
resume=$(compgen -G "$output/$stage/checkpoint-*" > /dev/null && echo --resume || true)
export OMP_NUM_THREADS=8
srun torchrun --nnodes "$SLURM_NNODES" --nproc-per-node 8 --rdzv-backend c10d --rdzv-endpoint "$head:29500" --rdzv-id "$SLURM_JOB_ID" \
    -m heartcare.training.heartcare --config "$config" --output "$output" --stage "$stage" $resume
