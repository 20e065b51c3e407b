#!/usr/bin/env bash
# GPU checks, for a machine with an NVIDIA GPU (Ampere or later). From the repository's root:
#
#     models/benchmarks/gpu_check.sh [FOLDER]
#
# runs the tests marked gpu, then three benchmarks: exact attention against ACT in float32 and float16, for one image
# and for eight; exact attention against ACT, K-means and tangent attention on real queries; and the time that a score
# threshold saves. Results go to FOLDER/attention-*.json, FOLDER/tangent-*.json and FOLDER/threshold.json (default
# FOLDER: gpu-check). It takes a few minutes and needs the project with its dev extra (torch 2.11 or later, which brings
# Triton). PYTHON names the interpreter. The exit status is nonzero if a test fails.
set -euo pipefail

folder=${1:-gpu-check}
python=${PYTHON:-python3}
mkdir -p "$folder"

"$python" -c 'import torch; assert torch.cuda.is_available(), "no CUDA device"
import triton; print("torch", torch.__version__, "triton", triton.__version__, torch.cuda.get_device_name())'

failed=0
"$python" -m pytest -m gpu tests -q 2>&1 | tee "$folder/tests.txt" || failed=1
for dtype in float32 float16; do
    for images in 1 8; do
        "$python" -m models.benchmarks.attention --device cuda --dtype "$dtype" --images "$images" \
            --output "$folder/attention-$dtype-$images.json" | tee "$folder/attention-$dtype-$images.txt"
    done
done
for precision in fp32 bf16; do
    "$python" -m models.benchmarks.tangent --device cuda --precision "$precision" \
        --output "$folder/tangent-$precision.json" | tee "$folder/tangent-$precision.txt"
done
"$python" -m models.benchmarks.threshold --device cuda --output "$folder/threshold.json" | tee "$folder/threshold.txt"
exit "$failed"
