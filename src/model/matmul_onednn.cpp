// Matrix products by oneDNN (version 2 interface). Everything that knows the library is here.

#include <exception>
#include <map>
#include <string>
#include <tuple>
#include <unordered_map>
#include <utility>
#include <vector>

#include <oneapi/dnnl/dnnl.hpp>

#include <cohort/error.hpp>

#include "model/element.hpp"
#include "model/matmul.hpp"

namespace cohort {

namespace {

// Any row count would do to choose the weights' order: the order that is best for a few dozen rows
// is read fast by products of one row, too.
constexpr dnnl::memory::dim kRowsToPackFor = 64;

using Tag = dnnl::memory::format_tag;

dnnl::memory::data_type type_of(DType dtype) {
  return dtype == DType::bf16 ? dnnl::memory::data_type::bf16 : dnnl::memory::data_type::f32;
}

dnnl::memory::dim dim_of(std::size_t count) {
  return static_cast<dnnl::memory::dim>(count);
}

[[noreturn]] void refuse(DType dtype, const dnnl::error& error) {
  if (dtype == DType::bf16 && error.status == dnnl_unimplemented) {
    throw Error(ErrorCode::unsupported,
                "this CPU has no bf16 matrix products (they need AVX-512 with BW, VL and DQ); use "
                "--dtype f32",
                std::nullopt, "load");
  }
  const auto code =
      error.status == dnnl_out_of_memory ? ErrorCode::out_of_memory : ErrorCode::system;
  throw Error(code, std::string("a matrix product cannot be prepared: ") + error.what());
}

}  // namespace

struct LinearWeights::Packed {
  dnnl::memory memory;
};

struct Matmul::State {
  using Key = std::tuple<std::size_t, std::size_t, std::size_t, DType>;  // rows, out, in, result

  struct Product {
    dnnl::matmul primitive;
    dnnl::memory x;
    dnnl::memory y;
  };

  explicit State(DType element)
      : dtype(element), engine(dnnl::engine::kind::cpu, 0), stream(engine) {}

  dnnl::matmul::primitive_desc describe(dnnl::memory::dim rows, const dnnl::memory::desc& weights,
                                        DType result) const {
    const auto dims = weights.dims();
    const dnnl::memory::desc x({rows, dims[0]}, type_of(dtype), Tag::ab);
    const dnnl::memory::desc y({rows, dims[1]}, type_of(result), Tag::ab);
    return {dnnl::matmul::desc(x, weights, y), engine};
  }

  dnnl::memory::desc packed_order(std::size_t output_width, std::size_t input_width) const {
    const dnnl::memory::desc any({dim_of(input_width), dim_of(output_width)}, type_of(dtype),
                                 Tag::any);
    return describe(kRowsToPackFor, any, dtype).weights_desc();
  }

  Product& product(const LinearWeights& weights, std::size_t rows, DType result) {
    const Key key{rows, weights.output_width, weights.input_width, result};
    const auto found = products.find(key);
    if (found != products.end()) return found->second;
    const auto description = describe(dim_of(rows), weights.packed->memory.get_desc(), result);
    Product made{dnnl::matmul(description),
                 dnnl::memory(description.src_desc(), engine, DNNL_MEMORY_NONE),
                 dnnl::memory(description.dst_desc(), engine, DNNL_MEMORY_NONE)};
    return products.emplace(key, std::move(made)).first->second;
  }

  void run(const LinearWeights& weights, const void* x, std::size_t rows, void* y, DType result) {
    if (rows == 0) return;
    try {
      Product& found = product(weights, rows, result);
      found.x.set_data_handle(const_cast<void*>(x));
      found.y.set_data_handle(y);
      found.primitive.execute(stream, {{DNNL_ARG_SRC, found.x},
                                       {DNNL_ARG_WEIGHTS, weights.packed->memory},
                                       {DNNL_ARG_DST, found.y}});
      stream.wait();
    } catch (const dnnl::error& error) {
      refuse(dtype, error);
    }
  }

  DType dtype;
  dnnl::engine engine;
  dnnl::stream stream;
  std::map<Key, Product> products;
};

Matmul::Matmul(DType dtype) {
  try {
    state_ = std::make_unique<State>(dtype);
    static_cast<void>(state_->packed_order(64, 64));
  } catch (const dnnl::error& error) {
    refuse(dtype, error);
  }
}
Matmul::Matmul(Matmul&&) noexcept = default;
Matmul& Matmul::operator=(Matmul&&) noexcept = default;
Matmul::~Matmul() = default;

void require_products(DType dtype) {
  static_cast<void>(Matmul(dtype));
}

LinearWeights Matmul::pack(std::span<const float> weights, std::size_t output_width,
                           std::size_t input_width) {
  if (weights.size() != output_width * input_width) {
    throw Error(ErrorCode::usage, "weights of " + std::to_string(weights.size()) +
                                      " elements for a layer of " + std::to_string(output_width) +
                                      " x " + std::to_string(input_width));
  }
  try {
    dnnl::memory plain(
        {{dim_of(input_width), dim_of(output_width)}, dnnl::memory::data_type::f32, Tag::ba},
        state_->engine, const_cast<float*>(weights.data()));
    auto packed = std::make_unique<LinearWeights::Packed>();
    packed->memory = dnnl::memory(state_->packed_order(output_width, input_width), state_->engine);
    dnnl::reorder(plain, packed->memory).execute(state_->stream, plain, packed->memory);
    state_->stream.wait();
    return {std::move(packed), output_width, input_width};
  } catch (const dnnl::error& error) {
    refuse(state_->dtype, error);
  }
}

void Matmul::multiply(const LinearWeights& weights, const void* x, std::size_t row_count, void* y) {
  state_->run(weights, x, row_count, y, state_->dtype);
}

void Matmul::multiply_to_f32(const LinearWeights& weights, const void* x, std::size_t row_count,
                             float* y) {
  state_->run(weights, x, row_count, y, DType::f32);
}

}  // namespace cohort
