#!/usr/bin/env bash
# GPU checks, for a machine with an NVIDIA GPU (Ampere or later). From the repository's root:
#
#     models/benchmarks/gpu_check.sh [FOLDER]
#
# decides these claims, which are for an H100, and writes FOLDER/claims.json (default FOLDER: gpu-check):
#
#   tests       the tests marked gpu pass
#   detr        DETR-R50 at 800 x 1066 in bf16, batch 8, is at least 2 times as fast as transformers' model
#   outputs     ours and transformers' model differ in float32 by at most 0.001 in a class's probability and in a box
#   unequal     encoder and decoder of 8 images of unequal sizes, in bf16, are at least 1.5 times as fast where attention
#               is one call as where it is one image after another
#   unequal-detr  and DETR-R50 is at least 1.5 times as fast for them as transformers' model, which pads
#   unequal-outputs  and in a class's probability and in a box the two ways differ by at most 0.05
#   http        images a second through HTTP are at least 0.85 of those of the loop in process
#   tangent-16k tangent attention is at least 3 times as fast as fused exact attention at N >= 16000, bf16, batch 8
#   tangent-4k  and at least 1.3 times at N = 4200
#
# The JSON files beside it are what they follow from. Two more tables have no claim: exact attention against ACT by
# stage, and the time that a score threshold saves. A step that fails or exceeds its time is named at the end, and the
# others still run: all of it takes at most 8 minutes. The exit status is nonzero if a step failed or a claim is not
# met or could not be measured. Needs the project with its dev extra; PYTHON names the interpreter.
#
# DEVICE=cpu QUICK=1 tries the script itself on a machine without a GPU, with small images. Claims then mean nothing.
set -uo pipefail

folder=${1:-gpu-check}
python=${PYTHON:-python3}
device=${DEVICE:-cuda}
quick=${QUICK:-}
failed=()
mkdir -p "$folder"
rm -f "$folder"/*.json "$folder"/*.txt

# step NAME SECONDS COMMAND... runs a command; what it prints goes to FOLDER/NAME.txt, too.
step() {
    local name=$1 seconds=$2
    shift 2
    echo "== $name"
    timeout --kill-after=10 "$seconds" "$@" 2>&1 | tee "$folder/$name.txt" || failed+=("$name")
}

# benchmark NAME SECONDS MODULE ARGUMENTS... runs a benchmark that writes FOLDER/NAME.json.
benchmark() {
    local name=$1 seconds=$2 module=$3
    shift 3
    step "$name" "$seconds" "$python" -m "$module" --device "$device" "$@" --output "$folder/$name.json"
}

if [ "$device" = cuda ]; then
    step device 20 "$python" -c 'import torch; assert torch.cuda.is_available(), "no CUDA device"
import triton; print("torch", torch.__version__, "triton", triton.__version__, torch.cuda.get_device_name())'
fi
if [ -n "$quick" ]; then
    size=96x128 sizes="96x128 64x160" batch=2 repeats=2 large=1200 middle=638 pages=1 seconds=1 rounds=1
else
    size=800x1066 sizes="800x1066 800x1333 800x800 800x1200" batch=8 repeats=7 large=16800 middle=4200 pages=20 seconds=4 rounds=2
fi

step tests 80 "$python" -m pytest -m gpu tests/models -q
benchmark detr-bf16 60 models.benchmarks.throughput --model r50 --precision bf16 --size "$size" --batch "$batch" \
    --attention exact tangent --repeats "$repeats"
benchmark detr-fp32 40 models.benchmarks.throughput --model r50 --precision fp32 --size "$size" --batch 1 \
    --repeats "$repeats"
benchmark dc5-bf16 50 models.benchmarks.throughput --model dc5 --precision bf16 --size "$size" --batch "$batch" \
    --attention exact tangent tangent:C=16 --repeats "$repeats"
benchmark tangent 60 models.benchmarks.tangent --precision bf16 --images "$batch" --tokens "$middle" "$large" \
    --attention tangent:C=16 tangent:C=32 act --repeats "$repeats"
# shellcheck disable=SC2086  # the sizes are several words
benchmark unequal-bf16 50 models.benchmarks.unequal --sizes $sizes --batch "$batch" --repeats "$repeats"
benchmark http 60 deploy.loadtest.serving --threads 1 --callers 1 8 --seconds "$seconds" --rounds "$rounds"
benchmark attention 30 models.benchmarks.attention --dtype float16 --images "$batch" --tokens "$middle" \
    --repeats "$repeats"
benchmark threshold 30 models.benchmarks.threshold --pages "$pages" --repeats "$repeats"

"$python" -m models.benchmarks.gpu_claims "$folder" --failed "${failed[@]}"
