//! Other devices than those that there are.

use std::str::FromStr;

use super::Planning;
use super::devices::MOST_DEVICES;
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
    /// The plan to make with them. It refuses more devices than can be planned for.
    #[must_use]
    pub fn apply(&self, planning: &Planning) -> Planning {
        let mut changed = planning.clone();
        // As many as are refused in any case.
        let more = self.more.min(MOST_DEVICES + 1);
        changed.added.extend(vec![self.like; more]);
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    }
}
