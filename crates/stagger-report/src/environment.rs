//! The host and the program of a run.

use std::path::Path;
use std::{env, thread};

use serde::{Deserialize, Serialize};
use stagger_data::foreign;

use crate::compare::mebibytes;
use crate::memory::entry;

/// The host and the program of a run, as in its `environment.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Environment {
    /// Name of the host, if known.
    pub host: Option<String>,
    /// Name of the processor, if known.
    pub cpu: Option<String>,
    /// Cores that this process may use.
    pub cores: usize,
    /// Main memory of the host in bytes, if known.
    pub memory_bytes: Option<u64>,
    /// Operating system, with the kernel's release if known: `linux 6.1.0`.
    pub os: String,
    /// Processor architecture: `x86_64`.
    pub architecture: String,
    /// Version of stagger.
    pub stagger_version: String,
    /// The commit that stagger was built from, if known.
    pub git_commit: Option<String>,
}

impl Environment {
    /// Reads the facts about this host. The binary passes its version and commit.
    pub fn gather(stagger_version: &str, git_commit: Option<&str>) -> Self {
        let read = |path: &str| foreign::system_text(Path::new(path)).ok();
        let line = |path: &str| {
            read(path)
                .map(|text| text.trim().to_owned())
                .filter(|t| !t.is_empty())
        };
        let release = line("/proc/sys/kernel/osrelease");
        Self {
            host: line("/proc/sys/kernel/hostname").or_else(|| env::var("HOSTNAME").ok()),
            cpu: read("/proc/cpuinfo").and_then(|text| cpu_name(&text)),
            cores: thread::available_parallelism().map_or(1, usize::from),
            memory_bytes: read("/proc/meminfo").and_then(|text| entry(&text, "MemTotal:")),
            os: match release {
                Some(release) => format!("{} {release}", env::consts::OS),
                None => env::consts::OS.to_owned(),
            },
            architecture: env::consts::ARCH.to_owned(),
            stagger_version: stagger_version.to_owned(),
            git_commit: git_commit.map(str::to_owned),
        }
    }

    /// What a report says of it: names and values.
    pub(crate) fn facts(&self) -> Vec<(&'static str, String)> {
        let unknown = || "unknown".to_owned();
        let memory = self.memory_bytes.map_or_else(unknown, mebibytes);
        let commit = self.git_commit.clone().unwrap_or_else(unknown);
        vec![
            ("host", self.host.clone().unwrap_or_else(unknown)),
            (
                "processor",
                format!(
                    "{}, {} cores",
                    self.cpu.clone().unwrap_or_else(unknown),
                    self.cores
                ),
            ),
            ("memory", memory),
            ("system", format!("{}, {}", self.os, self.architecture)),
            (
                "stagger",
                format!("{}, commit {commit}", self.stagger_version),
            ),
        ]
    }

    /// As indented JSON with a final line break: the content of `environment.json`.
    pub fn to_json(&self) -> String {
        // A struct of strings and numbers cannot fail.
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }
}

/// The first `model name` of `/proc/cpuinfo`.
fn cpu_name(cpuinfo: &str) -> Option<String> {
    let line = cpuinfo
        .lines()
        .find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_proc() {
        let cpuinfo = "processor\t: 0\nmodel name\t: AMD EPYC 9B45\nprocessor\t: 1\n";
        assert_eq!(cpu_name(cpuinfo).as_deref(), Some("AMD EPYC 9B45"));
        assert_eq!(cpu_name("Hardware : arm\n"), None);
    }

    #[test]
    fn json_reads_back() {
        let here = Environment::gather("0.1.0", Some("66b9456"));
        let json = here.to_json();
        assert!(json.ends_with("}\n"));
        assert_eq!(serde_json::from_str::<Environment>(&json).unwrap(), here);
        assert!(here.cores >= 1);
        assert_eq!(here.git_commit.as_deref(), Some("66b9456"));
    }
}
