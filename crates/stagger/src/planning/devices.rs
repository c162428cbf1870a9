//! The devices and links that a plan is made for.

use stagger_plan::{DeviceProfile, Distribution, LinkProfile, Profile};

use super::Planning;
use crate::balance::ProfileMisfit;
use crate::durations::{DurationsError, check_time};
use crate::error::Error;
use crate::refusal::{Refusal, said_number};

/// Devices that a plan is made for at most: the methods on all of them are tried within minutes.
pub(super) const MOST_DEVICES: usize = 64;

/// The least speed in multiples of a measured one. The largest is one over that.
const LEAST_SPEED: f64 = 1e-6;

impl Planning {
    /// The profile with the devices and links that are asked for.
    pub(super) fn with_devices(&self, mut profile: Profile) -> Result<Profile, Error> {
        let measured = profile.devices.len();
        let staged = (profile.stages.as_ref()).map_or(measured, |stages| stages.cut.len());
        let wanted = match self.speeds.len() {
            // Whole stages may have been measured on equal devices.
            0 => staged.max(measured),
            wanted => wanted,
        };
        let speeds = match self.speeds.is_empty() {
            true => vec![1.0; wanted],
            false => self.speeds.clone(),
        };
        if ![1, staged].contains(&measured) {
            // What whole stages took says nothing of a device then.
            profile.stages = None;
        }
        if wanted + self.added.len() > MOST_DEVICES {
            return Err(Refusal::Value {
                option: match (self.added.is_empty(), self.speeds.is_empty()) {
                    (false, _) => "what_if",
                    (true, false) => "speeds",
                    (true, true) => "profile",
                },
                found: format!("with {} devices in all", wanted + self.added.len()),
                kind: "a number of devices that can be planned for",
                expected: "at most 64",
            }
            .into());
        }
        let links = profile.links.len();
        // Of what was measured, fewer devices may be planned for.
        if links > 1 && ![wanted, measured, staged].contains(&(links + 1)) {
            return Err(DurationsError::from(ProfileMisfit::Links {
                path: self.profile.clone(),
                found: links,
                devices: wanted,
            })
            .into());
        }
        if let Some(&found) = self.added.iter().find(|like| **like >= wanted) {
            let devices = wanted;
            return Err(Refusal::ChangedDevice { found, devices }.into());
        }
        if measured != 1 && measured < wanted {
            return Err(Refusal::PlannedDevices {
                found: measured,
                expected: wanted,
            }
            .into());
        }
        if let Some(speed) = speeds
            .iter()
            .find(|speed| !(LEAST_SPEED..=1.0 / LEAST_SPEED).contains(*speed))
        {
            return Err(Refusal::Value {
                option: "speeds",
                found: said_number(*speed),
                kind: "a speed",
                expected: "a number from 1e-6 to 1e6, such as 0.5 for a device that takes twice as long",
            }
            .into());
        }
        if !matches!(self.memory.len(), 0 | 1) && self.memory.len() != wanted {
            return Err(Refusal::PlannedMemory {
                found: self.memory.len(),
                devices: wanted,
            }
            .into());
        }
        let device = |(number, speed): (usize, &f64)| {
            let own = &profile.devices[if measured == 1 { 0 } else { number }];
            let scaled =
                |times: &[Distribution]| times.iter().map(|time| time.times(1.0 / speed)).collect();
            let memory = self.memory.get(number).or(self.memory.first()).copied();
            DeviceProfile {
                name: own.name.clone(),
                engine: own.engine.clone(),
                threads: own.threads,
                winograd: own.winograd,
                forward: scaled(&own.forward),
                recompute: scaled(&own.recompute),
                backward: scaled(&own.backward),
                weights_share: own.weights_share.clone(),
                update: scaled(&own.update),
                memory_bytes: memory.or(own.memory_bytes),
            }
        };
        let mut devices: Vec<DeviceProfile> = speeds.iter().enumerate().map(device).collect();
        let added = self.added.iter().map(|&like| devices[like].clone());
        devices.extend(added.collect::<Vec<_>>());
        profile.devices = devices;
        self.check_times(&profile)?;
        // Whole stages were measured on other devices.
        if speeds.iter().any(|speed| *speed != 1.0) || (measured > 1 && !self.added.is_empty()) {
            profile.stages = None;
        }
        check_time("latency", self.latency.as_ref())?;
        self.set_links(&mut profile);
        let slow = |link: &LinkProfile| !link.per_megabyte.can_be_written();
        if let Some(seconds) = self.per_megabyte.filter(|_| profile.links.iter().any(slow)) {
            return Err(Refusal::Value {
                option: "bandwidth",
                found: said_number(1.0 / seconds),
                kind: "a bandwidth",
                expected: "one at which a megabyte takes at most a day, such as 1",
            }
            .into());
        }
        Ok(profile)
    }

    /// Makes sure that the times of the devices are some that a profile can say.
    fn check_times(&self, profile: &Profile) -> Result<(), Refusal> {
        let slow = profile
            .devices
            .iter()
            .position(|device| !device.can_be_written());
        match slow.and_then(|device| self.speeds.get(device)) {
            Some(&speed) => Err(Refusal::Value {
                option: "speeds",
                found: said_number(speed),
                kind: "a speed for this profile",
                expected: "one at which no block takes more than a day for anything",
            }),
            None => Ok(()),
        }
    }
}

impl Planning {
    /// Replaces what is asked for of each link; what is not said stays as it is. An added device lies behind a link like the slowest.
    fn set_links(&self, profile: &mut Profile) {
        if profile.links.len() > 1 {
            let like = slowest(&profile.links).cloned();
            // Fewer devices than were measured have the first links.
            let measured = profile.devices.len() - self.added.len();
            profile.links.truncate(measured.saturating_sub(1).max(1));
            let added = self.added.iter().filter_map(|_| like.clone());
            profile.links.extend(added.collect::<Vec<_>>());
        }
        if profile.links.is_empty() && (self.latency.is_some() || self.per_megabyte.is_some()) {
            profile.links.push(LinkProfile {
                latency: Distribution::ZERO,
                per_megabyte: Distribution::ZERO,
            });
        }
        for link in &mut profile.links {
            if let Some(latency) = &self.latency {
                link.latency.clone_from(latency);
            }
            if let Some(seconds) = self.per_megabyte {
                link.per_megabyte = Distribution::Constant(seconds);
            }
        }
    }
}

/// The links between neighbouring stages on some of the devices, whose own links each lead to the next device: the slowest of those on
/// the way. Where the profile has one link for all, or too few of them, they are as they are.
pub(super) fn links_between(
    links: &[LinkProfile],
    devices: &[usize],
    all_devices: usize,
) -> Vec<LinkProfile> {
    if links.len() <= 1 || links.len() + 1 != all_devices {
        return links[..links.len().min(devices.len().saturating_sub(1).max(1))].to_vec();
    }
    let hops = devices.windows(2).filter_map(|ends| {
        let (first, last) = (ends[0].min(ends[1]), ends[0].max(ends[1]));
        slowest(&links[first..last]).cloned()
    });
    hops.collect()
}

/// Devices by what each takes for a batch, the fastest first and equal ones by their numbers.
pub(super) fn by_speed(seconds: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..seconds.len()).collect();
    order.sort_by(|&a, &b| seconds[a].total_cmp(&seconds[b]).then(a.cmp(&b)));
    order
}

/// So many of the devices of such an order, in the order of their numbers: the fastest.
pub(super) fn fastest(order: &[usize], count: usize) -> Vec<usize> {
    let mut devices = order[..count].to_vec();
    devices.sort_unstable();
    devices
}

/// The link over which a message of a megabyte takes longest.
pub(super) fn slowest(links: &[LinkProfile]) -> Option<&LinkProfile> {
    let seconds = |link: &LinkProfile| link.latency.mean() + link.per_megabyte.mean();
    let links = links.iter();
    links.max_by(|one, other| seconds(one).total_cmp(&seconds(other)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(milliseconds: f64) -> LinkProfile {
        LinkProfile {
            latency: Distribution::Constant(milliseconds / 1e3),
            per_megabyte: Distribution::ZERO,
        }
    }

    #[test]
    fn messages_go_over_the_links_between_the_devices() {
        let links = [link(1.0), link(20.0), link(3.0)];
        let between = |devices: &[usize]| links_between(&links, devices, 4);
        assert_eq!(between(&[0, 1, 2, 3]), links);
        assert_eq!(between(&[1, 2]), [link(20.0)]);
        assert_eq!(between(&[0, 3]), [link(20.0)]);
        assert_eq!(between(&[2, 3]), [link(3.0)]);
        assert_eq!(between(&[0, 1, 3]), [link(1.0), link(20.0)]);
        assert_eq!(between(&[2]), []);
        // One link counts for all.
        assert_eq!(links_between(&links[..1], &[1, 2], 4), [link(1.0)]);
        assert_eq!(links_between(&links, &[0, 1], 2), [link(1.0)]);
        assert_eq!(links_between(&[], &[0, 1], 2), []);
    }

    #[test]
    fn the_fastest_are_taken_in_their_order() {
        let order = by_speed(&[0.2, 0.4, 0.1, 0.2]);
        assert_eq!(order, [2, 0, 3, 1]);
        assert_eq!(fastest(&order, 3), [0, 2, 3]);
        assert_eq!(fastest(&by_speed(&[0.1; 3]), 2), [0, 1]);
    }
}
