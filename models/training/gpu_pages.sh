#!/usr/bin/env bash
# Train pages-small further on a machine with an NVIDIA GPU and a dozen cores, in stretches. From the repository's root:
#
#     models/training/gpu_pages.sh [FOLDER] [MINUTES]
#
# goes on from the embedded weights, or from what FOLDER (runs/gpu-pages unless given) holds, and stops after MINUTES
# (9 unless given) with a checkpoint; the same command goes on. STAGES, BATCH, WORKERS, RATE, OPTIMIZER and DEVICE may be
# set beforehand, but must be the same in every stretch, as they decide the outcome. FOLDER/best.safetensors is what
# validation liked best.
# Needs the project with its train extra; PYTHON names the interpreter. Exit status 0 when the run is complete or was
# stopped in time.
set -euo pipefail

folder=${1:-runs/gpu-pages}
minutes=${2:-9}
python=${PYTHON:-python3}
export OMP_NUM_THREADS=1

status=0
timeout --signal=TERM --kill-after=60 "$((minutes * 60))" "$python" -m service.cli train \
    --data pages --model pages-small --output "$folder" --device "${DEVICE:-cuda}" --precision bf16 --hybrid --no-flip \
    --stages "${STAGES:-2000:256-304,6000:304-368}" --batch-size "${BATCH:-64}" --workers "${WORKERS:-14}" \
    --optimizer "${OPTIMIZER:-muon}" --learning-rate "${RATE:-4e-4}" --backbone-rate "${RATE:-4e-4}" \
    --schedule wsd --warmup 200 --clip 1 --ema 0.999 \
    --save-every 200 --eval-every 1000 --eval-images 100 || status=$?
# 124: the time was up. The run saved its checkpoint on SIGTERM.
[ "$status" -eq 124 ] && status=0
exit "$status"
