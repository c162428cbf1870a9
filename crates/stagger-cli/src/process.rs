//! What has to be set for the whole process before it has a second thread.

// The environment may be written only while no other thread can read it.
#![allow(unsafe_code)]

/// cuBLAS needs a workspace of fixed size to give the same bits every time, and libtorch refuses to be deterministic
/// without. Call it first in `main`: no other thread may run yet. What the user has set stays.
pub fn fix_cublas_workspace() {
    const NAME: &str = "CUBLAS_WORKSPACE_CONFIG";
    if std::env::var_os(NAME).is_none() {
        // SAFETY: called at the start of `main`, before any other thread exists.
        unsafe { std::env::set_var(NAME, ":4096:8") }
    }
}
