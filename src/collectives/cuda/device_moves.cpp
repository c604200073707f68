#include "collectives/cuda/device_moves.hpp"

#include <array>
#include <cstddef>

#include "collectives/local_move.hpp"

namespace cohort::cuda {

void move_on_device(const OpenDevice& device, std::span<const LocalMove> moves,
                    StreamHandle stream) {
  collectives::check_moves(moves);
  std::array<CopyPiece, kCopyPiecesMax> pieces;
  std::size_t count = 0;
  for (const LocalMove& move : moves) {
    if (move.rows == 0 || move.row_bytes == 0) continue;
    if (count == pieces.size()) {
      device.copy_pieces(pieces, stream);
      count = 0;
    }
    pieces[count++] = {.to = OpenDevice::host(move.to),
                       .from = OpenDevice::host(move.from),
                       .rows = move.rows,
                       .row_bytes = move.row_bytes,
                       .to_stride = move.to_stride_bytes,
                       .from_stride = move.from_stride_bytes};
  }
  if (count != 0) device.copy_pieces(std::span(pieces).first(count), stream);
}

}  // namespace cohort::cuda
