# Names of packages and features that the scripts here use.

# The package of the binary.
binary=stagger
# Engine torch, and the tests that it changes, as a filter of nextest.
torch=stagger/torch
changed_by_torch='(package(stagger-torch) + package(stagger) + package(stagger-cli))'
# Criterion, which nothing but benchmarks needs.
benches=stagger-runtime/shuttle
