# Sourced by ./quickstart and ./test: looks for what a build needs, installs what is missing from Debian when it may,
# or prints the one line to run. Sets PATH so that a rustup toolchain of this user is found.

MSRV=1.88   # keep in step with Cargo.toml, `rust-version`; edge/tests/tidy.rs checks it

missing=()          # Debian packages

need_command() {    # need_command COMMAND PACKAGE
    command -v "$1" >/dev/null 2>&1 || missing+=("$2")
}

need_file() {       # need_file PATH PACKAGE
    [ -e "$1" ] || missing+=("$2")
}

# Is the first version (1.95.0) at least the second (1.88)?
at_least() {
    [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]
}

need_rust() {
    [ -d "$HOME/.cargo/bin" ] && PATH="$HOME/.cargo/bin:$PATH"
    local version
    version=$(rustc --version 2>/dev/null | cut -d' ' -f2)
    if [ -n "$version" ] && at_least "$version" "$MSRV" && command -v cargo >/dev/null; then
        return
    fi
    local debian
    debian=$(apt-cache policy rustc 2>/dev/null | sed -n 's/ *Candidate: \([0-9.]*\).*/\1/p')
    if [ -n "$debian" ] && at_least "$debian" "$MSRV"; then
        missing+=(rustc cargo)
        return
    fi
    echo "jet9 needs Rust $MSRV or newer (found: ${version:-none}; Debian offers ${debian:-none})." >&2
    echo "Install it from https://rustup.rs and run this again." >&2
    exit 1
}

need_build_tools() {
    need_rust
    need_command cc gcc
    need_command make make
    need_command cmake cmake      # for zlib-ng and aws-lc, which Pingora and rustls build
}

# Installs the pinned Python tools into DIRECTORY, which nothing else uses, and puts them on PATH. After install_missing.
python_tools() {    # python_tools DIRECTORY REQUIREMENTS
    if ! cmp -s "$2" "$1/installed.txt"; then
        echo "installing into $1: $(grep -v '^#' "$2" | cut -d' ' -f1 | xargs)" >&2
        rm -rf "$1"
        python3 -m venv "$1" && "$1/bin/pip" install --quiet --disable-pip-version-check -r "$2" && cp "$2" "$1/installed.txt"
    fi
    PATH="$(realpath "$1")/bin:$PATH"
}

# Installs what is missing, or says how.
install_missing() {
    [ ${#missing[@]} -eq 0 ] && return
    local line="apt-get install -y --no-install-recommends ${missing[*]}"
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        echo "installing: ${missing[*]}" >&2
        { apt-get update -qq && DEBIAN_FRONTEND=noninteractive $line; } >&2 || {
            echo "that failed; run it by hand: $line" >&2
            exit 1
        }
    else
        echo "some packages are missing. Run this, then try again:" >&2
        echo "  sudo $line" >&2
        exit 1
    fi
    missing=()
}
