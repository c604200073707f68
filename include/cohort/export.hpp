#pragma once

#define COHORT_EXPORT __attribute__((visibility("default")))
