// Found only when LIBTORCH holds no libtorch: stops the build of torch-sys with a sentence that says what to do.
#error "libtorch is not in the folder that LIBTORCH names; run `scripts/libtorch` at the root of the repository, or set LIBTORCH to a libtorch 2.11.0 of your own"
#include "libtorch is missing: run scripts/libtorch"
