# Names of packages and features that the scripts here use.

# The package of the binary.
binary=stagger-cli
# Engine torch, and the tests that it changes, as a filter of nextest.
torch=stagger-torch/torch,stagger/torch,stagger-cli/torch
changed_by_torch='(package(stagger-torch) + package(stagger) + package(stagger-cli))'
# Criterion, which nothing but benchmarks needs.
benches=stagger-benches/criterion
# For the model check: the crates that it tests, and two that bring the features of what all tests stand on.
model_packages=(-p stagger-transport -p stagger-runtime -p stagger-report -p stagger-torch)
model=stagger-transport/shuttle,stagger-runtime/shuttle
