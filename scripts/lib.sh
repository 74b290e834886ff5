# shellcheck shell=bash
# Shared by the scripts of this folder, which source it. It finds the root of
# the repository, prints progress and installs what is missing on Debian 12.
#
#   root             the repository
#   tools            where the pinned Go tools are built
#   BUILD_PACKAGES   what building the BPF objects needs
#   LAB_PACKAGES     what the lab needs
#   BENCH_PACKAGES   what scripts/bench needs beside the lab's
#   TEST_PACKAGES    what else scripts/test needs
#   MACHINE_PACKAGES what virtual machines need, and the kernel that is built
#   SMALL_CODE       what makes a binary for routers small

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
tools=$root/.cache/tools
PATH=$tools:$PATH:/usr/local/go/bin:/usr/local/sbin:/usr/sbin:/sbin
export PATH

# The objects depend on the compiler, so that it is pinned: Debian 12's own.
CLANG_VERSION=14
# What need_tools takes: a command or a file, a colon, the Debian package.
# shellcheck disable=SC2034 # used by those who source this
BUILD_PACKAGES=(
  "clang-$CLANG_VERSION:clang-$CLANG_VERSION" "llvm-strip-$CLANG_VERSION:llvm-$CLANG_VERSION"
  /usr/include/bpf/bpf_helpers.h:libbpf-dev /usr/include/linux/bpf.h:linux-libc-dev
)
# shellcheck disable=SC2034
LAB_PACKAGES=(
  ip:iproute2 nft:nftables iptables:iptables wg:wireguard-tools dnsmasq:dnsmasq-base unbound:unbound
  nginx:nginx-light kdig:knot-dnsutils curl:curl conntrack:conntrack openssl:openssl ping:iputils-ping
  sysctl:procps
)
# shellcheck disable=SC2034
BENCH_PACKAGES=(dnsperf:dnsperf taskset:util-linux pidof:sysvinit-utils pgrep:procps)
# shellcheck disable=SC2034
TEST_PACKAGES=(
  git:git gcc:gcc /usr/include/stdio.h:libc6-dev shellcheck:shellcheck bpftool:bpftool modprobe:kmod
  /etc/ssl/certs/ca-certificates.crt:ca-certificates
)

# shellcheck disable=SC2034
PACKAGE_PACKAGES=(make:make busybox:busybox-static msgfmt:gettext xgettext:gettext signify-openbsd:signify-openbsd)
# shellcheck disable=SC2034
BROWSER_PACKAGES=(
  chromium:chromium node:nodejs npm:npm /usr/share/fonts/truetype/dejavu/DejaVuSans.ttf:fonts-dejavu-core
)
# shellcheck disable=SC2034
MACHINE_PACKAGES=(
  qemu-system-mips:qemu-system-mips qemu-system-arm:qemu-system-arm qemu-system-x86_64:qemu-system-x86
  qemu-system-s390x:qemu-system-misc mips-linux-gnu-gcc:gcc-mips-linux-gnu make:make gcc:gcc flex:flex bison:bison
  bc:bc cpio:cpio xz:xz-utils modprobe:kmod mke2fs:e2fsprogs /usr/include/openssl/ssl.h:libssl-dev
  /usr/include/libelf.h:libelf-dev
)

# Without inlining the code is a tenth smaller. It is kept where the speed of a
# tunnel, of TLS or of the collector depends on it: ChaCha20-Poly1305 falls to a
# quarter without. Of several patterns that match a package the last counts.
#
# A copy of a generic function is named after its types, in up to 700 octets, which
# stack traces do not show; of a longer name than this there is a hash of 64 digits.
# Deferred calls written out at each end of a function are some more. All packages
# need the same, or there are two copies of one function.
LESS=-d=maxshapelen=60,noopendefer=1
# shellcheck disable=SC2034
SMALL_CODE=(
  "-gcflags=all=-l $LESS"
  "-gcflags=golang.org/x/crypto/...=$LESS" "-gcflags=vendor/golang.org/x/crypto/...=$LESS"
  "-gcflags=crypto/internal/fips140/...=$LESS" "-gcflags=crypto/subtle=$LESS" "-gcflags=crypto/cipher=$LESS"
  "-gcflags=golang.zx2c4.com/wireguard/...=$LESS"
  "-gcflags=internal/byteorder=$LESS" "-gcflags=encoding/binary=$LESS" "-gcflags=math/bits=$LESS"
  "-gcflags=runtime/...=$LESS"
)

# say prints one line of progress, named after the script.
say() { printf '%s: %s\n' "${0##*/}" "$*"; }

# die ends the script with a message.
die() {
  printf '%s: error: %s\n' "${0##*/}" "$*" >&2
  exit 1
}

# usage prints the comment at the top of the script, without the #, and ends.
usage() {
  sed -n '2,/^[^#]/{ s/^# \{0,1\}//p; }' "$0"
  exit
}

# wrong ends the script because of how it was called.
wrong() {
  printf '%s: %s (see --help)\n' "${0##*/}" "$*" >&2
  exit 2
}

# need_root ends the script for anybody else.
need_root() {
  [[ $EUID == 0 ]] || die "must run as root: it makes network namespaces and loads BPF programs (try: sudo $0)"
}

# need_go checks that Go is there and new enough for go.mod.
need_go() {
  local want have
  want=$(awk '$1 == "go" { print $2 }' "$root/go.mod")
  command -v go >/dev/null || die "Go $want or newer is needed and no go was found: install it from https://go.dev/dl/"
  have=$(cd "$root" && go env GOVERSION 2>&1) || die "go does not start: $have"
  [[ $(printf '%s\n' "$want" "${have#go}" | sort -V | head -n 1) == "$want" ]] ||
    die "Go $want or newer is needed, this is ${have#go}: install it from https://go.dev/dl/"
}

# go_environment OS ARCH VARIANT exports what a cross-build needs, and sets
# GO_OVERLAY to the arguments that cure the toolchain. It fails for a variant
# that the architecture does not have.
go_environment() {
  export CGO_ENABLED=0 GOOS=$1 GOARCH=$2
  # shellcheck disable=SC2034
  GO_OVERLAY=()
  case $2 in
    arm) export GOARM=${3:-7} ;;
    386) export GO386=${3:-sse2} ;;
    mips64 | mips64le) export GOMIPS64=${3:-softfloat} ;;
    mips | mipsle) export GOMIPS=${3:-softfloat} ;;
    *) [[ -z $3 ]] || return ;;
  esac
  [[ $2 != mips ]] || timer_overlay
}

# timer_overlay sets GO_OVERLAY if the installed Go has golang/go#77934: on
# big-endian 32-bit MIPS it writes the nanoseconds of a time with 64-bit seconds
# where the kernel does not look for them, and every sleep of less than a second
# spins. The cure is the runtime's own file with the padding ahead of the
# nanoseconds. A Go in which that type looks otherwise is left as it is;
# test/machine/router fails when it has the fault all the same.
timer_overlay() {
  local source dir=$root/build/overlay
  source=$(go env GOROOT)/src/runtime/defs_linux_mipsx.go
  mkdir -p "$dir"
  awk '
    held != "" {
      cured = cured || $2 == "[4]byte"
      print $2 == "[4]byte" ? $0 "\n" held : held "\n" $0
      held = ""
      next
    }
    /^type timespec struct/ { inside = 1 }
    /^}/ { inside = 0 }
    inside && $1 == "tv_nsec" && $2 == "int32" { held = $0; next }
    { print }
    END { exit !cured }
  ' "$source" >"$dir/defs_linux_mipsx.go.new" || return 0
  mv "$dir/defs_linux_mipsx.go.new" "$dir/defs_linux_mipsx.go"
  printf '{"Replace": {"%s": "%s"}}\n' "$source" "$dir/defs_linux_mipsx.go" >"$dir/mips.json"
  # shellcheck disable=SC2034
  GO_OVERLAY=(-overlay "$dir/mips.json")
}

# What small_linker changes in the file of Go's linker that writes the tables of
# functions, a line of it and what stands there instead, in turn: tables of lines are
# not gathered, functions point to none, no file is named. And tables of how arguments
# lie on the stack are left out, by which traces give their values.
LINKER_EDITS=(
  'pcSyms := []loader.Sym{pcsp, pcfile, pcline}' 'pcSyms, _ := []loader.Sym{pcsp}, []loader.Sym{pcfile, pcline}'
  'uint32(ldr.SymValue(pcfile))' '0*uint32(pcfile)'
  'uint32(ldr.SymValue(pcline))' '0*uint32(pcline)'
  'startLine = fi.StartLine()' 'startLine = 0'
  'startLine = inlFunc.StartLine()' 'startLine = 0'
  'state.generateFilenameTabs(ctxt, compUnits, funcs)' 'state.generateFilenameTabs(ctxt, compUnits, nil)'
  # How arguments lie is not told, nor what stands behind it, and what is empty at the end.
  'fdSyms = ldr.Funcdata(s, fdSyms)'
  'for fdSyms = ldr.Funcdata(s, fdSyms); len(fdSyms) > abi.FUNCDATA_ArgInfo || len(fdSyms) > 0 && fdSyms[len(fdSyms)-1] == 0; { fdSyms = fdSyms[:len(fdSyms)-1] }'
  'numFuncData := ldr.NumFuncdata(s)' 'numFuncData := len(funcData(ldr, s, fi, 0, nil))'
)

# small_linker sets GO_LINKER to the arguments that have go build link by a linker
# which leaves files, lines and arguments out of the tables of functions. Stack traces
# of such a binary name functions and offsets, and scripts/trace adds the lines. The
# linker is the installed Go's, with LINKER_EDITS; it is built once for each Go. Where
# the installed Go's looks otherwise, or cannot be built, its own is used and a line
# says so; test/linker fails then.
small_linker() {
  local source dir key
  # shellcheck disable=SC2034
  GO_LINKER=()
  source=$(go env GOROOT)/src/cmd/link/internal/ld/pcln.go
  if ! key=$(edited_linker "$source" | cat - <(go version) | sha256sum); then
    say "note: this Go's linker is not the one that is known; the binary keeps files and lines"
    return
  fi
  key=${key:0:16}
  dir=$tools/link-$key
  [[ -x $dir/link ]] || build_linker "$source" "$dir" "$key" || {
    say "note: the linker without files and lines could not be built; the binary keeps them"
    return 0
  }
  # shellcheck disable=SC2034
  GO_LINKER=(-toolexec "'$dir/toolexec'")
}

# edited_linker FILE prints the file with LINKER_EDITS. It fails, and prints nothing,
# unless each of the lines is there exactly once.
edited_linker() {
  local text rest i from
  [[ -r $1 ]] || return
  text=$(<"$1")
  for ((i = 0; i < ${#LINKER_EDITS[@]}; i += 2)); do
    from=${LINKER_EDITS[i]}
    rest=${text//"$from"/}
    ((${#text} - ${#rest} == ${#from})) || return
    text=${text/"$from"/"${LINKER_EDITS[i + 1]}"}
  done
  printf '%s\n' "$text"
}

# build_linker SOURCE DIR KEY builds the linker into DIR, beside what -toolexec
# takes. Others may do the same at the same time: DIR appears whole. go tells
# linkers apart by what they say of themselves, so that ours says KEY too.
build_linker() {
  local new
  say "building Go's linker without files and lines, once for this Go"
  mkdir -p "$tools"
  new=$(mktemp -d "$tools/link.XXXXXX")
  chmod 755 "$new"
  cat >"$new/toolexec" <<-END
	#!/bin/sh
	case \${1##*/} in
	link) shift ;;
	*) exec "\$@" ;;
	esac
	[ "\$1" = -V=full ] || exec "\${0%/*}/link" "\$@"
	"\${0%/*}/link" "\$@" | sed '/buildID=/!s/\$/ $3/'
	END
  chmod 755 "$new/toolexec"
  edited_linker "$1" >"$new/pcln.go"
  printf '{"Replace": {"%s": "%s"}}\n' "$1" "$new/pcln.go" >"$new/overlay.json"
  if (
    cd "$root" && GOOS=$(go env GOHOSTOS) GOARCH=$(go env GOHOSTARCH) GOFLAGS='' CGO_ENABLED=0 \
      go build -trimpath -overlay "$new/overlay.json" -ldflags='-s -w' -o "$new/link" cmd/link
  ); then
    mv -T "$new" "$2" 2>/dev/null || true
  fi
  rm -rf "$new"
  [[ -x $2/link ]]
}

# need_tools COMMAND:PACKAGE … installs the packages of the commands (or files,
# by absolute path) that are missing.
need_tools() {
  local entry packages=()
  for entry in "$@"; do
    has "${entry%%:*}" || packages+=("${entry#*:}")
  done
  [[ ${#packages[@]} -gt 0 ]] || return 0
  apt_install "${packages[@]}"
  for entry in "$@"; do
    has "${entry%%:*}" || die "${entry%%:*} is still missing after package ${entry#*:} was installed"
  done
}

has() {
  case $1 in
    /*) [[ -e $1 ]] ;;
    *) command -v "$1" >/dev/null ;;
  esac
}

# apt_install PACKAGE … installs Debian packages without what they recommend
# (wireguard-tools would bring a kernel) and without their services: none is
# started, none of the new ones is left enabled for the next boot.
apt_install() {
  local before had log new
  command -v apt-get >/dev/null || die "these Debian packages are needed and there is no apt-get to install them: $*"
  [[ $EUID == 0 ]] || die "these Debian packages are needed, install them as root: apt-get install --no-install-recommends $*"
  say "installing $*"
  before=$(service_ports)
  had=$(services)
  log=$(mktemp)
  if ! without_services apt_get "$@" >"$log" 2>&1; then
    tail -n 20 "$log" >&2
    rm -f "$log"
    die "could not install: $*"
  fi
  rm -f "$log"
  mapfile -t new < <(comm -13 <(sort <<<"$had") <(services | sort))
  disable "${new[@]}"
  [[ $(service_ports) == "$before" ]] ||
    die "installing $* left a service listening: $(service_ports | tr '\n' ' '); stop it and start again"
}

apt_get() {
  export DEBIAN_FRONTEND=noninteractive
  local options=(--yes --quiet --no-install-recommends -o DPkg::Lock::Timeout=120)
  apt-get install "${options[@]}" "$@" && return
  # A fresh machine has no package lists, an old one has outdated ones.
  apt-get update --quiet && apt-get install "${options[@]}" "$@"
}

# without_services runs a command while Debian's policy-rc.d forbids packages to
# start their services. A policy that is there already is left as it is.
without_services() (
  policy=/usr/sbin/policy-rc.d
  if [[ ! -e $policy ]]; then
    trap 'rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
  fi
  "$@"
)

# services lists those services of the packages in LAB_PACKAGES that are
# installed and would start with the machine.
services() {
  local name
  for name in nginx unbound; do
    [[ ! -e /etc/init.d/$name ]] || echo "$name"
  done
}

# disable NAME … keeps services from starting at the next boot; update-rc.d
# tells systemd too.
disable() {
  local name
  for name in "$@"; do
    update-rc.d "$name" disable >/dev/null || say "note: could not disable the service $name"
  done
}

# service_ports lists those ports of the packages' services (DNS, HTTP, TLS,
# DoT, unbound's control) that something on this machine listens on.
service_ports() {
  local port
  for port in 53 80 443 853 8953; do
    awk -v port="$(printf ':%04X' "$port")" '
      $2 ~ port "$" && ($4 == "0A" || FILENAME ~ /udp/ && $4 == "07") { found = 1 }
      END { exit !found }
    ' /proc/net/tcp /proc/net/tcp6 /proc/net/udp /proc/net/udp6 2>/dev/null && echo "$port"
  done
  return 0
}

# build_tools builds the Go tools that tools/go.mod pins, into $tools.
build_tools() {
  need_go
  (cd "$root/tools" && GOBIN=$tools go install tool) || die "could not build the tools of tools/go.mod"
}

# source_files FIND-TEST … lists files below the root that people write, NUL
# between them: no hidden folders (.ci is none), build output, test data or
# generated code.
source_files() {
  (
    cd "$root" || exit
    find . \( -path './.[!.]*' ! -path './.ci*' -o -path ./build -o -name testdata \) -prune -o \
      -type f ! -name '*_bpfe[lb].go' "$@" -printf '%P\0' | sort -z
  )
}

# go_files lists the Go files that people write, NUL between them.
go_files() { source_files -name '*.go'; }

# script_files lists the shell scripts, NUL between them.
script_files() {
  (
    cd "$root" || exit
    source_files -size -100k ! -name Makefile |
      xargs -0 -r grep -lZ -m1 -E '^(#!/bin/sh|#!/usr/bin/env bash|# shellcheck shell=)' -- || true
  )
}

# browser_modules installs what drives the browser, by test/luci/browser, into
# build/browser.
browser_modules() {
  local dir=$root/build/browser
  cmp --silent "$root/test/luci/browser/package.json" "$dir/package.json" && [[ -d $dir/node_modules ]] && return
  mkdir -p "$dir"
  say "installing the browser's driver"
  cp "$root/test/luci/browser/package.json" "$dir/"
  (cd "$dir" && npm install --no-audit --no-fund --no-package-lock --silent) || die "npm could not install playwright-core"
}
