// Written by scripts/tools/make_gpu_table.py from docs/measurements/gpu-launch-table.json.

#include <array>

#include "heap/shipped_tables.hpp"

namespace cohort::heap {
namespace {

constexpr auto kPaths = std::to_array<ShippedPath>({
    {Op::all_reduce, {Path::gpu_lamport, 2048}},
    {Op::all_reduce, {Path::gpu_ll, 4096}},
    {Op::all_reduce, {Path::gpu_lamport}},
    {Op::all_gather, {Path::gpu_lamport, 2048}},
    {Op::all_gather, {Path::gpu_ll, 4096}},
    {Op::all_gather, {Path::gpu_lamport}},
    {Op::reduce_scatter, {Path::gpu_lamport}},
});

constexpr auto kGrids = std::to_array<ShippedGrid>({
    {GridFamily::move, {128, 32}},
    {GridFamily::move, {192, 128}},
    {GridFamily::move, {64, 1024}},
    {GridFamily::move, {32, 4096}},
    {GridFamily::move, {384, 16384}},
    {GridFamily::move, {256, 32768}},
    {GridFamily::move, {512, 65536}},
    {GridFamily::move, {384, 131072}},
    {GridFamily::move, {256}},
    {GridFamily::reduce, {128, 32}},
    {GridFamily::reduce, {192, 64}},
    {GridFamily::reduce, {256, 128}},
    {GridFamily::reduce, {128, 512}},
    {GridFamily::reduce, {64, 1024}},
    {GridFamily::reduce, {32, 4096}},
    {GridFamily::reduce, {256, 32768}},
    {GridFamily::reduce, {384, 131072}},
    {GridFamily::reduce, {512}},
});

constexpr auto kTables = std::to_array<ShippedTable>({
    {"2 x NVIDIA H200, nvlink, measured 2026-11-22", "NVIDIA H200", "9.0", "13.0", GpuLink::nvlink,
     kPaths, kGrids},
});

}  // namespace

std::span<const ShippedTable> shipped_tables() noexcept {
  return kTables;
}

}  // namespace cohort::heap
