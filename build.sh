#!/usr/bin/env bash
# Makes the environment if needed, runs the notebooks, renders the paper. `./build.sh --help` says more.
set -euo pipefail

help() {
  cat <<'TEXT'
Usage: ./build.sh [OPTIONS]          build the paper
       ./build.sh test [ARGUMENTS]   run the tests (arguments go to pytest)
       ./build.sh lab [ARGUMENTS]    open the notebooks in JupyterLab (arguments go to it)
       ./build.sh --explain FILE     say in plain words where a figure or table comes from

Without options: a small experiment is trained on this machine on built-in rooms (the quick profile), then
the paper is rebuilt from the recorded runs (the paper profile). Nothing finished is computed twice.
--data and --weights then concern the quick profile alone.

  --profile quick|paper   only this profile; paper with --data trains the runs that are missing
  --data FILE             nyu_depth_v2_labeled.mat or a half-resolution .h5 made from it (default: built-in rooms)
  --weights FILE          weights the encoder starts from: .pth, .pth.xz or .safetensors of a torchvision ResNet
  --device auto|cpu|cuda  where to compute (default: auto)
  --quiet                 say nothing but where the paper is, and what went wrong

The first run downloads the environment into .venv (Linux: 3 GB to download, 6 GB on disk; 3 to 7 minutes).
After that it takes about 7 minutes on two cores; a second time about 2. The tests: about 5.
PYTHON=/path/to/python ./build.sh uses that interpreter as it is and installs nothing (conda, clusters).
TEXT
}

quiet=''
say() { [[ -n $quiet ]] || printf '%s\n' "$*" >&2; }
stop() { printf '%s\n' "build.sh: $*" >&2; exit 2; }

here=$PWD
root=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
venv=$root/.venv

# A file named from where the caller stands, as an absolute path; a name that is no file, as it is.
file() {
  case $1 in
    /*) printf '%s' "$1" ;;
    *) if [[ -e $here/$1 || $1 == */* ]]; then printf '%s' "$here/$1"; else printf '%s' "$1"; fi ;;
  esac
}

find_python() {
  for candidate in python3 python3.13 python3.12 python3.11; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      printf '%s' "$candidate"
      return
    fi
  done
  stop "Python 3.11 or newer is needed ($(python3 --version 2>&1 || true) is what python3 is here); install one, or name it: PYTHON=/path/to/python ./build.sh."
}

# What pip is doing, on one line that keeps changing; nothing where nobody looks.
show_pip() {
  while IFS= read -r line; do
    case $line in
      Collecting* | Downloading* | *"Downloading "* | Installing*)
        if [[ -t 2 && -z $quiet ]]; then printf '\r\033[K  %.76s' "${line#"${line%%[![:space:]]*}"}" >&2; fi ;;
    esac
  done
  if [[ -t 2 ]]; then printf '\r\033[K' >&2; fi
}

# What the end of pip's log means, for the failures that people meet.
reason() {
  if grep -qi 'no space left' "$1"; then
    printf 'the disk is full; make room (10 GB in all) and start again'
  elif grep -qi 'ensurepip is not available\|No module named .*ensurepip' "$1"; then
    printf 'this Python comes without venv; install it (Debian, Ubuntu: apt install python3-venv) and start again'
  elif grep -qi 'proxyerror\|certificate_verify\|name resolution\|failed to establish\|timed out\|connection broken\|network is unreachable' "$1"; then
    printf 'the packages cannot be fetched; check the connection, and behind a proxy set HTTPS_PROXY, then start again'
  elif grep -qi 'failed building wheel\|failed to build\|gcc.* failed\|unable to find vcvarsall' "$1"; then
    printf 'a package has no ready-made file for this Python and machine and there is no compiler; use Python 3.11 to 3.13, or conda (README.md)'
  elif grep -qi 'no matching distribution\|could not find a version' "$1"; then
    printf 'a package is not to be had for this Python and machine; use Python 3.11 to 3.13 on 64-bit Linux or macOS, or conda (README.md)'
  else
    printf 'the lines above are the end of %s' "$1"
  fi
}

# .venv/lthdepth holds "installing PID" while pip works, "failed" if it gave up, and the stamp of what is installed
# when it is done.
make_environment() {
  local stamp state python log free started=$SECONDS
  stamp=$(cat "$root/constraints.txt" "$root/pyproject.toml" <(printf '%s' "$root") | cksum)
  state=$(cat "$venv/lthdepth" 2>/dev/null || true)
  if [[ $state == "$stamp" && -x $venv/bin/python ]]; then return; fi
  if [[ $state == installing* ]]; then
    if ps -p "${state#installing }" -o args= 2>/dev/null | grep -q build.sh; then
      stop "process ${state#installing } is making the environment in $venv; wait for it to end."
    fi
    find_python >/dev/null
    say "An installation was interrupted: making the environment anew."
    rm -rf "$venv"
  fi
  python=$(find_python)
  if ! compgen -G "$venv/lib/python3*/site-packages/torch" >/dev/null; then
    free=$(df -Pk "$root" | awk 'NR == 2 {print int($4 / 1048576)}')
    if ((free < 10)); then
      stop "making the environment needs 10 GB of free disk space and $root has $free GB; make room or use PYTHON=/path/to/python."
    fi
    say "Making the environment in .venv, once: about 3 GB to download, 6 GB on disk, 3 to 7 minutes."
  else
    say "Bringing the environment in .venv up to date."
  fi
  log=$venv/install.log
  mkdir -p "$venv"
  echo "installing $$" >"$venv/lthdepth"
  # pip keeps every download until the last has come, more than a small /tmp holds.
  mkdir -p "$venv/tmp"
  if ! { "$python" -m venv "$venv" && TMPDIR=$venv/tmp "$venv/bin/python" -m pip install --disable-pip-version-check --no-input \
    --progress-bar off -c "$root/constraints.txt" -e "${root}[test]"; } 2>&1 | tee "$log" | show_pip; then
    echo failed >"$venv/lthdepth"
    tail -n 15 "$log" >&2
    stop "the installation failed: $(reason "$log")."
  fi
  rm -rf "$venv/tmp"
  echo "$stamp" >"$venv/lthdepth"
  say "The environment is ready after $((SECONDS - started)) s."
}

profile='' data='' weights='' device=auto task=build rest=()
while (($#)); do
  case $1 in
    -h | --help) help; exit 0 ;;
    -q | --quiet) quiet=--quiet; shift ;;
    test | lab) task=$1; shift; rest=("$@"); break ;;
    --profile | --data | --weights | --device | --explain)
      [[ -n ${2:-} ]] || stop "$1 needs a value after it; ./build.sh --help lists what there is."
      case $1 in
        --profile) profile=$2 ;;
        --data) data=$(file "$2") ;;
        --weights) weights=$(file "$2") ;;
        --device) device=$2 ;;
        --explain) task=show rest=("$(file "$2")") ;;
      esac
      shift 2 ;;
    *) stop "\"$1\" is not something this script knows; ./build.sh --help lists what there is." ;;
  esac
done
case $profile in '' | quick | paper) ;; *) stop "there is no profile \"$profile\"; it is quick or paper." ;; esac

cd "$root"
export PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}" # also for an interpreter that has no lthdepth installed
if [[ -n ${PYTHON:-} ]]; then
  python=$(cd "$here" && command -v "$PYTHON") || stop "PYTHON=$PYTHON is no program here."
  [[ $python == /* ]] || python=$here/$python
  case $("$python" -c 'import sys, importlib.util as u
print("old" if sys.version_info < (3, 11) else "whole" if all(map(u.find_spec, ("torch", "h5py", "papermill"))) else "bare")' 2>/dev/null) in
    whole) ;;
    bare) stop "PYTHON=$PYTHON lacks packages that this project needs: install them (README.md), or leave PYTHON out." ;;
    old) stop "PYTHON=$PYTHON is older than Python 3.11." ;;
    *) stop "PYTHON=$PYTHON is no Python." ;;
  esac
else
  make_environment
  python=$venv/bin/python
fi

sources=($quiet ${data:+--data "$data"} ${weights:+--weights "$weights"} --device "$device")
case $task in
  test)
    if "$python" -c 'import xdist' 2>/dev/null; then rest=(-n auto ${rest[@]+"${rest[@]}"}); fi # all cores
    exec "$python" -m pytest ${rest[@]+"${rest[@]}"} ;;
  lab)
    [[ $(id -u) != 0 ]] || rest+=(--allow-root)
    exec "$python" -m jupyter lab --ip=127.0.0.1 --ServerApp.root_dir="$root" \
      --LabApp.default_url=/lab/tree/notebooks/01_data.ipynb ${rest[@]+"${rest[@]}"} ;;
  show) exec "$python" -m lthdepth show "${rest[@]}" ;;
esac
if [[ -n $profile ]]; then
  exec "$python" -m lthdepth build --profile "$profile" "${sources[@]}"
fi
"$python" -m lthdepth build --profile quick "${sources[@]}" || exit $?
exec "$python" -m lthdepth build --profile paper --device "$device" $quiet
