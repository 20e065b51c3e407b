#!/usr/bin/env bash
# Train pages-small further on a machine with an NVIDIA GPU and a dozen cores, in stretches. From the repository's root:
#
#     models/training/gpu_pages.sh [FOLDER] [MINUTES]
#
# starts from the embedded weights, or resumes what FOLDER (runs/gpu-pages by default) holds, and stops after MINUTES
# (9 by default) with a checkpoint; the same command resumes it. RECIPE and REFINEMENT_RECIPE name other recipe files than
# models/training/recipes/pages.toml and pages-refinement.toml; they must be the same in every stretch. WORKERS and DEVICE
# may change. FOLDER/best.safetensors is the best model in validation. The time left after the last step goes to the box
# refinement, in FOLDER-refined, whose model.safetensors is the one to serve.
# Needs the packages for training (make install); PYTHON names the interpreter. Exit status 0 when the run is complete
# or was stopped in time.
set -euo pipefail

folder=${1:-runs/gpu-pages}
end=$((SECONDS + ${2:-9} * 60))
recipes=$(dirname "$0")/recipes
export OMP_NUM_THREADS=1

# Trains with the options given until the time is up; the run saves its checkpoint on SIGTERM.
train() {
    timeout --signal=TERM --kill-after=60 "$((end - SECONDS))" "${PYTHON:-python3}" -m service.cli.main train \
        --data pages --device "${DEVICE:-cuda}" --workers "${WORKERS:-14}" "$@"
}

status=0
train --model pages-small --output "$folder" --recipe "${RECIPE:-$recipes/pages.toml}" || status=$?
if [ "$status" -eq 0 ] && [ "$SECONDS" -lt "$end" ]; then
    train --model "$folder/checkpoint.pt" --output "$folder-refined" \
        --recipe "${REFINEMENT_RECIPE:-$recipes/pages-refinement.toml}" || status=$?
fi
[ "$status" -eq 124 ] && status=0 # the time was up
exit "$status"
