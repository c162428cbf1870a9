//! The devices and links that a plan is made for.

use stagger_plan::{DeviceProfile, Distribution, LinkProfile, Profile};

use super::Planning;
use crate::error::Error;
use crate::refusal::Refusal;

impl Planning {
    /// The profile with the devices and links that are asked for.
    pub(super) fn with_devices(&self, mut profile: Profile) -> Result<Profile, Error> {
        let measured = profile.devices.len();
        let wanted = match self.speeds.len() {
            // Whole stages may have been measured on equal devices.
            0 => {
                (profile.stages.as_ref()).map_or(measured, |stages| stages.cut.len().max(measured))
            }
            wanted => wanted,
        };
        let speeds = match self.speeds.is_empty() {
            true => vec![1.0; wanted],
            false => self.speeds.clone(),
        };
        if measured == 0 || (measured != 1 && measured < wanted) {
            return Err(Refusal::PlannedDevices {
                found: measured,
                expected: wanted,
            }
            .into());
        }
        if let Some(speed) = speeds
            .iter()
            .find(|speed| !(speed.is_finite() && **speed > 0.0))
        {
            return Err(Refusal::Value {
                option: "speeds",
                found: speed.to_string(),
                kind: "a speed",
                expected: "a number above 0, such as 0.5 for a device that takes twice as long",
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
                forward: scaled(&own.forward),
                recompute: scaled(&own.recompute),
                backward: scaled(&own.backward),
                update: scaled(&own.update),
                memory_bytes: memory.or(own.memory_bytes),
            }
        };
        let devices = speeds.iter().enumerate().map(device).collect();
        profile.devices = devices;
        // Whole stages were measured on other devices.
        if speeds.iter().any(|speed| *speed != 1.0) {
            profile.stages = None;
        }
        let free = LinkProfile {
            latency: Distribution::ZERO,
            per_megabyte: Distribution::ZERO,
        };
        if self.latency.is_some() || self.per_megabyte.is_some() {
            let measured = profile.links.first().cloned().unwrap_or(free);
            profile.links = vec![LinkProfile {
                latency: self.latency.clone().unwrap_or(measured.latency),
                per_megabyte: match self.per_megabyte {
                    Some(seconds) => Distribution::Constant(seconds),
                    None => measured.per_megabyte,
                },
            }];
        }
        Ok(profile)
    }
}

/// Devices by their speed, the fastest first and equal ones by their numbers.
pub(super) fn by_speed(speeds: &[f64], devices: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..devices).collect();
    if !speeds.is_empty() {
        order.sort_by(|&a, &b| speeds[b].total_cmp(&speeds[a]).then(a.cmp(&b)));
    }
    order
}

/// So many of the devices, in their order: the fastest.
pub(super) fn fastest(speeds: &[f64], devices: usize, count: usize) -> Vec<usize> {
    let mut order = by_speed(speeds, devices);
    order.truncate(count);
    order.sort_unstable();
    order
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

    #[test]
    fn the_fastest_are_taken_in_their_order() {
        let speeds = [1.0, 0.5, 2.0, 1.0];
        assert_eq!(by_speed(&speeds, 4), [2, 0, 3, 1]);
        assert_eq!(fastest(&speeds, 4, 3), [0, 2, 3]);
        assert_eq!(fastest(&[], 3, 2), [0, 1]);
    }
}
