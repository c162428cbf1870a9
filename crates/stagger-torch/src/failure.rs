//! What libtorch says when something fails, as an error of this crate.

use stagger_engine::EngineError;

/// Its message says what failed; what libtorch adds to it (call stacks, advice for users of PyTorch) is left out.
pub(super) fn failure(text: &str) -> EngineError {
    let line = text.lines().next().unwrap_or_default();
    let is_out_of_memory = ["out of memory", "can't allocate memory"]
        .iter()
        .any(|said| line.contains(said));
    if !is_out_of_memory {
        return EngineError::Backend {
            message: line.to_owned(),
        };
    }
    // What was asked for, and what was free; the rest is about PyTorch's allocator.
    let end = [" is free.", " bytes."]
        .iter()
        .find_map(|end| line.find(end).map(|at| at + end.len() - 1))
        .unwrap_or(line.len());
    EngineError::OutOfMemory {
        message: line[..end].to_owned(),
    }
}

/// What `tch` returns, with its error as one of engines.
pub(super) trait OrFailure<T> {
    fn or_failure(self) -> Result<T, EngineError>;
}

impl<T> OrFailure<T> for Result<T, tch::TchError> {
    fn or_failure(self) -> Result<T, EngineError> {
        self.map_err(|error| failure(&error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind, Tensor};

    use super::*;
    use crate::shim;

    #[test]
    fn a_gpu_without_memory_says_what_to_do() {
        let said = "CUDA out of memory. Tried to allocate 1.53 GiB. GPU 0 has a total capacity of 139.80 GiB of which \
                    479.12 MiB is free. Including non-PyTorch memory, this process has 139.32 GiB memory in use. See \
                    documentation for Memory Management\nframe #0: c10::Error";
        assert_eq!(
            failure(said).to_string(),
            "no memory is left: CUDA out of memory. Tried to allocate 1.53 GiB. GPU 0 has a total capacity of 139.80 GiB \
             of which 479.12 MiB is free; use a smaller batch, or more stages, each on a device of its own"
        );
    }

    #[test]
    fn a_host_without_memory_says_so_however_it_was_asked() {
        let side = 1_i64 << 45;
        let answers = [
            Tensor::f_zeros([side], (Kind::Float, Device::Cpu)).or_failure(),
            shim::empty(&[side], Kind::Float, Device::Cpu, false),
        ];
        for answer in answers {
            let error = answer.unwrap_err();
            assert!(matches!(error, EngineError::OutOfMemory { .. }), "{error}");
        }
    }

    #[test]
    fn anything_else_keeps_its_first_line() {
        let error = failure("the sizes differ\nframe #0: c10::Error");
        let message = "the sizes differ".to_owned();
        assert_eq!(error, EngineError::Backend { message });
    }
}
