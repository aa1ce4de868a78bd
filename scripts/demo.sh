#!/usr/bin/env bash
# Segments the urinary bladder in the CT that the repository ships, from one box on its middle slice, and shows what came
# out beside what needs no model. Sets up .venv by itself; results go to demo-output/ in the checkout.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/setup_env.sh"
cd "$repository"

sample=SegmentAnythingMed/Resources/SampleData/CTPelvisBladder
output=demo-output
box=122,55,188,111,14 # corner voxels I0,J0,I1,J1 on slice K = 14
mkdir -p "$output"

echo "Segmenting $sample/ct.nii.gz from the box $box ..."
"$(dirname "$venv_python")/segment-anything-med" segment "$sample/ct.nii.gz" --box "$box" --window soft-tissue --seed 0 \
    --output "$output/bladder.nii.gz" --report "$output/report.json" --figure "$output/figure.png" >/dev/null
"$venv_python" scripts/demo_report.py "$sample/ct.nii.gz" "$sample/labels.nii.gz" "$output"
