// The rule, the environment's word on it, and what both come to in words.
#include "kernels/cpu/paths.h"

#include <cblas.h>
#include <oneapi/dnnl/dnnl.h>

#include <cstdlib>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "core/base/printable.h"

namespace birkhoff::cpu {
namespace {

constexpr Isa kIsas[] = {Isa::kBaseline, Isa::kAvx2, Isa::kAvx512};
constexpr char kIsaVariable[] = "BIRKHOFF_CPU_ISA";
constexpr char kProductsVariable[] = "BIRKHOFF_CPU_PRODUCTS";

const char* IsaName(Isa isa) {
  if (isa == Isa::kAvx512) return "avx512";
  return isa == Isa::kAvx2 ? "avx2" : "baseline";
}

absl::Status Refuse(const char* variable, absl::string_view given, const char* needed) {
  return absl::InvalidArgumentError(
      absl::StrCat(variable, "=", Printable(std::string(given)), ": need ", needed));
}

absl::string_view Environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

const absl::StatusOr<Paths>& FromEnvironment() {
  static const absl::StatusOr<Paths> paths =
      ChoosePaths(BestIsa(), Environment(kIsaVariable), Environment(kProductsVariable));
  return paths;
}

Paths& Current() {
  static Paths paths =
      FromEnvironment().ok() ? *FromEnvironment() : *ChoosePaths(BestIsa(), "", "");
  return paths;
}

std::string OneDnn() {
  const dnnl_version_t* version = dnnl_version();
  return absl::StrCat("oneDNN ", version->major, ".", version->minor, ".", version->patch);
}

// "OpenBLAS 0.3.21 Haswell", the version out of a longer line of the library's.
std::string OpenBlas() {
  for (const absl::string_view word : absl::StrSplit(openblas_get_config(), ' ')) {
    if (absl::StrContains(word, '.')) {
      return absl::StrCat("OpenBLAS ", word, " ", openblas_get_corename());
    }
  }
  return absl::StrCat("OpenBLAS ", openblas_get_corename());
}

}  // namespace

absl::StatusOr<Paths> ChoosePaths(Isa best, absl::string_view isa, absl::string_view products) {
  Paths paths = {best,
                 best == Isa::kBaseline ? ProductLibrary::kOpenBlas : ProductLibrary::kOneDnn};
  if (!isa.empty()) {
    bool known = false;
    for (const Isa each : kIsas) {
      if (each > best || isa != IsaName(each)) continue;
      paths.isa = each;
      known = true;
    }
    if (!known) {
      return Refuse(kIsaVariable, isa,
                    "baseline, avx2 or avx512, and no more than the processor has");
    }
  }
  if (products == "openblas") {
    paths.products = ProductLibrary::kOpenBlas;
  } else if (products == "onednn") {
    paths.products = ProductLibrary::kOneDnn;
  } else if (!products.empty()) {
    return Refuse(kProductsVariable, products, "onednn or openblas");
  }
  return paths;
}

absl::Status CheckEnvironment() { return FromEnvironment().status(); }
Paths ThisProcess() { return Current(); }
void SetPaths(Paths paths) { Current() = paths; }

std::string Describe(Paths paths) {
  const std::string openblas = OpenBlas();
  const bool onednn = paths.products == ProductLibrary::kOneDnn;
  return absl::StrCat(IsaName(paths.isa), " loops; products: ", onednn ? OneDnn() : openblas,
                      " (float), ", openblas, " (double)");
}

}  // namespace birkhoff::cpu
