#!/usr/bin/env bash
# Train pages-small further on a machine with an NVIDIA GPU and a dozen cores, in stretches. From the repository's root:
#
#     models/training/gpu_pages.sh [FOLDER] [MINUTES]
#
# goes on from the embedded weights, or from what FOLDER (runs/gpu-pages unless given) holds, and stops after MINUTES
# (9 unless given) with a checkpoint; the same command goes on. STAGES, BATCH, WORKERS, RATE, OPTIMIZER and DEVICE may be
# set beforehand, but must be the same in every stretch, as they decide the outcome. FOLDER/best.safetensors is what
# validation liked best. What time is left after the last step goes to the box refinement, in FOLDER-refined, whose
# model.safetensors is what to serve.
# Needs the project with its train extra; PYTHON names the interpreter. Exit status 0 when the run is complete or was
# stopped in time.
set -euo pipefail

folder=${1:-runs/gpu-pages}
end=$((SECONDS + ${2:-9} * 60))
python=${PYTHON:-python3}
batch=${BATCH:-64}
export OMP_NUM_THREADS=1

# Trains with the options given until the time is up; the run saves its checkpoint on SIGTERM.
train() {
    timeout --signal=TERM --kill-after=60 "$((end - SECONDS))" "$python" -m service.cli.main train \
        --data pages --device "${DEVICE:-cuda}" --precision bf16 --no-flip --batch-size "$batch" --workers "${WORKERS:-14}" \
        --save-every 200 --eval-every 1000 --eval-images 100 "$@"
}

status=0
train --model pages-small --output "$folder" --hybrid --stages "${STAGES:-2000:256-304,6000:304-368}" \
    --optimizer "${OPTIMIZER:-muon}" --learning-rate "${RATE:-4e-4}" --backbone-rate "${RATE:-4e-4}" \
    --schedule wsd --warmup 200 --clip 1 --ema 0.999 || status=$?
if [ "$status" -eq 0 ] && [ "$SECONDS" -lt "$end" ]; then
    train --model "$folder/checkpoint.pt" --output "$folder-refined" --refine-boxes \
        --stages "${REFINE_STAGES:-1000:304-400}" || status=$?
fi
[ "$status" -eq 124 ] && status=0 # the time was up
exit "$status"
