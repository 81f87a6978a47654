#!/bin/sh
# Fails if the program has a symbol of gRPC or needs its library.
#   no_grpc.sh PROGRAM
set -eu
symbols=$(nm -a "$1"; nm -D "$1")
libraries=$(readelf -d "$1" | grep NEEDED)
test -n "$symbols" && test -n "$libraries"
if printf '%s\n' "$symbols" | grep -E '(^| )(_Z[A-Za-z0-9]*4grpc|grpc_|gpr_)' ||
   printf '%s\n' "$libraries" | grep -E 'lib(grpc|gpr)'; then
  echo "$1: has gRPC in it"
  exit 1
fi
echo "$1: no gRPC"
