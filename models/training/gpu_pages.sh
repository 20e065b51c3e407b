#!/usr/bin/env bash
# Train an embedded model further on a machine with an NVIDIA GPU and a dozen cores, in stretches. From the repository's
# root:
#
#     models/training/gpu_pages.sh [MODEL] [MINUTES]
#
# MODEL is pages-large (the default) or pages-small. The first stretch starts from the embedded weights; the same command
# resumes what runs/gpu-MODEL holds, and stops after MINUTES (9 by default) with a checkpoint. The time left after the last
# step goes to the box refinement, in runs/gpu-MODEL-refined, whose model.safetensors is the one to serve;
# runs/gpu-MODEL/best.safetensors is the best model in validation before it.
# In the environment: OUTPUT names another folder than runs/gpu-MODEL. START names other weights to start from: a file, or
# pages-small:doubled for pages-large. RECIPE and REFINEMENT_RECIPE name other recipe files than MODEL.toml and
# MODEL-refinement.toml in models/training/recipes. These must be the same in every stretch; WORKERS and DEVICE may change.
# Needs the packages for training (make install); PYTHON names the interpreter. Exit status 0 when the run is complete
# or was stopped in time.
set -euo pipefail

model=${1:-pages-large}
end=$((SECONDS + ${2:-9} * 60))
folder=${OUTPUT:-runs/gpu-$model}
recipes=$(dirname "$0")/recipes
export OMP_NUM_THREADS=1

# Trains with the options given until the time is up; the run saves its checkpoint on SIGTERM.
train() {
    timeout --signal=TERM --kill-after=60 "$((end - SECONDS))" "${PYTHON:-python3}" -m service.cli.main train \
        --data pages --device "${DEVICE:-cuda}" --workers "${WORKERS:-14}" "$@"
}

status=0
train --model "${START:-$model}" --output "$folder" --recipe "${RECIPE:-$recipes/$model.toml}" || status=$?
if [ "$status" -eq 0 ] && [ "$SECONDS" -lt "$end" ]; then
    train --model "$folder/checkpoint.pt" --output "$folder-refined" \
        --recipe "${REFINEMENT_RECIPE:-$recipes/$model-refinement.toml}" || status=$?
fi
[ "$status" -eq 124 ] && status=0 # the time was up
exit "$status"
