//! Other devices than those that there are.

use std::str::FromStr;

use super::Planning;
use crate::refusal::Refusal;

/// The most devices that are added at once.
const MOST: usize = 64;

/// More devices like one that there is.
///
/// ```
/// use stagger::DeviceChange;
///
/// let change: DeviceChange = "+2 devices like 0".parse()?;
/// assert_eq!((change.more, change.like), (2, 0));
/// # Ok::<(), stagger::Refusal>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceChange {
    /// How many more.
    pub more: usize,
    /// The device that they are like, by its number.
    pub like: usize,
}

impl FromStr for DeviceChange {
    type Err = Refusal;

    fn from_str(text: &str) -> Result<Self, Refusal> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let number = |word: &str| word.parse::<usize>().ok();
        let read = match words.as_slice() {
            [more, "device" | "devices", "like", like] => {
                let more = more
                    .strip_prefix('+')
                    .and_then(number)
                    .filter(|more| (1..=MOST).contains(more));
                more.zip(number(like))
            }
            _ => None,
        };
        let (more, like) = read.ok_or_else(|| Refusal::DeviceChange {
            found: text.to_owned(),
        })?;
        Ok(Self { more, like })
    }
}

impl DeviceChange {
    /// The plan to make with them, where there are so many devices before.
    ///
    /// # Errors
    /// [`Refusal::ChangedDevice`] when there is no device that they could be like.
    pub fn apply(&self, planning: &Planning, devices: usize) -> Result<Planning, Refusal> {
        if self.like >= devices {
            return Err(Refusal::ChangedDevice {
                found: self.like,
                devices,
            });
        }
        let mut changed = planning.clone();
        if changed.speeds.is_empty() {
            changed.speeds = vec![1.0; devices];
        }
        let speed = changed.speeds.get(self.like).copied().unwrap_or(1.0);
        changed.speeds.extend(vec![speed; self.more]);
        if changed.memory.len() > 1
            && let Some(&memory) = changed.memory.get(self.like)
        {
            changed.memory.extend(vec![memory; self.more]);
        }
        Ok(changed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planning(speeds: &[f64], memory: &[u64]) -> Planning {
        Planning {
            profile: "p.json".into(),
            speeds: speeds.to_vec(),
            memory: memory.to_vec(),
            latency: None,
            per_megabyte: None,
            stragglers: Vec::new(),
            batch_size: None,
            seed: 0,
        }
    }

    #[test]
    fn devices_are_added_behind_those_that_there_are() {
        let change: DeviceChange = "+2 devices like 1".parse().unwrap();
        let changed = change.apply(&planning(&[1.0, 0.5], &[8, 4]), 2).unwrap();
        assert_eq!(changed.speeds, [1.0, 0.5, 0.5, 0.5]);
        assert_eq!(changed.memory, [8, 4, 4, 4]);
        // What counts for all devices counts for these.
        let changed = change.apply(&planning(&[], &[8]), 2).unwrap();
        assert_eq!((changed.speeds, changed.memory), (vec![1.0; 4], vec![8]));
    }

    #[test]
    fn what_is_no_change_is_refused() {
        for wrong in [
            "",
            "more",
            "+0 devices like 0",
            "+65 devices like 0",
            "1 device like 0",
            "+1 device like x",
        ] {
            let refused = wrong.parse::<DeviceChange>();
            assert!(
                matches!(refused, Err(Refusal::DeviceChange { .. })),
                "{wrong}"
            );
        }
        let change: DeviceChange = "+1 device like 2".parse().unwrap();
        let refused = change.apply(&planning(&[1.0, 1.0], &[]), 2);
        assert!(matches!(
            refused,
            Err(Refusal::ChangedDevice {
                found: 2,
                devices: 2
            })
        ));
    }
}
