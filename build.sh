#!/usr/bin/env bash
# ./build.sh [OPTIONS]          make the environment if needed, run the notebooks, render the paper
# ./build.sh test [ARGUMENTS]   run the tests (arguments go to pytest)
# ./build.sh lab [ARGUMENTS]    open the notebooks in JupyterLab (arguments go to it)
# ./build.sh --explain FILE     say in plain words where a figure or table comes from
#
# Without options: a small experiment is trained here on built-in rooms (the quick profile; --data and --weights
# concern it alone), then the paper is rebuilt from the recorded runs (the paper profile). Nothing is computed twice.
#   --profile quick|paper   only this profile; paper with --data trains the runs that are missing
#   --data FILE             nyu_depth_v2_labeled.mat or a half-resolution .h5 made from it (default: built-in rooms)
#   --weights FILE          weights the encoder starts from: .pth, .pth.xz or .safetensors of a torchvision ResNet
#   --device auto|cpu|cuda  where to compute (default: auto)
#   --pdf                   print the paper to a PDF too (needs Chromium)
#   --quiet                 say nothing but where the paper is, and what went wrong
# PYTHON=/path/to/python ./build.sh uses that interpreter as it is and installs nothing (conda, clusters).

[[ $- == *p* ]] || exec "$BASH" -p "${BASH_SOURCE[0]}" "$@" # without functions, options and CDPATH of the caller
set -euo pipefail
unset BASH_ENV ENV CDPATH GREP_OPTIONS
say() { [[ -n $quiet ]] || printf '%s\n' "$*" >&2; }
stop() { printf '%s\n' "build.sh: $*" >&2; exit 2; }
value() { [[ -n ${2:-} ]] || stop "$1 needs a value after it; ./build.sh --help lists what there is."; }

make_environment() { # .venv/lthdepth says what is installed; while pip works, and where it was killed, it is absent
  local stamp free line why log=$venv/install.log
  stamp=$(cd "$root" && { cat constraints.txt; pwd; } | cksum)
  if [[ -x $venv/bin/python && $(cat "$venv/lthdepth" 2>/dev/null) == "$stamp" ]]; then return; fi
  [[ -w $root ]] || stop "$root cannot be written; copy it to a folder that can, or use PYTHON=/path/to/python."
  for python in python3 python3.13 python3.12 python3.11 ''; do
    if "$python" -c 'import sys, ensurepip; assert sys.version_info >= (3, 11)' 2>/dev/null; then break; fi
  done
  [[ -n $python ]] || stop "Python 3.11 or newer with venv is needed (Debian, Ubuntu: apt install python3-venv)."
  exec 9>"$root/.venv.lock" # pip holds it too, until it has ended
  [[ $("$python" -c 'import fcntl; fcntl.flock(9, fcntl.LOCK_EX | fcntl.LOCK_NB)' 2>&1) != *BlockingIOError* ]] ||
    stop "another build.sh is making the environment in $venv; wait for it to end."
  rm -rf "$venv"
  free=$(df -Pk "$root" | { read -r; read -r _ _ _ free _; echo $((free / 1048576)); })
  ((free >= 10)) || stop "making the environment needs 10 GB of free disk space and $root has $free GB; make room."
  say "Making the environment in .venv, once: about 3 GB to download, 6 GB on disk, 3 to 7 minutes."
  mkdir -p "$venv/tmp" # pip keeps every download there until the last has come: more than a small /tmp holds
  if ! { "$python" -m venv "$venv" && PIP_USER=0 TMPDIR=$venv/tmp "$venv/bin/python" -m pip install --no-input \
    --disable-pip-version-check --progress-bar off -c "$root/constraints.txt" -e "${root}[test]"; } 2>&1 | tee "$log" |
    while read -r line; do [[ ! -t 2 || -n $quiet ]] || printf '\r\033[K  %.76s' "$line" >&2; done; then
    why="the lines above are the end of $log"
    ! grep -qiE 'connection broken|timed out|name resolution' "$log" || why="no packages came; behind a proxy set HTTPS_PROXY"
    ! grep -qi 'no space left' "$log" || why='the disk is full; make room (10 GB in all)'
    printf '\n%s\n' "$(tail -n 15 "$log")" >&2
    stop "the installation failed: $why; docs/troubleshooting.md says more."
  fi
  echo "$stamp" >"$venv/lthdepth"
  exec 9>&-
}

root=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
venv=$root/.venv task=build profile='' quiet='' options=(--device auto) sources=()
while (($#)); do
  case $1 in
    -h | --help) sed -n '2,/^$/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit ;;
    test | lab) task=$1; shift; break ;;
    -q | --quiet) quiet=1 options+=(--quiet) ;;
    --pdf) options+=(--pdf) ;;
    --profile) value "$@"; profile=$2; shift ;;
    --explain) value "$@"; task=show file=$2; shift ;;
    --device) value "$@"; options+=("$1" "$2"); shift ;;
    --data | --weights) value "$@"; sources+=("$1" "$2"); shift ;;
    *) stop "\"$1\" is not something this script knows; ./build.sh --help lists what there is." ;;
  esac
  shift
done
[[ $profile =~ ^(quick|paper|)$ ]] || stop "there is no profile \"$profile\"; it is quick or paper."

[[ -w ${HOME:-/nowhere} ]] || { HOME=$(mktemp -d); export HOME; } # Jupyter and matplotlib keep files there
if [[ -n ${PYTHON:-} ]]; then
  python=$(type -P "$PYTHON" || true)
  [[ $python == /* ]] || python=$PWD/$python
  [[ $("$python" -c 'import sys, importlib.util as u
print(sys.version_info >= (3, 11) and all(map(u.find_spec, ("torch", "h5py", "papermill"))))' 2>/dev/null) == True ]] ||
    stop "PYTHON=$PYTHON is no Python 3.11 or newer with the packages of pyproject.toml (docs/troubleshooting.md)."
else
  unset PYTHONHOME PYTHONPATH
  make_environment
  python=$venv/bin/python
fi
if [[ $task == build && ! -w $root ]]; then
  copy=$(mktemp -d)
  say "$root cannot be written: building in a copy of it, $copy."
  cp -R "$root"/[!.]* "$copy" && chmod -R u+w "$copy" && root=$copy
fi
export PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}" # also for an interpreter that has no lthdepth installed

case $task in
  show) exec "$python" -P -m lthdepth show "$file" ;;
  test) cd "$root"; exec "$python" -m pytest $("$python" -c 'import xdist; print("-n auto")' 2>/dev/null) "$@" ;;
  lab) # notebooks/overrides.json answers JupyterLab's question about news
    exec "$python" -m jupyter lab --allow-root --ip=127.0.0.1 --ServerApp.root_dir="$root" \
      --LabApp.app_settings_dir="$root/notebooks" --LabApp.default_url=/lab/tree/notebooks/01_data.ipynb "$@" ;;
esac
[[ -n $profile ]] || "$python" -P -m lthdepth build --profile quick "${options[@]}" ${sources[@]+"${sources[@]}"}
[[ -n $profile ]] || sources=()
exec "$python" -P -m lthdepth build --profile "${profile:-paper}" "${options[@]}" ${sources[@]+"${sources[@]}"}
