//! Numbers for people: `40.6 M`, `1.3 MiB`, `269,722`.

/// A count with a decimal prefix and three or four digits: `987`, `884.7 k`, `40.6 M`, `1.3 G`.
pub fn count(value: u64) -> String {
    scaled(value, 1000.0, &["", " k", " M", " G", " T", " P", " E"])
}

/// A size in bytes with a binary prefix: `512 B`, `64.0 KiB`, `1.2 MiB`.
pub fn bytes(value: u64) -> String {
    scaled(
        value,
        1024.0,
        &[" B", " KiB", " MiB", " GiB", " TiB", " PiB", " EiB"],
    )
}

/// All digits, in groups of three: `269,722`.
pub fn grouped(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A share of one as a percentage with one decimal: `12.5%`.
pub fn percent(share: f64) -> String {
    format!("{:.1}%", 100.0 * share)
}

fn scaled(value: u64, step: f64, units: &[&str]) -> String {
    if (value as f64) < step {
        return format!("{value}{}", units[0]);
    }
    let mut rest = value as f64;
    let mut unit = 0;
    // The bound is what would round up to a whole step, so that 999,960 is `1.0 M` and not `1000.0 k`.
    while rest >= step - 0.05 && unit + 1 < units.len() {
        rest /= step;
        unit += 1;
    }
    format!("{rest:.1}{}", units[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_take_decimal_prefixes() {
        for (value, text) in [
            (0, "0"),
            (999, "999"),
            (1000, "1.0 k"),
            (999_949, "999.9 k"),
            (999_960, "1.0 M"),
            (40_551_040, "40.6 M"),
            (u64::MAX, "18.4 E"),
        ] {
            assert_eq!(count(value), text);
        }
    }

    #[test]
    fn sizes_take_binary_prefixes() {
        for (value, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (65_536, "64.0 KiB"),
            (1 << 30, "1.0 GiB"),
        ] {
            assert_eq!(bytes(value), text);
        }
    }

    #[test]
    fn digits_are_grouped_from_the_right() {
        for (value, text) in [
            (0, "0"),
            (999, "999"),
            (1000, "1,000"),
            (1_727_962, "1,727,962"),
        ] {
            assert_eq!(grouped(value), text);
        }
    }
}
