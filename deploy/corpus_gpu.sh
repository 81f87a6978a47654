#!/usr/bin/env bash
# Prepares the text of the GPU quick start: the kernel's documentation, Debian's linux-doc package (24 MB), as plain
# text in data/linux-doc/, a SentencePiece model of 32,768 pieces and tokens in data/linux-doc-train and -val.
#
# usage: deploy/corpus_gpu.sh      BIRKHOFF_BIN names the folder of the programs (default build/bin)
#
# The package is unpacked, not installed.  Run again, it does nothing that is already done.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source deploy/packages.sh

programs=${BIRKHOFF_BIN:-build/bin}
package=linux-doc-6.1
text=data/linux-doc
pieces=32768

download() {
  echo "==> text: downloading $package (37 MB)"
  (cd "$1" && apt-get download -qq "$package" 2>/dev/null) && return
  as_root apt-get update -qq || {
    echo "The package lists are missing, and fetching them needs root or sudo.  Run:" >&2
    echo "  apt-get update" >&2
    return 1
  }
  (cd "$1" && apt-get download -qq "$package" 2>/dev/null)
}

make_text() {
  if [ -d "$text" ]; then
    echo "==> text: $text is there"
    return
  fi
  work=$(mktemp -d "${TMPDIR:-/tmp}/birkhoff-corpus.XXXXXX")
  trap 'rm -rf "$work"' EXIT
  download "$work"
  dpkg-deb -x "$work/$package"_*.deb "$work/package"
  mkdir -p "$work/text" data
  local root=$work/package/usr/share/doc/$package/Documentation page name
  while read -r page; do
    name=${page#"$root/"}
    zcat "$page" >"$work/text/$(echo "${name%.gz}" | tr / -)"
  done < <(find "$root" -name '*.rst.gz' -not -path '*/translations/*' | LC_ALL=C sort)
  rm -rf "$text.part"
  cp -r "$work/text" "$text.part"
  mv "$text.part" "$text"
  echo "    $(find "$text" -type f | wc -l) pages, $(du -sb "$text" | cut -f1) bytes in $text"
}

make_tokens() {
  local pages
  mapfile -t pages < <(find "$text" -type f | LC_ALL=C sort)
  if [ ! -e "$text.model" ]; then
    echo "==> tokens: training a model of $pieces pieces (a minute or two)"
    "$programs/birkhoff-data" train-tokenizer --input "${pages[@]}" --vocab-size "$pieces" --output "$text.model"
  fi
  if [ -e "$text-train.idx" ] && [ -e "$text-val.idx" ]; then
    echo "==> tokens: $text-train and $text-val are there"
    return
  fi
  echo "==> tokens: writing $text-train and $text-val"
  "$programs/birkhoff-data" tokenize --input "${pages[@]}" --tokenizer "$text.model" --output "$text" --force \
    --validation-share 0.02 >/dev/null
}

make_text
make_tokens
