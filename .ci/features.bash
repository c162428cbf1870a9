# Names of packages and features that the scripts here use.

# The package of the binary.
binary=stagger-cli
# Engine torch, and the packages that it changes. The screen for terminals is there so that dependencies are asked for the same features as in
# the workspace, which has it.
torch_packages=(-p stagger-torch -p stagger -p stagger-cli)
torch=stagger-torch/torch,stagger/torch,stagger-cli/torch,stagger-cli/tui
# Criterion, which nothing but benchmarks needs.
benches=stagger-benches/criterion
# For the model check: the crates that it tests, and three that bring the features of what all tests stand on.
model_packages=(-p stagger-transport -p stagger-runtime -p stagger-report -p stagger-torch -p stagger-dashboard)
model=stagger-transport/shuttle,stagger-runtime/shuttle
# Processes that MPI connects, and the screen for terminals, which need builds of the binary of their own: what they change.
mpi_packages=(-p stagger-mpi -p stagger-cli)
mpi=stagger-mpi/mpi,stagger-cli/mpi,stagger-cli/tui
