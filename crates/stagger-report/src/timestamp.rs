//! Times as text, in UTC.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The last second that has a year of four digits: `9999-12-31T23:59:59Z`.
const LAST_SECOND: Duration = Duration::from_secs(253_402_300_799);

/// The time as `2026-11-23T05:50:27Z`. Times before 1970 or after 9999 are given as the first or last of these years.
pub(crate) fn utc(time: SystemTime) -> String {
    let time = time.clamp(UNIX_EPOCH, UNIX_EPOCH + LAST_SECOND);
    humantime::format_rfc3339_seconds(time).to_string()
}

/// The time in characters that every file system takes: `2026-11-23T05-50-27`.
pub(crate) fn utc_in_a_file_name(time: SystemTime) -> String {
    utc(time).trim_end_matches('Z').replace(':', "-")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn known_times() {
        // Checked against `date -u -d @SECONDS`.
        let known = [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_827_696, "2000-02-29T12:34:56Z"),
            (1_709_251_199, "2024-02-29T23:59:59Z"),
            (1_795_413_027, "2026-11-23T05:50:27Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ];
        for (seconds, expected) in known {
            assert_eq!(utc(at(seconds)), expected);
        }
    }

    #[test]
    fn clocks_that_are_far_off_give_a_time_too() {
        assert_eq!(utc(UNIX_EPOCH - Duration::from_secs(1)), utc(at(0)));
        let late = utc(at(1 << 40));
        assert_eq!(late, "9999-12-31T23:59:59Z");
    }

    #[test]
    fn a_file_name_has_no_colon() {
        assert_eq!(utc_in_a_file_name(at(1_795_413_027)), "2026-11-23T05-50-27");
    }
}
