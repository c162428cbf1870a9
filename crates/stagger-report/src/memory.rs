//! Memory of this process, as the operating system reports it.

use std::fs;
use std::path::Path;

use stagger_data::foreign;

/// Peak resident memory of this process in bytes, since its start or the last [`reset_peak_resident`]. `None` if the
/// system does not report it (on systems other than Linux).
pub fn peak_resident_bytes() -> Option<u64> {
    entry(&status()?, "VmHWM:")
}

/// Resident memory of this process now, in bytes. `None` if the system does not report it (on systems other than Linux).
pub fn resident_bytes() -> Option<u64> {
    entry(&status()?, "VmRSS:")
}

fn status() -> Option<String> {
    foreign::system_text(Path::new("/proc/self/status")).ok()
}

/// Resets the peak to the memory that is resident now. Returns whether that worked: on Linux only, and not in every
/// container.
#[expect(clippy::disallowed_methods, reason = "a file of the system")]
pub fn reset_peak_resident() -> bool {
    fs::write("/proc/self/clear_refs", "5").is_ok()
}

/// The value of a line of `/proc/self/status` or `/proc/meminfo`, in bytes.
pub(crate) fn entry(status: &str, name: &str) -> Option<u64> {
    let value = status.lines().find_map(|line| line.strip_prefix(name))?;
    let kibibytes: u64 = value.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_kibibytes() {
        let status = "Name:\tstagger\nVmPeak:\t  999 kB\nVmHWM:\t   5120 kB\nVmRSS:\t 77 kB\n";
        assert_eq!(entry(status, "VmHWM:"), Some(5120 * 1024));
        assert_eq!(entry(status, "VmRSS:"), Some(77 * 1024));
        assert_eq!(entry("Name:\tstagger\n", "VmHWM:"), None);
        assert_eq!(entry("VmHWM:\tmany kB\n", "VmHWM:"), None);
        let meminfo = "MemTotal:  1024 kB\nMemFree: 1 kB\n";
        assert_eq!(entry(meminfo, "MemTotal:"), Some(1 << 20));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn peak_covers_what_was_touched() {
        let megabytes = vec![1_u8; 32 << 20];
        let peak = peak_resident_bytes().unwrap();
        assert!(peak >= megabytes.len() as u64, "{peak} bytes");
    }
}
