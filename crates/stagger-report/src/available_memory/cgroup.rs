//! Memory that control groups leave to a process, by version 1 and 2 of their interface.

use std::path::{Path, PathBuf};

use stagger_data::foreign;

/// Files of a version.
struct Version {
    limit: &'static str,
    usage: &'static str,
    /// Lines of `memory.stat`: pages of files, which the system takes back before it ends a process.
    reclaimable: [&'static str; 2],
}

const V1: Version = Version {
    limit: "memory.limit_in_bytes",
    usage: "memory.usage_in_bytes",
    reclaimable: ["total_inactive_file", "total_active_file"],
};

const V2: Version = Version {
    limit: "memory.max",
    usage: "memory.current",
    reclaimable: ["inactive_file", "active_file"],
};

/// What the groups of this process and all groups above them leave to it, with the files of the system below `root`. `None`
/// where none of them has a limit.
pub fn available_bytes(root: &Path) -> Option<u64> {
    let read = |path| foreign::system_text(&root.join(path)).ok();
    let groups = read("proc/self/cgroup")?;
    let mounts = read("proc/self/mountinfo")?;
    let folders = groups.lines().filter_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, group) = (fields.next()?, fields.next()?);
        let version = match controllers {
            "" => &V2,
            names if names.split(',').any(|name| name == "memory") => &V1,
            _ => return None,
        };
        let mount = mounts.lines().find_map(|line| Mount::of(line, version))?;
        Some((
            version,
            root.join(mount.point.strip_prefix("/").ok()?),
            mount.below(group),
        ))
    });
    folders
        .flat_map(|(version, mount, group)| {
            let groups: Vec<PathBuf> = group.ancestors().map(|at| mount.join(at)).collect();
            groups.into_iter().filter_map(|group| left(&group, version))
        })
        .min()
}

/// What one group leaves.
fn left(group: &Path, version: &Version) -> Option<u64> {
    let read = |file| foreign::system_text(&group.join(file)).ok();
    // `max` is no number; version 1 says it by one that no host has.
    let limit: u64 = read(version.limit)?.trim().parse().ok()?;
    let usage: u64 = read(version.usage)?.trim().parse().ok()?;
    let stat = read("memory.stat").unwrap_or_default();
    let pages = |name: &&str| {
        let mut lines = stat.lines().filter_map(|line| line.split_once(' '));
        let (_, bytes) = lines.find(|(found, _)| found == name)?;
        bytes.trim().parse::<u64>().ok()
    };
    let reclaimable = version.reclaimable.iter().filter_map(pages).sum();
    (limit < 1 << 60).then(|| limit.saturating_sub(usage.saturating_sub(reclaimable)))
}

/// Where groups are to be seen.
struct Mount<'a> {
    /// The group that is mounted.
    group: &'a Path,
    point: &'a Path,
}

impl<'a> Mount<'a> {
    /// The mount in a line of `mountinfo`, if it is one of this version's memory groups.
    fn of(line: &'a str, version: &Version) -> Option<Self> {
        let (place, kind) = line.split_once(" - ")?;
        let mut kind = kind.split(' ');
        let system = kind.next()?;
        let options = kind.nth(1)?;
        let is_it = match version.limit == V2.limit {
            true => system == "cgroup2",
            false => system == "cgroup" && options.split(',').any(|name| name == "memory"),
        };
        let mut place = place.split(' ').skip(3);
        let (group, point) = (place.next()?, place.next()?);
        is_it.then(|| Self {
            group: Path::new(group),
            point: Path::new(point),
        })
    }

    /// The folder of a group below the mount point. A container may see its own group alone, under its name outside.
    fn below(&self, group: &str) -> PathBuf {
        let group = Path::new(group);
        group
            .strip_prefix(self.group)
            .map_or_else(|_| PathBuf::new(), Path::to_path_buf)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn system(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (file, text) in files {
            let path = root.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    const V2_MOUNT: &str =
        "29 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n";

    #[test]
    fn version_2_counts_all_groups_up_to_the_root() {
        let found = |job_max: &str, slice_max: &str| {
            let root = system(&[
                ("proc/self/cgroup", "0::/slice/job\n"),
                ("proc/self/mountinfo", V2_MOUNT),
                ("sys/fs/cgroup/slice/memory.max", slice_max),
                ("sys/fs/cgroup/slice/memory.current", "300\n"),
                ("sys/fs/cgroup/slice/job/memory.max", job_max),
                ("sys/fs/cgroup/slice/job/memory.current", "200\n"),
                (
                    "sys/fs/cgroup/slice/job/memory.stat",
                    "anon 60\nfile 140\ninactive_file 100\nactive_file 40\n",
                ),
            ]);
            available_bytes(root.path())
        };
        assert_eq!(found("1000\n", "max\n"), Some(940));
        assert_eq!(found("1000\n", "1100\n"), Some(800));
        assert_eq!(found("50\n", "1100\n"), Some(0));
        assert_eq!(found("max\n", "max\n"), None);
    }

    #[test]
    fn a_container_sees_its_own_group_only() {
        // In a namespace of its own, its group is the root; without one, it has a name that is not there to be seen.
        for (group, mounted) in [
            ("/", "/"),
            ("/docker/abc", "/docker/abc"),
            ("/docker/abc", "/elsewhere"),
        ] {
            let mount = V2_MOUNT.replace(" / /sys", &format!(" {mounted} /sys"));
            let root = system(&[
                ("proc/self/cgroup", &format!("0::{group}\n")),
                ("proc/self/mountinfo", &mount),
                ("sys/fs/cgroup/memory.max", "1000"),
                ("sys/fs/cgroup/memory.current", "100"),
            ]);
            assert_eq!(available_bytes(root.path()), Some(900), "{group} {mounted}");
        }
    }

    #[test]
    fn version_1_has_a_mount_per_controller() {
        let found = |limit: &str| {
            let root = system(&[
                ("proc/self/cgroup", "4:memory:/job\n1:cpu,cpuacct:/\n0::/\n"),
                (
                    "proc/self/mountinfo",
                    "32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
                     35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
                     41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n",
                ),
                ("sys/fs/cgroup/memory/job/memory.limit_in_bytes", limit),
                ("sys/fs/cgroup/memory/job/memory.usage_in_bytes", "500"),
                (
                    "sys/fs/cgroup/memory/job/memory.stat",
                    "inactive_file 7\ntotal_inactive_file 50\n",
                ),
            ]);
            available_bytes(root.path())
        };
        assert_eq!(found("1000"), Some(550));
        // Without a limit.
        assert_eq!(found("9223372036854771712"), None);
    }

    #[test]
    fn garbage_sets_no_limit() {
        let root = system(&[
            ("proc/self/cgroup", "\n:\n0\n0::\n4:memory\n"),
            ("proc/self/mountinfo", "\n - \n1 2 3 - cgroup2 a\n"),
        ]);
        assert_eq!(available_bytes(root.path()), None);
    }
}
