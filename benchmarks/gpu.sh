#!/usr/bin/env bash
# All that docs/gpu.md asks of a GPU, what matters most first, in at most eight minutes.
set -uo pipefail

usage() {
  cat <<'TEXT'
usage: benchmarks/gpu.sh [--out DIR] [--minutes N] [--dry-run] [--interpret]

  --out DIR     where results go (default: benchmarks/results of the checkout)
  --minutes N   what all steps may take together (default: 8; 40 with --interpret)
  --dry-run     print every step, its limit and its command; run nothing
  --interpret   without a GPU: the same steps on the CPU, tiny, the kernels in Triton's interpreter

Run it in the environment that clifctl is installed in (pip install '.[test]'). Each step has a time
limit, and files of its own that are there when it ends: DATE-gpu-STEP-DEVICE.log with what it said,
and .json or .csv with its result. A step that fails does not stop the next. At the end, and in
DATE-gpu-summary-DEVICE.txt while it goes on: what became of each. Exit 1 where one failed.
TEXT
}

refuse() {
  printf 'error: %s\nhint: %s\n' "$1" "$2" >&2
  exit 2
}

here=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 2
out=benchmarks/results minutes= dry_run=false interpret=false
while (($#)); do
  case $1 in
    --out | --minutes)
      [[ $# -ge 2 ]] || refuse "$1 needs a value" "benchmarks/gpu.sh --help"
      if [[ $1 == --minutes ]]; then minutes=$2; else out=$2; fi
      shift
      ;;
    --dry-run) dry_run=true ;;
    --interpret) interpret=true ;;
    -h | --help) usage; exit 0 ;;
    *) refuse "unknown option '$1'" "benchmarks/gpu.sh --help" ;;
  esac
  shift
done
# The interpreter is slow, and so may be the machine.
slower=1
$interpret && slower=5
minutes=${minutes:-$((8 * slower))}
[[ $minutes =~ ^[1-9][0-9]{0,3}$ ]] ||
  refuse "--minutes $minutes: must be a whole number from 1 on" "without it: 8"
[[ $out == benchmarks/results || $out == /* ]] || out=$here/$out

python=${PYTHON:-python}
export PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH}
device=gpu
if ! $dry_run; then
  "$python" -c 'import torch, typer, triton' 2>/dev/null ||
    refuse "'$python' cannot import torch, typer and triton" \
      "activate the environment that clifctl is installed in, or name its python: PYTHON=..."
  found=$("$python" - "$interpret" <<'PYTHON'
import sys
import torch
from clifctl.devices import CPU, GPU, device_name, gpu_available
if gpu_available() or sys.argv[1] == "true":
    print(device_name(torch.device(CPU if sys.argv[1] == "true" else GPU)))
PYTHON
  )
  [[ -n $found ]] ||
    refuse "torch finds no GPU here" "--dry-run prints the steps, --interpret tries them without one"
  device=$(tr -cs 'a-zA-Z0-9\n' - <<<"${found,,}" | sed 's/^-*//; s/-*$//')
  $interpret && device=interpreted-$device
  mkdir -p "$out" && [[ -w $out ]] || refuse "'$out' cannot be written" "give another --out DIR"
fi
stem=$(date +%F-%H%M%S)-gpu
summary=$out/$stem-summary-$device.txt

if $interpret; then
  export TRITON_INTERPRET=1 CUDA_VISIBLE_DEVICES=
  on=cpu shape=2x2x3x5x5 steps=2 batch=2 rounds=1 neurons=clif
  net=snn5 nets=snn5 input=(--batch 4 --steps 2 --workers 0,1 --override model.width=16 --override timesteps=1)
else
  on=cuda shape=6x64x64x32x32 steps=6 batch=128 rounds=7 neurons=clif,lif
  net=resnet18 nets=vgg11 input=(--batch 128 --steps 40 --workers 0,1,2,4,8)
fi

begun=$SECONDS failed=0 running='' ended=0
set -m # a step is a process group of its own, and ends as one

# stop CODE: ends the step that runs, which says what it has; those that follow are not begun.
stop() {
  ended=$1
  [[ -z $running ]] || kill -INT "$running" 2>/dev/null # timeout hands it on
}
trap 'stop 130' INT
trap 'stop 143' TERM HUP

# What became of a step: on the terminal, and in the summary.
tell() {
  printf '%-22s %-34s %s\n' "$@" | tee -a "$summary"
}

# step NAME LIMIT_S ENDING COMMAND...: '@' in the command is the file of its result.
step() {
  local name=$1 limit=$(($2 * slower)) result="$out/$stem-$1-$device.$3" log="$out/$stem-$1-$device.log"
  local left=$((minutes * 60 - SECONDS + begun)) started=$SECONDS status
  local command=() word
  for word in "${@:4}"; do
    [[ $word == @ ]] && word=$result
    command+=("$word")
  done
  if $dry_run; then
    printf '%s, at most %s s:\n ' "$name" "$limit"
    printf ' %q' "${command[@]}"
    printf '\n'
    return
  fi
  if ((ended)); then
    tell "$name" "not run: interrupted" ""
    return
  fi
  if ((left < 5)); then
    tell "$name" "not run: no time left" ""
    return
  fi
  limit=$((limit < left ? limit : left))
  # Python ends by SIGINT as by Ctrl-C: with what it has to say.
  timeout --signal=INT --kill-after=10 "$limit" "${command[@]}" </dev/null >"$log" 2>&1 &
  running=$!
  wait "$running"
  status=$?
  while kill -0 "$running" 2>/dev/null; do # a signal to this script has ended the wait
    wait "$running"
  done
  running=''
  local files=$log
  [[ -s $result && $result != "$log" ]] && files="$result $log"
  ((!ended)) || status=interrupted
  case $status in
    interrupted) tell "$name" "interrupted" "$files" ;;
    0) tell "$name" "done in $((SECONDS - started)) s" "$files" ;;
    124 | 137)
      failed=1
      tell "$name" "FAILED: cut short after $limit s" "$files"
      ;;
    *)
      failed=1
      tell "$name" "FAILED: exit $status after $((SECONDS - started)) s" "$files"
      ;;
  esac
}

clifctl=("$python" -m clifctl)
pytest=("$python" -m pytest -m gpu -v -p no:cacheprovider)
"$python" -c 'import xdist' 2>/dev/null && ! $interpret && pytest+=(-n "$(($(nproc) < 8 ? $(nproc) : 8))")

# Which machine this is, and whether its kernels do what the reference does.
step doctor 40 json "${clifctl[@]}" doctor -o @
# What a result rests on: equal numbers, equal bits, no waits, CUDA graphs.
step tests 110 log "${pytest[@]}" tests/gpu -k 'not every_length'
# The neuron alone: against eager torch and SpikingJelly, with the bytes kept for backward.
step neurons 50 json "${clifctl[@]}" bench neurons --device $on --neurons $neurons --shape $shape \
  --repeats $rounds -v -o @
# A net's training step, against ReLU, the plain path and SpikingJelly, with its peak memory.
step train-$net 90 json "${clifctl[@]}" bench train --device $on --model $net --timesteps $steps \
  --batch $batch --repeats $rounds --no-engine -v -o @
step train-$net-bfloat16 50 json "${clifctl[@]}" bench train --device $on --model $net \
  --timesteps $steps --batch $batch --precision bfloat16 --repeats $rounds --no-engine --no-peak -v -o @
# How long a step waits for its input, by number of workers.
step input 50 json "$python" benchmarks/input_pipeline.py --device $on "${input[@]}" --out @
step check-clif 40 json "${clifctl[@]}" neurons check clif -o @
step registers-clif 120 csv env -u TRITON_INTERPRET "${clifctl[@]}" neurons show clif --kernel triton \
  --registers -o @
# What is left of the time: inference, the other neurons and nets, what a run adds to a step, every
# length.
step eval-$net 50 json "${clifctl[@]}" bench eval --device $on --model $net --timesteps $steps \
  --batch $batch --repeats $rounds -v -o @
step train-$nets-engine 60 json "${clifctl[@]}" bench train --device $on --model $nets \
  --timesteps $steps --batch $batch --repeats $rounds --no-peak -v -o @
step neurons-all 60 json "${clifctl[@]}" bench neurons --device $on --shape $shape --repeats $rounds \
  -v -o @
step tests-every-length 120 log "${pytest[@]}" tests/gpu -k every_length

$dry_run && exit 0
printf 'in %s s; this list is in %s\n' "$((SECONDS - begun))" "$summary"
((!ended)) || exit "$ended"
exit $failed
