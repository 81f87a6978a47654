#!/usr/bin/env bash
# Prepares real English text: the manual pages of Debian's perl-doc package (8.8 MB), as plain text
# in data/perl-doc/ and as tokens (bytes) in data/corpus-train and data/corpus-val.
#
# usage: deploy/corpus.sh      BIRKHOFF_BIN names the folder of the programs (default build/bin)
#
# The package is unpacked, not installed.  Run again, it does nothing that is already done.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source deploy/packages.sh

programs=${BIRKHOFF_BIN:-build/bin}
text=data/perl-doc
# Manuals that are not in English.
foreign=' perlcn.pod perljp.pod perlko.pod perltw.pod '

download_package() {
  local folder=$1
  echo "==> text: downloading perl-doc"
  (cd "$folder" && apt-get download -qq perl-doc 2>/dev/null) && return
  # A slim image has no package lists yet.
  as_root apt-get update -qq || {
    echo "The package lists are missing, and fetching them needs root or sudo.  Run:" >&2
    echo "  apt-get update" >&2
    return 1
  }
  (cd "$folder" && apt-get download -qq perl-doc 2>/dev/null)
}

convert_pages() {
  local source=$1 target=$2 pages page done=0
  mapfile -t pages < <(find "$source/usr/share/perl" -name '*.pod' | LC_ALL=C sort)
  [ "${#pages[@]}" -gt 0 ] || { echo "perl-doc holds no .pod files" >&2; return 1; }
  for page in "${pages[@]}"; do
    [[ $foreign == *" ${page##*/} "* ]] ||
      pod2text --utf8 "$page" "$target/$(basename "$page" .pod).txt" 2>/dev/null
    done=$((done + 1))
    [ ! -t 2 ] || printf '\r    %d of %d pages' "$done" "${#pages[@]}" >&2
  done
  [ ! -t 2 ] || echo >&2
}

make_text() {
  if [ -d "$text" ]; then
    echo "==> text: $text is there"
    return
  fi
  work=$(mktemp -d "${TMPDIR:-/tmp}/birkhoff-corpus.XXXXXX")
  trap 'rm -rf "$work"' EXIT
  download_package "$work"
  echo "==> text: unpacking and converting to plain text"
  dpkg-deb -x "$work"/perl-doc_*.deb "$work/package"
  mkdir -p "$work/text" data
  convert_pages "$work/package" "$work/text"
  rm -rf "$text.part"
  cp -r "$work/text" "$text.part"
  mv "$text.part" "$text"
  echo "    $(find "$text" -name '*.txt' | wc -l) pages, $(du -sb "$text" | cut -f1) bytes in $text"
}

make_tokens() {
  if [ -e data/corpus-train.idx ] && [ -e data/corpus-val.idx ]; then
    echo "==> tokens: data/corpus-train and data/corpus-val are there"
    return
  fi
  echo "==> tokens: writing data/corpus-train and data/corpus-val"
  local pages
  mapfile -t pages < <(find "$text" -name '*.txt' | LC_ALL=C sort)
  "$programs/birkhoff-data" tokenize --input "${pages[@]}" --tokenizer bytes \
    --output data/corpus --validation-share 0.05 --force >/dev/null
}

install_packages "${CORPUS_PACKAGES[@]}"
make_text
make_tokens
