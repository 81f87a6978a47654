// Products of the GPU against sums in double: every transpose, odd sizes and strides, both kinds of
// result.  What must not be touched (c's columns behind n, c itself where beta = 0 reads it) is
// poisoned.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "kernels/cuda/gemm.h"
#include "tests/kernels/cuda/check_line.h"
#include "tests/kernels/cuda/device_buffer.h"
#include "tests/kernels/tensors.h"

namespace birkhoff {
namespace {

// Units of rounding.  Tensor cores may cut what they add instead of rounding it: a whole unit in
// the last place of float, not half a one.
constexpr double kSumUnit = 0x1p-23;
template <typename Out>
constexpr double kOutUnit = 0x1p-24;
template <>
constexpr double kOutUnit<bf16> = 0x1p-8;

struct Case {
  bool transpose_a = false, transpose_b = false;
  int64_t m = 0, n = 0, k = 0;
  double alpha = 1.0, beta = 0.0;
  int64_t padding = 0;  // of every row, in elements
  int64_t shift = 0;    // elements before each matrix: 0 leaves them 256-byte aligned
};

// A matrix with `padding` behind each row and `shift` before the first, in the host's memory.
template <typename T>
struct Matrix {
  Matrix(int64_t rows, int64_t columns, const Case& c, uint64_t seed)
      : stride(std::max<int64_t>(columns, 1) + c.padding),
        shift(c.shift),
        values(Narrow<T>(Normal<float>(rows * stride + c.shift, seed))),
        wide(Widen(values)) {}
  double At(int64_t row, int64_t column) const {
    return double(wide[size_t(shift + row * stride + column)]);
  }
  const int64_t stride, shift;
  const std::vector<T> values;
  const std::vector<float> wide;
};

template <typename T, typename Out>
class Product {
 public:
  // The workspace is GemmLibrary::kWorkspaceBytes long.
  Product(const Case& c, void* workspace)
      : case_(c),
        a_(c.transpose_a ? c.k : c.m, c.transpose_a ? c.m : c.k, c, 1),
        b_(c.transpose_b ? c.n : c.k, c.transpose_b ? c.k : c.n, c, 2),
        c_(c.m, c.n, c, 3),
        device_a_(a_.values),
        device_b_(b_.values),
        workspace_(workspace) {}

  // Runs twice from the same c; the worst error in units of its bound, infinite where the two runs
  // differ or something else was written.
  double Run(cuda::GemmLibrary& library) {
    const std::vector<Out> first = Once(library), second = Once(library);
    if (std::memcmp(first.data(), second.data(), first.size() * sizeof(Out)) != 0) return INFINITY;
    for (int64_t i = 0; i < int64_t(first.size()); ++i) {
      const bool inside = i >= c_.shift && (i - c_.shift) % c_.stride < case_.n;
      if (inside) continue;
      if (std::memcmp(&first[size_t(i)], &c_.values[size_t(i)], sizeof(Out)) != 0) return INFINITY;
    }
    return WorstInBounds(Widen(first));
  }

  // c after one call.
  std::vector<Out> Once(cuda::GemmLibrary& library) {
    std::vector<Out> start = c_.values;
    if (case_.beta == 0.0) Poison(start);
    const DeviceBuffer<Out> c(start);
    const GemmArgs<T, Out> args = {.transpose_a = case_.transpose_a,
                                   .transpose_b = case_.transpose_b,
                                   .m = case_.m,
                                   .n = case_.n,
                                   .k = case_.k,
                                   .alpha = case_.alpha,
                                   .a = device_a_.data() + a_.shift,
                                   .lda = a_.stride,
                                   .b = device_b_.data() + b_.shift,
                                   .ldb = b_.stride,
                                   .beta = case_.beta,
                                   .c = c.data() + c_.shift,
                                   .ldc = c_.stride,
                                   .workspace = workspace_};
    const absl::Status status = library.Gemm(args, nullptr);
    EXPECT_TRUE(status.ok()) << status;
    return c.ToHost();
  }

 private:
  void Poison(std::vector<Out>& c) const {
    for (int64_t row = 0; row < case_.m; ++row) {
      std::memset(c.data() + c_.shift + row * c_.stride, 0xff, size_t(case_.n) * sizeof(Out));
    }
  }

  double WorstInBounds(const std::vector<float>& got) const {
    std::vector<double> a(size_t(case_.k)), b(size_t(case_.k * case_.n));  // b by columns
    for (int64_t j = 0; j < case_.n; ++j) {
      for (int64_t i = 0; i < case_.k; ++i) {
        b[size_t(j * case_.k + i)] = case_.transpose_b ? b_.At(j, i) : b_.At(i, j);
      }
    }
    double worst = 0.0;
    for (int64_t row = 0; row < case_.m; ++row) {
      for (int64_t i = 0; i < case_.k; ++i) {
        a[size_t(i)] = case_.transpose_a ? a_.At(i, row) : a_.At(row, i);
      }
      for (int64_t j = 0; j < case_.n; ++j) {
        const float value = got[size_t(c_.shift + row * c_.stride + j)];
        Raise(worst, ErrorInBounds(a, b.data() + j * case_.k, row, j, double(value)));
      }
    }
    return worst;
  }

  // k products and their sum, alpha and beta are rounded in float, the result in Out; where c is
  // added, cuBLASLt may round what it adds to in Out before.
  double ErrorInBounds(const std::vector<double>& a, const double* b, int64_t row, int64_t column,
                       double got) const {
    double sum = 0.0, magnitude = 0.0;
    for (size_t i = 0; i < a.size(); ++i) {
      sum += a[i] * b[i];
      magnitude += std::abs(a[i] * b[i]);
    }
    const double old = case_.beta == 0.0 ? 0.0 : case_.beta * c_.At(row, column);
    const double want = case_.alpha * sum + old;
    const double bound =
        kSumUnit * (double(case_.k + 2) * std::abs(case_.alpha) * magnitude + 2 * std::abs(old)) +
        kOutUnit<Out> * (std::abs(want) + (case_.beta == 0.0 ? 0.0 : std::abs(case_.alpha * sum)));
    const double error = std::abs(got - want);
    return error == 0.0 ? 0.0 : error / bound;
  }

  const Case case_;
  const Matrix<T> a_, b_;
  const Matrix<Out> c_;
  const DeviceBuffer<T> device_a_, device_b_;
  void* const workspace_;
};

template <typename Types>
class GemmCuda : public testing::Test {
 protected:
  using T = typename Types::first_type;
  using Out = typename Types::second_type;

  void SetUp() override {
    auto library = cuda::GemmLibrary::New({}, /*search=*/false);
    ASSERT_OK(library.status());
    library_ = *std::move(library);
  }
  void TearDown() override { workspace_.ToHost(); }  // looks at the guard bands
  static std::string Name(const std::string& what) {
    return std::string("gemm ") + DTypeName(kDTypeOf<T>) + " -> " + DTypeName(kDTypeOf<Out>) +
           ", " + what;
  }
  void Check(const std::string& what, const std::vector<Case>& cases) {
    double worst = 0.0;
    for (const Case& c : cases) Raise(worst, Product<T, Out>(c, workspace_.data()).Run(*library_));
    CheckLine(Name(what) + " (error / bound)", worst, 1.0);
  }
  // All four transposes of a case.
  static std::vector<Case> Transposed(std::vector<Case> cases) {
    std::vector<Case> all;
    for (Case c : cases) {
      for (int bits = 0; bits < 4; ++bits) {
        c.transpose_a = bits & 1;
        c.transpose_b = bits & 2;
        all.push_back(c);
      }
    }
    return all;
  }

  std::unique_ptr<cuda::GemmLibrary> library_;
  const DeviceBuffer<unsigned char> workspace_{cuda::GemmLibrary::kWorkspaceBytes};
};

using AllTypes =
    testing::Types<std::pair<float, float>, std::pair<bf16, bf16>, std::pair<bf16, float>>;
TYPED_TEST_SUITE(GemmCuda, AllTypes);

TYPED_TEST(GemmCuda, MultipliesEverySize) {
  std::vector<Case> cases;
  for (const int64_t m : {1, 7, 64, 129}) {
    for (const int64_t n : {1, 8, 33, 128}) {
      for (const int64_t k : {1, 16, 65, 256}) cases.push_back({.m = m, .n = n, .k = k});
    }
  }
  this->Check("sizes 1 .. 256", this->Transposed(cases));
}

TYPED_TEST(GemmCuda, MultipliesTheShapesOfAModel) {
  this->Check("tokens 512, C 256, F 768", this->Transposed({{.m = 512, .n = 256, .k = 768},
                                                            {.m = 512, .n = 768, .k = 256},
                                                            {.m = 256, .n = 768, .k = 512}}));
}

TYPED_TEST(GemmCuda, TakesOddStridesAndAddresses) {
  this->Check("strides + 3, + 8, addresses + 1, + 8",
              this->Transposed({{.m = 40, .n = 48, .k = 56, .padding = 3},
                                {.m = 40, .n = 48, .k = 56, .padding = 8},
                                {.m = 40, .n = 48, .k = 56, .shift = 1},
                                {.m = 41, .n = 47, .k = 53, .padding = 2, .shift = 8}}));
}

TYPED_TEST(GemmCuda, ScalesAndAccumulates) {
  this->Check("alpha 0.5 and -2, beta 0, 1 and 0.25",
              this->Transposed({{.m = 65, .n = 96, .k = 128, .alpha = 0.5},
                                {.m = 65, .n = 96, .k = 128, .beta = 1.0},
                                {.m = 65, .n = 96, .k = 128, .alpha = -2.0, .beta = 0.25}}));
}

TYPED_TEST(GemmCuda, ScalesWhereThereIsNothingToMultiply) {
  this->Check("k = 0, beta 0, 1 and 0.5", {{.m = 5, .n = 7, .k = 0, .padding = 2},
                                           {.m = 5, .n = 7, .k = 0, .beta = 1.0},
                                           {.m = 5, .n = 7, .k = 0, .beta = 0.5, .shift = 1}});
  this->Check("m = 0 or n = 0", {{.m = 0, .n = 7, .k = 3}, {.m = 5, .n = 0, .k = 3, .padding = 1}});
}

// What a search has chosen is what another library computes with that is given it: products that
// are right, and one choice for each problem, also by way of the text.
TYPED_TEST(GemmCuda, ComputesWithWhatASearchHasChosen) {
  const std::vector<Case> cases =
      this->Transposed({{.m = 512, .n = 768, .k = 256}, {.m = 96, .n = 64, .k = 128, .beta = 1.0}});
  auto searching = cuda::GemmLibrary::New({}, /*search=*/true);
  ASSERT_OK(searching.status());
  // c is written several times: only the second run is looked at.
  for (const Case& c : cases) {
    Product<typename TestFixture::T, typename TestFixture::Out>(c, this->workspace_.data())
        .Once(**searching);
  }
  const GemmChoices choices = (*searching)->choices();
  EXPECT_EQ(choices.by_problem.size(), cases.size());
  const auto read = GemmChoicesFromText(GemmChoicesToText(choices));
  ASSERT_OK(read.status());
  auto pinned = cuda::GemmLibrary::New(*read, /*search=*/false);
  ASSERT_OK(pinned.status());
  this->library_ = *std::move(pinned);
  this->Check("with searched algorithms", cases);
  EXPECT_EQ(this->library_->choices().library, choices.library);
  for (const auto& [problem, choice] : choices.by_problem) {
    EXPECT_GT(choice.us, 0.0) << problem;
    EXPECT_LE(choice.us, choice.first_us) << problem;
  }
}

TYPED_TEST(GemmCuda, RefusesChoicesOfAnotherLibrary) {
  const auto library = cuda::GemmLibrary::New(
      {.library = "cuBLASLt 1 on a card", .by_problem = {{"gemm", {}}}}, /*search=*/false);
  EXPECT_EQ(library.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_NE(library.status().message().find("products of cuBLASLt 1 on a card; here is cuBLASLt "),
            absl::string_view::npos)
      << library.status();
}

TYPED_TEST(GemmCuda, RefusesWrongArguments) {
  GemmArgs<typename TestFixture::T, typename TestFixture::Out> args = {
      .m = 2, .n = 3, .k = 4, .lda = 3, .ldb = 3, .ldc = 3};
  ExpectRefused(this->library_->Gemm(args, nullptr), "gemm: lda=3; need at least the row length 4");
}

}  // namespace
}  // namespace birkhoff
