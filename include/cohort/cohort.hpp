#pragma once

// Everything of cohort's public interface.

#include <cohort/bootstrap.hpp>
#include <cohort/context_parallel.hpp>
#include <cohort/device_counts.hpp>
#include <cohort/dtype.hpp>
#include <cohort/error.hpp>
#include <cohort/group.hpp>
#include <cohort/health.hpp>
#include <cohort/ids.hpp>
#include <cohort/layer.hpp>
#include <cohort/layer_communicator.hpp>
#include <cohort/layout.hpp>
#include <cohort/ledger.hpp>
#include <cohort/local_move.hpp>
#include <cohort/memory.hpp>
#include <cohort/path_table.hpp>
#include <cohort/placement.hpp>
#include <cohort/plan.hpp>
#include <cohort/rms_norm.hpp>
#include <cohort/session.hpp>
#include <cohort/stream.hpp>
#include <cohort/tensor.hpp>
#include <cohort/verdict.hpp>
#include <cohort/version.hpp>
#include <cohort/world.hpp>
