// Streams, events and memory of GPUs, by libtorch's device-generic interfaces: needs no header of the CUDA toolkit, and
// a libtorch without CUDA answers with a message.

#include "shim.h"

#include <ATen/Context.h>
#include <ATen/ops/record_stream.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/Event.h>
#include <c10/core/impl/VirtualGuardImpl.h>

using at::Tensor;
using stagger::guard;
using stagger::handle;

namespace {

c10::impl::VirtualGuardImpl cuda() {
  TORCH_CHECK(
      at::globalContext().hasCUDA(),
      "this libtorch has no CUDA, or there is no GPU; check `nvidia-smi`, and run `scripts/libtorch --cuda`");
  return c10::impl::VirtualGuardImpl(at::kCUDA);
}

at::Device device_of(const c10::impl::VirtualGuardImpl& impl, int32_t index) {
  TORCH_CHECK(
      index >= 0 && index < impl.deviceCount(), "there is no GPU ", index, ": this machine has ",
      static_cast<int>(impl.deviceCount()), ", numbered from 0");
  return at::Device(at::kCUDA, static_cast<at::DeviceIndex>(index));
}

at::Stream current(int32_t index) {
  const auto impl = cuda();
  return impl.getStream(device_of(impl, index));
}

at::DeviceAllocator* allocator() {
  cuda();
  return at::getDeviceAllocator(at::kCUDA);
}

} // namespace

extern "C" {

char* stagger_cuda_use_own_stream(int32_t index) {
  return guard([&] {
    const auto impl = cuda();
    const auto device = device_of(impl, index);
    impl.setDevice(device);
    impl.exchangeStream(impl.getStreamFromGlobalPool(device, false));
  });
}

char* stagger_cuda_event_new(c10::Event** event) {
  return guard([&] {
    cuda();
    *event = new c10::Event(at::kCUDA);
  });
}

void stagger_cuda_event_free(c10::Event* event) {
  delete event;
}

char* stagger_cuda_event_record(c10::Event* event, int32_t index) {
  return guard([&] { event->record(current(index)); });
}

char* stagger_cuda_event_block(const c10::Event* event, int32_t index) {
  return guard([&] { event->block(current(index)); });
}

char* stagger_cuda_record_stream(const Tensor* tensor) {
  return guard([&] {
    TORCH_CHECK(tensor->defined() && tensor->is_cuda(), "only a tensor on a GPU can be tied to a stream");
    Tensor(*tensor).record_stream(current(tensor->device().index()));
  });
}

// figures: bytes in tensors and bytes taken from the device, each now and at its peak.
char* stagger_cuda_memory(int64_t* figures, int32_t index) {
  return guard([&] {
    const auto device = device_of(cuda(), index);
    const auto stats = allocator()->getDeviceStats(device.index());
    const auto all = static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE);
    figures[0] = stats.allocated_bytes[all].current;
    figures[1] = stats.reserved_bytes[all].current;
    figures[2] = stats.allocated_bytes[all].peak;
    figures[3] = stats.reserved_bytes[all].peak;
  });
}

char* stagger_cuda_reset_peak_memory(int32_t index) {
  return guard([&] { allocator()->resetPeakStats(device_of(cuda(), index).index()); });
}

char* stagger_cuda_empty_cache() {
  return guard([&] { allocator()->emptyCache(); });
}

// libtorch's own function with a device, which is all that `tch` has, warns at every call.
char* stagger_pinned(Tensor** result, const Tensor* tensor) {
  return guard([&] { 
    cuda();
    *result = handle(tensor->pin_memory());
  });
}

char* stagger_set_deterministic(bool on) {
  return guard([&] {
    auto& context = at::globalContext();
    context.setDeterministicAlgorithms(on, /*warn_only=*/false);
    context.setDeterministicCuDNN(on);
    // Otherwise every `empty` is filled, which costs a pass over memory and hides nothing that we read.
    context.setDeterministicFillUninitializedMemory(false);
  });
}

char* stagger_set_tf32(bool on) {
  return guard([&] {
    at::globalContext().setAllowTF32CuBLAS(on);
    at::globalContext().setAllowTF32CuDNN(on);
  });
}

char* stagger_set_cudnn_benchmark(bool on) {
  return guard([&] { at::globalContext().setBenchmarkCuDNN(on); });
}

} // extern "C"
