//! Where a stage of engine `torch` runs, and what a thread has to set up for it.

use std::ffi::OsStr;
use std::fmt;
use std::str::FromStr;
use std::sync::Once;

use tch::Device;

use stagger_engine::EngineError;

use super::shim;

/// A device of libtorch, with how a stage uses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TorchDevice {
    /// `None` is the CPU, otherwise the index of a CUDA device.
    pub cuda: Option<usize>,
    /// Compute threads of the stage on the CPU, at least 1.
    pub threads: usize,
    /// Whether CUDA operations must give the same bits every time, at some cost in speed. The environment variable
    /// `CUBLAS_WORKSPACE_CONFIG` then has to be `:4096:8` or `:16:8` when the program starts; program `stagger` sees to that itself.
    pub deterministic: bool,
    /// Whether `f32` products on CUDA devices may round their factors to TF32, which keeps 10 bits of them. Holds for the
    /// whole process, as `deterministic` does: the stage that was made last decides.
    pub tf32: bool,
}

impl Default for TorchDevice {
    /// The CPU with one thread.
    fn default() -> Self {
        Self {
            cuda: None,
            threads: 1,
            deterministic: true,
            tf32: false,
        }
    }
}

impl TorchDevice {
    pub(super) fn device(&self) -> Device {
        self.cuda.map_or(Device::Cpu, Device::Cuda)
    }

    /// Checks that the device is there, and can be deterministic where it is to be.
    ///
    /// # Errors
    /// [`EngineError::Backend`] when it is not, or cannot.
    pub fn check(&self) -> Result<(), EngineError> {
        let Some(index) = self.cuda else {
            return Ok(());
        };
        let found = tch::Cuda::device_count();
        if usize::try_from(found).is_ok_and(|found| index < found) {
            let workspace = std::env::var_os("CUBLAS_WORKSPACE_CONFIG");
            return match self.deterministic {
                true => check_workspace(workspace.as_deref()),
                false => Ok(()),
            };
        }
        let built = tch::utils::has_cuda();
        let message = if found == 0 && !built {
            format!(
                "device cuda:{index} is not there: no CUDA device is visible, or this libtorch has no CUDA part; use \
                 --device cpu, or fetch libtorch with `scripts/libtorch --cuda` and build again"
            )
        } else {
            format!(
                "device cuda:{index} is not there: {found} CUDA devices are visible, numbered from 0"
            )
        };
        Err(EngineError::Backend { message })
    }

    /// Sets up the calling thread.
    pub(super) fn prepare(&self) -> Result<(), EngineError> {
        static PROCESS: Once = Once::new();
        self.check()?;
        // Pool threads between operations are never used here, and each would hold memory.
        PROCESS.call_once(|| tch::set_num_interop_threads(1));
        let threads = i32::try_from(self.threads.max(1)).unwrap_or(i32::MAX);
        shim::set_threads(threads)?;
        if let Some(index) = self.cuda {
            shim::set_deterministic(self.deterministic)?;
            shim::set_cudnn_benchmark(!self.deterministic)?;
            // Left alone, libtorch lets cuDNN's convolutions round.
            shim::set_tf32(self.tf32)?;
            // Stages that share a GPU overlap only on streams of their own.
            shim::use_own_stream(index)?;
        }
        Ok(())
    }
}

impl fmt::Display for TorchDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.cuda {
            None => f.write_str("cpu"),
            Some(index) => write!(f, "cuda:{index}"),
        }
    }
}

impl FromStr for TorchDevice {
    type Err = EngineError;

    /// Reads `cpu`, `cuda` or `cuda:1`.
    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let cuda = match name.split_once(':') {
            None if name == "cpu" => None,
            None if name == "cuda" => Some(0),
            Some(("cuda", index)) => Some(index.parse().map_err(|_| unknown(name))?),
            _ => return Err(unknown(name)),
        };
        Ok(Self {
            cuda,
            ..Self::default()
        })
    }
}

/// libtorch lets cuBLAS compute deterministically with one of two settings alone, and says so in the middle of a pass. A library cannot
/// write the environment of a program that may have threads; `stagger` itself does before it has any.
fn check_workspace(set: Option<&OsStr>) -> Result<(), EngineError> {
    match set.and_then(OsStr::to_str) {
        Some(":4096:8" | ":16:8") => Ok(()),
        _ => Err(EngineError::Backend {
            message: "a deterministic run on CUDA needs the environment variable CUBLAS_WORKSPACE_CONFIG to be :4096:8 or :16:8; set it \
                      before the program starts, or give up equal bits with --deterministic false (`deterministic`)"
                .to_owned(),
        }),
    }
}

fn unknown(name: &str) -> EngineError {
    EngineError::Backend {
        message: format!("there is no device `{name}`; use cpu, cuda or cuda:N"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cublas_needs_a_fixed_workspace() {
        for fine in [":4096:8", ":16:8"] {
            assert!(check_workspace(Some(fine.as_ref())).is_ok(), "{fine}");
        }
        for wrong in [None, Some(""), Some(":0:0")] {
            let refused = check_workspace(wrong.map(OsStr::new));
            assert!(
                matches!(refused, Err(EngineError::Backend { .. })),
                "{wrong:?}"
            );
        }
    }

    #[test]
    fn names_are_read_back() {
        for name in ["cpu", "cuda:0", "cuda:3"] {
            assert_eq!(name.parse::<TorchDevice>().unwrap().to_string(), name);
        }
        assert_eq!("cuda".parse::<TorchDevice>().unwrap().cuda, Some(0));
        for wrong in ["gpu", "cuda:x", "cpu:1", ""] {
            let error = wrong.parse::<TorchDevice>().unwrap_err().to_string();
            assert!(error.contains("use cpu, cuda or cuda:N"), "{error}");
        }
    }

    #[test]
    fn a_device_that_is_not_there_is_an_error() {
        let device = TorchDevice {
            cuda: Some(1000),
            ..TorchDevice::default()
        };
        let error = device.check().unwrap_err().to_string();
        assert!(error.contains("cuda:1000 is not there"), "{error}");
    }
}
