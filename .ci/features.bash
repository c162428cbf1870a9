# Names of packages and features that the scripts here use.

# The package of the binary.
binary=stagger-cli
# Engine torch, and the packages that it changes.
torch_packages=(-p stagger-torch -p stagger -p stagger-cli)
torch=stagger-torch/torch,stagger/torch,stagger-cli/torch
# Criterion, which nothing but benchmarks needs.
benches=stagger-benches/criterion
# For the model check: the crates that it tests, and two that bring the features of what all tests stand on.
model_packages=(-p stagger-transport -p stagger-runtime -p stagger-report -p stagger-torch)
model=stagger-transport/shuttle,stagger-runtime/shuttle
# Processes that MPI connects: what it changes.
mpi_packages=(-p stagger-mpi -p stagger-cli)
mpi=stagger-mpi/mpi,stagger-cli/mpi
