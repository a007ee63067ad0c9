#!/bin/sh
# Install dist/*.whl alone in a new virtual environment, outside of the checkout, and train the demo's first 50
# steps with it. Argument: the Python to make the environment with.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
unset PYTHONPATH
"$1" -m venv "$place/venv"
"$place/venv/bin/python" -m pip install --quiet --no-compile -c "$root/constraints.txt" "$root"/dist/*.whl
cd "$place"
PATH="$place/venv/bin:$PATH"
ganforge train dcgan --data mnist --run runs/demo --width 32 --kernel-size 4 --batch 128 --dense-units 256 --odd-maps keep --learning-rate 0.001 --discriminator-learning-rate 0.0002 --steps 50
ganforge sample runs/demo --count 16 --seed 7 --out samples.png
test -s samples.png
test -s runs/demo/report.html
# The lessons of the studio come from docs/, which the wheel must bring along.
lessons=$(python -c 'import ganforge, pathlib; print(pathlib.Path(ganforge.__file__).parent / "studio" / "lessons")')
for page in "$root"/docs/systems/*.md; do test -s "$lessons/systems/${page##*/}"; done
test -s "$lessons/images/gan-mnist.png"
