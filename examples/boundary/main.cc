// One boundary of mHC on the CPU, or with the argument "cuda" on a GPU: four streams of one token are
// mixed into what the sub-layer reads.  Prints that, and H_res, whose rows and columns sum to 1.
#include <cstdio>
#include <vector>

#include "kernels/cuda/backend.h"

using namespace birkhoff;

int main(int argc, char**) {
  constexpr int n = 4, C = 8;
  absl::StatusOr<std::unique_ptr<Device>> device = NewCpuDevice();
  if (argc > 1) device = cuda::NewDevice(0);
  if (!device.ok()) return std::puts(device.status().ToString().c_str()), 1;
  const auto backend = NewBackend<float>(**device, {}).value();
  const auto stream = (*device)->NewStream("example");
  std::vector<std::unique_ptr<DeviceMemory>> memory;  // until the stream has passed
  const auto place = [&](const std::vector<float>& values) {
    memory.push_back((*device)->Allocate(int64_t(4 * values.size())).value());
    Upload(*stream, memory.back()->data().As<float>(), values.data(), int64_t(values.size()));
    return memory.back()->data().As<float>();
  };
  std::vector<float> x(n * C), bias(2 * n + n * n, -4.0f), phi(n * C * bias.size()), alpha(3, 1.0f),
      gamma(C, 1.0f), h(C), mix(n * n), zeros(2 * n + n * n + 1);
  for (int j = 0; j < n; ++j) {
    for (int c = 0; c < C; ++c) x[j * C + c] = float(c % 2 == 0 ? j + 1 : -j - 1);
    bias[2 * n + j * n + j] = 0.0f;  // H_res: nearly the identity
  }
  BoundaryForwardArgs<float> args;
  args.shape = {.streams = n, .tokens = 1, .channels = C};
  args.x = place(x).address();
  args.parameters = {place(phi).address(), place(alpha).address(), place(bias).address(),
                     place(gamma).address()};
  const auto coefficients = place(zeros), norm_out = place(h);
  args.coefficients = coefficients.address();
  args.logits = place(zeros).address();
  args.norm_out = norm_out.address();
  args.norm_inv_rms = place(zeros).address();
  const absl::Status status = backend->BoundaryForward(*stream, args);
  if (!status.ok()) return std::puts(status.ToString().c_str()), 1;
  Download<float>(*stream, h.data(), norm_out, C);
  Download<float>(*stream, mix.data(), coefficients + 2 * n, n * n);
  stream->Synchronize();
  std::printf("the sub-layer reads %.3f %.3f ...; H_res:\n", h[0], h[1]);
  for (const float* row = mix.data(); row < mix.data() + n * n; row += n) {
    std::printf("%.4f %.4f %.4f %.4f\n", row[0], row[1], row[2], row[3]);
  }
}
