//! How much more memory this process may take: what the host has left, and what cgroups and ulimits leave of it.

mod cgroup;

use std::path::Path;

use stagger_data::foreign;

use crate::memory::entry;

/// Memory that this process may still take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AvailableMemory {
    /// Bytes beside those that it has already.
    pub bytes: u64,
    /// What allows no more.
    pub limit: MemoryLimit,
}

/// What bounds the memory of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryLimit {
    /// Main memory and swap of the host that are not in use.
    Host,
    /// A control group, as containers and batch systems set it.
    Cgroup,
    /// `ulimit -v`: the size of the address space.
    AddressSpace,
    /// `ulimit -d`: the size of the data.
    Data,
}

impl MemoryLimit {
    /// What it is, for a sentence: `the cgroup of this process (a container's or a job's limit)`.
    pub fn describe(self) -> &'static str {
        match self {
            Self::Host => "this host",
            Self::Cgroup => "the memory limit of this container or job (its cgroup)",
            Self::AddressSpace => "the limit on the address space (ulimit -v)",
            Self::Data => "the limit on the data segment (ulimit -d)",
        }
    }
}

/// The memory that this process may still take, by the tightest of all limits. `None` if the system reports none (on systems
/// other than Linux).
pub fn available_memory() -> Option<AvailableMemory> {
    available_below(Path::new("/"))
}

/// The same, with the files of the system below `root`.
fn available_below(root: &Path) -> Option<AvailableMemory> {
    let read = |path: &str| foreign::system_text(&root.join(path)).unwrap_or_default();
    let (meminfo, limits, status) = (
        read("proc/meminfo"),
        read("proc/self/limits"),
        read("proc/self/status"),
    );
    let left = |limit: &str, used: &str| {
        let used_bytes = entry(&status, used)?;
        Some(soft_limit(&limits, limit)?.saturating_sub(used_bytes))
    };
    let host = entry(&meminfo, "MemAvailable:")
        .map(|bytes| bytes.saturating_add(entry(&meminfo, "SwapFree:").unwrap_or(0)));
    [
        (MemoryLimit::Host, host),
        (MemoryLimit::Cgroup, cgroup::available_bytes(root)),
        (
            MemoryLimit::AddressSpace,
            left("Max address space", "VmSize:"),
        ),
        (MemoryLimit::Data, left("Max data size", "VmData:")),
    ]
    .into_iter()
    .filter_map(|(limit, bytes)| bytes.map(|bytes| AvailableMemory { bytes, limit }))
    .min_by_key(|found| found.bytes)
}

/// The soft limit in a line of `/proc/self/limits`; `None` where there is none.
fn soft_limit(limits: &str, name: &str) -> Option<u64> {
    let values = limits.lines().find_map(|line| line.strip_prefix(name))?;
    values.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const LIMITS: &str = "Limit                     Soft Limit           Hard Limit           Units     \n\
                          Max data size             9000000              unlimited            bytes     \n\
                          Max address space         unlimited            unlimited            bytes     \n";

    fn host(limits: &str) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("proc/self")).unwrap();
        for (file, text) in [
            (
                "meminfo",
                "MemTotal: 9000 kB\nMemAvailable: 6000 kB\nSwapFree: 1000 kB\n",
            ),
            ("self/limits", limits),
            ("self/status", "VmSize:\t 3000 kB\nVmData:\t 2000 kB\n"),
        ] {
            fs::write(root.path().join("proc").join(file), text).unwrap();
        }
        root
    }

    #[test]
    fn the_tightest_limit_counts() {
        let found = |limits: &str| available_below(host(limits).path()).unwrap();
        let expected = |bytes, limit| AvailableMemory { bytes, limit };
        let all = LIMITS.replace("space         unlimited", "space         3072001");
        for (limits, bytes, limit) in [
            ("", 7000 * 1024, MemoryLimit::Host),
            (LIMITS, 9_000_000 - 2000 * 1024, MemoryLimit::Data),
            (&*all, 1, MemoryLimit::AddressSpace),
        ] {
            assert_eq!(found(limits), expected(bytes, limit));
        }
    }

    #[test]
    fn a_system_that_says_nothing_sets_no_limit() {
        let nothing = tempfile::tempdir().unwrap();
        assert_eq!(available_below(nothing.path()), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_may_take_more() {
        assert!(available_memory().unwrap().bytes > 1 << 20);
    }
}
