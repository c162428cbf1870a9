//! mimalloc as the allocator of the whole process, libtorch included.
//!
//! libtorch takes and gives back the memory of every result. glibc returns blocks of that size to the system and gets
//! them again, zeroed page by page; mimalloc keeps them. Feature `override` of mimalloc defines `malloc`,
//! `posix_memalign` and their like in the binary, and the dynamic linker binds libtorch to those.

// mimalloc's options have no safe interface.
#![allow(unsafe_code)]

use std::ffi::c_long;

use libmimalloc_sys::{mi_option_set_default, mi_option_t};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// `mi_option_purge_delay` of `mimalloc.h`, which the bindings leave out.
const PURGE_DELAY: mi_option_t = 15;
const NEVER: c_long = -1;

/// Has mimalloc keep the memory it has, unless `MIMALLOC_PURGE_DELAY` says otherwise: a training step needs again what
/// the last one gave back. Call it before other threads start.
pub fn keep_memory() {
    // SAFETY: sets an entry of mimalloc's table of options, which has more than 15; no other thread reads it yet.
    unsafe { mi_option_set_default(PURGE_DELAY, NEVER) }
}

#[cfg(test)]
mod tests {
    use std::ffi::c_void;

    use libmimalloc_sys::{mi_is_in_heap_region, mi_option_get};

    use super::*;

    #[test]
    fn purging_is_off() {
        keep_memory();
        // SAFETY: reads an entry of mimalloc's table of options.
        assert_eq!(unsafe { mi_option_get(PURGE_DELAY) }, NEVER);
    }

    #[test]
    fn libtorch_allocates_from_mimalloc() {
        unsafe extern "C" {
            #[link_name = "_ZN3c109alloc_cpuEm"]
            fn alloc_cpu(bytes: usize) -> *mut c_void;
            #[link_name = "_ZN3c108free_cpuEPv"]
            fn free_cpu(memory: *mut c_void);
        }
        // SAFETY: libtorch's `c10::alloc_cpu` and `c10::free_cpu`, by which tensors get their memory; freed once.
        unsafe {
            let memory = alloc_cpu(1 << 20);
            assert!(mi_is_in_heap_region(memory));
            free_cpu(memory);
        }
    }
}
