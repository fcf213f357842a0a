# Sourced by wheel and newest, which are given a Python that has the repository's dependencies.
set -euo pipefail
python=$(cd "$(dirname "$1")" && pwd)/$(basename "$1")
repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
unset PYTHONPATH

# copy FOLDER: the files that git tracks, or would.
copy() {
    mkdir -p "$1"
    git -C "$repo" ls-files -z --cached --others --exclude-standard |
        tar --create --directory "$repo" --null --files-from - --ignore-failed-read | tar --extract --directory "$1"
}

# environment FOLDER: a virtual environment that finds what `python` has installed, but for what is editable there.
environment() {
    "$python" -m venv --without-pip "$1"
    local purelib="import sysconfig; print(sysconfig.get_path('purelib'))"
    "$python" -c "$purelib" > "$("$1/bin/python" -c "$purelib")/dependencies.pth"
}

# install FOLDER ARGUMENTS: pip install into an environment.
install() {
    "$python" -m pip --python "$1/bin/python" install --quiet --no-compile "${@:2}"
}
