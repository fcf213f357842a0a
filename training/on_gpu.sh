#!/usr/bin/env bash
# Trains the teacher and Beat from the compact files of PTB-XL, in one go. Meant for one large GPU, where it was not run
# yet; on two CPU cores with bfloat16 the teacher takes two hours, and 6,500 steps of Beat take one core an hour.
#
#     python -m heartcare.training.compact pack --ptbxl PTBXL_FOLDER --output runs/compact    # once, where PTB-XL is
#     training/on_gpu.sh runs/compact runs/gpu
#
# Nothing needs to be installed but torch, transformers and the package's other requirements: the repository's folder is
# found beside this script. NETWORKS, EPOCHS, STEPS, BATCH_SIZE and SIMULATED change the run.
set -euo pipefail
parts=$1 output=$2
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
mkdir -p "$output/package"
ln -sfn "$root" "$output/package/heartcare"
export PYTHONPATH="$output/package${PYTHONPATH:+:$PYTHONPATH}"
python=${PYTHON:-python}
data=(--ptbxl "$output/ptbxl" --cache "$output/cache")

$python -m heartcare.training.compact unpack --parts "$parts" "${data[@]}"
for network in ${NETWORKS:-resnet inception state_space}; do
    $python -m heartcare.training.teacher train "${data[@]}" --output "$output/teacher" --network "$network" \
        --epochs "${EPOCHS:-24}" --learning-rate "$([ "$network" = state_space ] && echo 2e-3 || echo 4e-3)" &
    jobs_started+=($!)
done
for job in "${jobs_started[@]}"; do wait "$job"; done
$python -m heartcare.training.teacher score "${data[@]}" --output "$output/teacher" --fold 9
$python -m heartcare.training.teacher label "${data[@]}" --output "$output/teacher"
$python -m heartcare.training.beat "${data[@]}" --soft-labels "$output/teacher/soft_labels.safetensors" --start "$root" \
    --output "$output/beat" --steps "${STEPS:-16000}" --batch-size "${BATCH_SIZE:-64}" --simulated "${SIMULATED:-2000}" \
    --bf16 \
    --set core_level='"parallel"' num_levels=3 stem_channels=48 num_patch_layers=1 absent_weight=0.1
