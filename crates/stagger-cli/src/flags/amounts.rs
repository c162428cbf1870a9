//! Amounts with their units, and numbers of lists.

use std::str::FromStr;

/// A number of a list, with blanks around it: `1, 1, 0.5`.
pub fn trimmed<T: FromStr>(text: &str) -> Result<T, T::Err> {
    text.trim().parse()
}

/// Bytes, with a unit or without: `8GiB`, `500MB`, `1024`.
pub fn bytes(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let digits = text
        .find(|c: char| !(c.is_ascii_digit() || c == '.'))
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor: f64 = match unit.trim() {
        "" | "B" => 1.0,
        "kB" | "KB" => 1e3,
        "MB" => 1e6,
        "GB" => 1e9,
        "TB" => 1e12,
        "KiB" => 1024.0,
        "MiB" => 1024.0 * 1024.0,
        "GiB" => 1024.0 * 1024.0 * 1024.0,
        "TiB" => 1024.0 * 1024.0 * 1024.0 * 1024.0,
        _ => {
            return Err(format!(
                "`{text}` is no amount of memory; a right one is 8GiB"
            ));
        }
    };
    match number.parse::<f64>() {
        Ok(number) if number > 0.0 && number * factor < 1e18 => Ok((number * factor) as u64),
        _ => Err(format!(
            "`{text}` is no amount of memory; a right one is 8GiB"
        )),
    }
}

/// A rate above 0.
pub fn megabytes_per_second(text: &str) -> Result<f64, String> {
    match text.trim().parse::<f64>() {
        Ok(rate) if rate.is_finite() && rate > 0.0 => Ok(rate),
        _ => {
            Err("give megabytes per second as a number above 0, such as 12.5 for 100 Mbit/s".into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_read() {
        for (text, expected) in [
            ("8GiB", 8 << 30),
            ("1.5 MiB", 3 << 19),
            ("500MB", 500_000_000),
            ("7", 7),
        ] {
            assert_eq!(bytes(text), Ok(expected), "{text}");
        }
        for text in [
            "",
            "GiB",
            "-1GiB",
            "8 gigs",
            "0",
            "1e9",
            "NaN",
            "99999999999TiB",
            "1.2.3GB",
        ] {
            assert!(bytes(text).is_err(), "{text}");
        }
        assert!(megabytes_per_second("0").is_err() && megabytes_per_second("inf").is_err());
        assert_eq!(megabytes_per_second("12.5"), Ok(12.5));
    }
}
