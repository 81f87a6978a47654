#!/usr/bin/env bash
# Prepares real English text from a package of Debian, as plain text in data/TEXT/ and as tokens.
#
# usage: deploy/corpus.sh [TEXT]      BIRKHOFF_BIN names the folder of the programs (default build/bin)
#   perl-doc    (default) the manual pages of Perl, 8.8 MB; bytes in data/corpus-train and data/corpus-val
#   linux-doc   the documentation of the kernel, 24 MB, for configs/gpu-*.yaml; a SentencePiece model of 32,768
#               pieces in data/linux-doc.model, its tokens in data/linux-doc-train and data/linux-doc-val
#
# The package is unpacked, not installed.  Run again, it does nothing that is already done.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source deploy/packages.sh

programs=${BIRKHOFF_BIN:-build/bin}
kernel_package=linux-doc-6.1
kernel_pieces=32768
# Manuals of Perl that are not in English.
foreign=' perlcn.pod perljp.pod perlko.pod perltw.pod '

# download_package NAME FOLDER
download_package() {
  local name=$1 folder=$2
  echo "==> text: downloading $name"
  (cd "$folder" && apt-get download -qq "$name" 2>/dev/null) && return
  # A slim image has no package lists yet.
  as_root apt-get update -qq || {
    echo "The package lists are missing, and fetching them needs root or sudo.  Run:" >&2
    echo "  apt-get update" >&2
    return 1
  }
  (cd "$folder" && apt-get download -qq "$name" 2>/dev/null)
}

convert_perl_pages() {
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

# A page keeps its folder in its name.
convert_kernel_pages() {
  local source=$1/usr/share/doc/$kernel_package/Documentation target=$2 pages page name
  mapfile -t pages < <(find "$source" -name '*.rst.gz' -not -path '*/translations/*' | LC_ALL=C sort)
  [ "${#pages[@]}" -gt 0 ] || { echo "$kernel_package holds no .rst.gz files" >&2; return 1; }
  for page in "${pages[@]}"; do
    name=${page#"$source/"}
    name=${name//\//-}
    zcat "$page" >"$target/${name%.gz}"
  done
}

# make_text FOLDER PACKAGE CONVERT: the pages of the package in FOLDER; it is there with all of them, or not at all.
make_text() {
  local text=$1 package=$2 convert=$3
  if [ -d "$text" ]; then
    echo "==> text: $text is there"
    return
  fi
  work=$(mktemp -d "${TMPDIR:-/tmp}/birkhoff-corpus.XXXXXX")
  trap 'rm -rf "$work"' EXIT
  download_package "$package" "$work"
  echo "==> text: unpacking and converting to plain text"
  dpkg-deb -x "$work/$package"_*.deb "$work/package"
  mkdir -p "$work/text" data
  "$convert" "$work/package" "$work/text"
  rm -rf "$text.part"
  cp -r "$work/text" "$text.part"
  mv "$text.part" "$text"
  echo "    $(find "$text" -type f | wc -l) pages, $(du -sb "$text" | cut -f1) bytes in $text"
}

# Paths of the pages of a text, in an order that every machine has.
pages_of() {
  find "$1" -type f | LC_ALL=C sort
}

make_tokenizer() {
  local text=$1 model=$2 pages
  [ ! -e "$model" ] || return 0
  echo "==> tokens: training a model of $kernel_pieces pieces (a minute or two)"
  mapfile -t pages < <(pages_of "$text")
  "$programs/birkhoff-data" train-tokenizer --input "${pages[@]}" --vocab-size "$kernel_pieces" --output "$model"
}

# make_tokens FOLDER OUTPUT TOKENIZER SHARE
make_tokens() {
  local text=$1 output=$2 tokenizer=$3 share=$4 pages
  if [ -e "$output-train.idx" ] && [ -e "$output-val.idx" ]; then
    echo "==> tokens: $output-train and $output-val are there"
    return
  fi
  echo "==> tokens: writing $output-train and $output-val"
  mapfile -t pages < <(pages_of "$text")
  "$programs/birkhoff-data" tokenize --input "${pages[@]}" --tokenizer "$tokenizer" --output "$output" \
    --validation-share "$share" --force >/dev/null
}

case "${1:-perl-doc}" in
  perl-doc)
    install_packages "${CORPUS_PACKAGES[@]}"
    make_text data/perl-doc perl-doc convert_perl_pages
    make_tokens data/perl-doc data/corpus bytes 0.05
    ;;
  linux-doc)
    make_text data/linux-doc "$kernel_package" convert_kernel_pages
    make_tokenizer data/linux-doc data/linux-doc.model
    make_tokens data/linux-doc data/linux-doc data/linux-doc.model 0.02
    ;;
  *) echo "usage: deploy/corpus.sh [perl-doc | linux-doc]" >&2; exit 64 ;;
esac
