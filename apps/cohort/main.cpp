#include <cstdio>

int main() {
  std::puts("cohort");
  return 0;
}
