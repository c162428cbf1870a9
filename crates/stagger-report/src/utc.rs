//! UTC date and time of an instant, without a time-zone database.

use std::time::{SystemTime, UNIX_EPOCH};

const DAY_SECONDS: u64 = 86_400;

/// The instant as `2026-11-23T05:50:27Z`; instants before 1970 count as its start.
pub(crate) fn utc_stamp(instant: SystemTime) -> String {
    let (date, [hour, minute, second]) = utc(instant);
    format!("{date}T{hour:02}:{minute:02}:{second:02}Z")
}

/// As [`utc_stamp`], in characters that every file system takes: `2026-11-23T05-50-27`.
pub(crate) fn utc_file_stamp(instant: SystemTime) -> String {
    let (date, [hour, minute, second]) = utc(instant);
    format!("{date}T{hour:02}-{minute:02}-{second:02}")
}

fn utc(instant: SystemTime) -> (String, [u64; 3]) {
    let seconds = instant
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    let (year, month, day) = civil_date(seconds / DAY_SECONDS);
    let of_day = seconds % DAY_SECONDS;
    (
        format!("{year:04}-{month:02}-{day:02}"),
        [of_day / 3600, of_day / 60 % 60, of_day % 60],
    )
}

/// Gregorian year, month and day of a day counted from 1970-01-01.
///
/// Source: H. Hinnant, "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`. Years begin
/// in March there, so that the leap day is the last of its year.
fn civil_date(days_since_1970: u64) -> (u64, u64, u64) {
    let days = days_since_1970 + 719_468;
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn known_instants() {
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
            assert_eq!(
                utc_stamp(UNIX_EPOCH + Duration::from_secs(seconds)),
                expected
            );
        }
    }

    #[test]
    fn every_day_follows_the_one_before() {
        let mut before = civil_date(0);
        for day in 1..200 * 366 {
            let now = civil_date(day);
            let next_day = (before.0, before.1, before.2 + 1);
            let next_month = (before.0, before.1 + 1, 1);
            assert!(
                now == next_day || now == next_month || now == (before.0 + 1, 1, 1),
                "{now:?}"
            );
            before = now;
        }
    }

    #[test]
    fn file_stamp_has_no_colon() {
        let stamp = utc_file_stamp(UNIX_EPOCH + Duration::from_secs(1_795_413_027));
        assert_eq!(stamp, "2026-11-23T05-50-27");
    }
}
