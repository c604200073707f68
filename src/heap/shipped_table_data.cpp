// Written by scripts/tools/make_gpu_table.py from docs/measurements/gpu-paths-*.json.

#include <array>

#include "heap/shipped_tables.hpp"

namespace cohort::heap {
namespace {

// clang-format off
constexpr auto kPaths1 = std::to_array<ShippedPath>({
    {Op::all_reduce, 2, {Path::gpu_lamport}},
    {Op::all_gather, 2, {Path::gpu_lamport}},
    {Op::all_gatherv, 2, {Path::gpu_lamport}},
    {Op::reduce_scatter, 2, {Path::gpu_lamport}},
    {Op::reduce_scatterv, 2, {Path::gpu_lamport}},
    {Op::broadcast, 2, {Path::gpu_lamport}},
    {Op::all_to_all, 2, {Path::gpu_lamport}},
    {Op::all_to_allv, 2, {Path::gpu_lamport}},
    {Op::all_reduce, 4, {Path::gpu_ll, 4096}},
    {Op::all_reduce, 4, {Path::gpu_lamport, 262144}},
    {Op::all_reduce, 4, {Path::gpu_two_shot}},
    {Op::all_gather, 4, {Path::gpu_ll, 4096}},
    {Op::all_gather, 4, {Path::gpu_lamport}},
    {Op::all_gatherv, 4, {Path::gpu_ll, 4096}},
    {Op::all_gatherv, 4, {Path::gpu_lamport}},
    {Op::reduce_scatter, 4, {Path::gpu_lamport}},
    {Op::reduce_scatterv, 4, {Path::gpu_lamport}},
    {Op::broadcast, 4, {Path::gpu_lamport}},
    {Op::all_to_all, 4, {Path::gpu_lamport}},
    {Op::all_to_allv, 4, {Path::gpu_lamport}},
});

constexpr auto kGrids1 = std::to_array<ShippedGrid>({
    {GridFamily::move, 2, {64, 16384}},
    {GridFamily::move, 2, {384}},
    {GridFamily::reduce, 2, {64, 8192}},
    {GridFamily::reduce, 2, {384}},
    {GridFamily::move, 4, {192}},
    {GridFamily::reduce, 4, {384, 128}},
    {GridFamily::reduce, 4, {192}},
});

constexpr auto kTables = std::to_array<ShippedTable>({
    {"NVIDIA H200, nvlink, groups of 2 and 4", "NVIDIA H200", "9.0", "13.0", GpuLink::nvlink,
     kPaths1, kGrids1},
});

// clang-format on

}  // namespace

std::span<const ShippedTable> shipped_tables() noexcept {
  return kTables;
}

}  // namespace cohort::heap
