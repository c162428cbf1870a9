#include "shim.h"

#include <array>
#include <tuple>
#include <vector>

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/ops/_foreach_add.h>
#include <ATen/ops/_foreach_addcdiv.h>
#include <ATen/ops/_foreach_addcmul.h>
#include <ATen/ops/_foreach_mul.h>
#include <ATen/ops/_foreach_sqrt.h>
#include <ATen/ops/convolution_backward.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/native_batch_norm.h>
#include <ATen/ops/native_batch_norm_backward.h>

using at::Tensor;
using stagger::guard;
using stagger::handle;

namespace {

void store(std::tuple<Tensor, Tensor, Tensor>&& found, Tensor** results) {
  results[0] = handle(std::move(std::get<0>(found)));
  results[1] = handle(std::move(std::get<1>(found)));
  results[2] = handle(std::move(std::get<2>(found)));
}

// libtorch reads as many values per channel as the input has channels, whatever there is.
void check_per_channel(const char* what, const Tensor* tensor, const Tensor& input) {
  TORCH_CHECK(
      tensor == nullptr || tensor->sizes() == at::IntArrayRef{input.size(1)}, "the ", what,
      " of batch normalisation expects shape [", input.size(1), "] but has ", tensor->sizes());
  TORCH_CHECK(
      tensor == nullptr || tensor->device() == input.device(), "the ", what, " lies on ", tensor->device(),
      ", the input of batch normalisation on ", input.device());
}

std::vector<Tensor> list(const Tensor* const* tensors, size_t count) {
  std::vector<Tensor> found;
  found.reserve(count);
  for (size_t i = 0; i < count; ++i) {
    found.push_back(*tensors[i]);
  }
  return found;
}

} // namespace

extern "C" {

void stagger_free_message(char* text) {
  if (text != stagger::kOutOfMemory && text != stagger::kUnknown) {
    std::free(text);
  }
}

// results: gradients of input, weight and bias; wants: which of them.
char* stagger_convolution_backward(
    Tensor** results, const Tensor* output_grad, const Tensor* input, const Tensor* weight,
    const int64_t* stride, const int64_t* padding, int64_t groups, const bool* wants) {
  return guard([&] {
    TORCH_CHECK(
        groups > 0 && input->dim() == 4 && weight->dim() == 4 && input->size(1) == groups * weight->size(1) &&
            weight->size(0) % groups == 0,
        "a convolution in ", groups, " groups expects input [N, I, H, W] and weight [O, I / groups, h, w] but has ",
        input->sizes(), " and ", weight->sizes());
    TORCH_CHECK(stride[0] > 0 && stride[1] > 0, "a convolution expects strides above 0");
    std::array<int64_t, 4> expected{input->size(0), weight->size(0), 0, 0};
    for (size_t i = 0; i < 2; ++i) {
      const int64_t room = input->size(2 + i) + 2 * padding[i] - weight->size(2 + i);
      TORCH_CHECK(room >= 0 && padding[i] >= 0, "the kernel of a convolution does not fit into its input");
      expected[2 + i] = room / stride[i] + 1;
    }
    TORCH_CHECK(
        output_grad->sizes() == at::IntArrayRef(expected), "the output gradient of a convolution expects shape ",
        at::IntArrayRef(expected), " but has ", output_grad->sizes());
    const std::array<int64_t, 1> bias{weight->size(0)};
    store(
        at::convolution_backward(
            *output_grad, *input, *weight, at::OptionalIntArrayRef(bias),
            at::IntArrayRef(stride, 2), at::IntArrayRef(padding, 2), {1, 1}, false, {0, 0}, groups,
            {wants[0], wants[1], wants[2]}),
        results);
  });
}

// results: output, mean and inverse standard deviation of the batch.
char* stagger_batch_norm(
    Tensor** results, const Tensor* input, const Tensor* weight, const Tensor* bias,
    const Tensor* running_mean, const Tensor* running_var, double momentum, double epsilon) {
  return guard([&] {
    TORCH_CHECK(input->dim() >= 2, "batch normalisation expects [N, channels, ...] but has ", input->sizes());
    check_per_channel("weight", weight, *input);
    check_per_channel("bias", bias, *input);
    check_per_channel("running mean", running_mean, *input);
    check_per_channel("running variance", running_var, *input);
    store(
        at::native_batch_norm(
            *input, stagger::optional(weight), stagger::optional(bias),
            stagger::optional(running_mean), stagger::optional(running_var), true, momentum, epsilon),
        results);
  });
}

// results: gradients of input, weight and bias; wants: which of them.
char* stagger_batch_norm_backward(
    Tensor** results, const Tensor* output_grad, const Tensor* input, const Tensor* weight,
    const Tensor* mean, const Tensor* inverse_std, double epsilon, const bool* wants) {
  return guard([&] {
    TORCH_CHECK(
        input->dim() >= 2 && output_grad->sizes() == input->sizes(),
        "the output gradient of batch normalisation expects shape ", input->sizes(), " but has ",
        output_grad->sizes());
    check_per_channel("weight", weight, *input);
    check_per_channel("mean", mean, *input);
    check_per_channel("inverse standard deviation", inverse_std, *input);
    store(
        at::native_batch_norm_backward(
            *output_grad, *input, stagger::optional(weight), std::nullopt, std::nullopt, *mean,
            *inverse_std, true, epsilon, {wants[0], wants[1], wants[2]}),
        results);
  });
}

// Handles on the tensor, or on its memory if those are more.
size_t stagger_use_count(const Tensor* tensor) {
  if (!tensor->defined()) {
    return 0;
  }
  const size_t handles = tensor->use_count();
  if (!tensor->has_storage()) {
    return handles;
  }
  return std::max<size_t>(handles, tensor->storage().use_count());
}

char* stagger_values(
    const void** data, size_t* count, const Tensor* tensor, int32_t kind) {
  return guard([&] {
    TORCH_CHECK(tensor->defined(), "the tensor is undefined");
    TORCH_CHECK(tensor->device().is_cpu(), "the tensor lies on ", tensor->device(), ", not on the CPU");
    TORCH_CHECK(
        tensor->scalar_type() == static_cast<at::ScalarType>(kind), "the tensor holds ",
        tensor->scalar_type(), ", not ", static_cast<at::ScalarType>(kind));
    TORCH_CHECK(
        tensor->layout() == at::kStrided && !tensor->is_neg() &&
            (tensor->is_contiguous() || tensor->is_contiguous(at::MemoryFormat::ChannelsLast)),
        "the tensor of shape ", tensor->sizes(),
        " is neither contiguous nor channels_last; make a dense copy first");
    *data = tensor->const_data_ptr();
    *count = static_cast<size_t>(tensor->numel());
  });
}

// As above, for writing; the caller has checked by `stagger_values` and `stagger_use_count`.
char* stagger_values_mut(void** data, const Tensor* tensor) {
  return guard([&] { *data = tensor->mutable_data_ptr(); });
}

char* stagger_empty(
    Tensor** result, const int64_t* shape, size_t sides, int32_t kind, int32_t cuda, bool channels_last) {
  return guard([&] {
    const at::Device device = cuda < 0
        ? at::Device(at::kCPU)
        : at::Device(at::kCUDA, static_cast<at::DeviceIndex>(cuda));
    *result = handle(at::empty(
        at::IntArrayRef(shape, sides),
        at::TensorOptions().dtype(static_cast<at::ScalarType>(kind)).device(device),
        channels_last ? at::MemoryFormat::ChannelsLast : at::MemoryFormat::Contiguous));
  });
}

char* stagger_empty_like_channels_last(Tensor** result, const Tensor* tensor) {
  return guard([&] {
    *result = handle(at::empty_like(*tensor, at::TensorOptions(), at::MemoryFormat::ChannelsLast));
  });
}

char* stagger_set_num_threads(int32_t threads) {
  return guard([&] {
    // When a thread first runs something in parallel, libtorch sets its number to the one last set anywhere. That is
    // noted in a variable that is inlined into this library and into libtorch: let both have it behind them.
    at::internal::lazy_init_num_threads();
    at::get_num_threads();
    at::set_num_threads(threads);
  });
}

char* stagger_parallel_for(
    int64_t begin, int64_t end, int64_t grain, void (*body)(void*, int64_t, int64_t), void* context) {
  return guard([&] {
    at::parallel_for(
        begin, end, grain, [&](int64_t first, int64_t last) { body(context, first, last); });
  });
}

char* stagger_foreach_add(
    const Tensor* const* tensors, const Tensor* const* others, size_t count, double alpha) {
  return guard([&] { at::_foreach_add_(list(tensors, count), list(others, count), alpha); });
}

char* stagger_foreach_add_scalar(const Tensor* const* tensors, size_t count, double value) {
  return guard([&] { at::_foreach_add_(list(tensors, count), value); });
}

char* stagger_foreach_mul_scalar(const Tensor* const* tensors, size_t count, double value) {
  return guard([&] { at::_foreach_mul_(list(tensors, count), value); });
}

char* stagger_foreach_addcmul(
    const Tensor* const* tensors, const Tensor* const* left, const Tensor* const* right, size_t count,
    double value) {
  return guard([&] {
    at::_foreach_addcmul_(list(tensors, count), list(left, count), list(right, count), value);
  });
}

char* stagger_foreach_addcdiv(
    const Tensor* const* tensors, const Tensor* const* numerators, const Tensor* const* denominators,
    size_t count, double value) {
  return guard([&] {
    at::_foreach_addcdiv_(
        list(tensors, count), list(numerators, count), list(denominators, count), value);
  });
}

// results: as many as tensors.
char* stagger_foreach_sqrt(Tensor** results, const Tensor* const* tensors, size_t count) {
  return guard([&] {
    auto found = at::_foreach_sqrt(list(tensors, count));
    for (size_t i = 0; i < count; ++i) {
      results[i] = handle(std::move(found[i]));
    }
  });
}

} // extern "C"
