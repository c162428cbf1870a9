//! Values that are no numbers: what was probably meant.

/// Flags whose numbers are percents.
const IN_PERCENT: [&str; 2] = ["--slowdowns", "--target"];

/// What is wrong with the value of a flag, and what to write. `reason` is what its parser says.
pub fn sentence(flag: &str, value: &str, reason: &str) -> String {
    let (kind, meant, example) = match reason {
        "invalid float literal" | "cannot parse float from empty string" => {
            let meant = match value.trim().strip_suffix('%') {
                // Such a flag takes the number itself, which a share of 1 would be the hundredth of.
                Some(percents) if IN_PERCENT.contains(&flag) => number(percents),
                _ => number(value),
            };
            ("no number", meant, "a number such as 0.1 or 1e-3")
        }
        "invalid digit found in string"
        | "cannot parse integer from empty string"
        | "number too large to fit in target type"
        | "number too small to fit in target type" => (
            "no whole number",
            whole_number(value),
            "a whole number such as 64",
        ),
        _ => return format!("{flag} `{value}`: {reason}"),
    };
    let is_negative = value.trim_start().starts_with('-') && kind == "no whole number";
    match meant {
        Some(meant) => format!("{flag} `{value}` is {kind}; write {flag} {meant}"),
        None if is_negative => format!("{flag} `{value}` is below 0; give {example}"),
        None if reason.starts_with("number too large") => {
            format!("{flag} `{value}` is too large; give {example}")
        }
        None => format!("{flag} `{value}` is {kind}; give {example}"),
    }
}

/// The number that was probably meant: `0.1` of `0,1`, `1/10` or `١٫`-like digits of other scripts.
fn number(value: &str) -> Option<String> {
    let text = plain(value);
    let read = |text: &str| text.parse::<f64>().ok().filter(|number| number.is_finite());
    let found = match text.split_once('/') {
        Some((above, below)) => Some(read(above.trim())? / read(below.trim())?),
        None => scaled(&text, read),
    };
    // One comma is a decimal one; several separate thousands.
    let found = found.or_else(|| match text.matches(',').count() {
        1 => read(&text.replace(',', ".")),
        _ => None,
    });
    Some(found.filter(|number| number.is_finite())?.to_string())
}

/// The whole number that was probably meant: `100` of `1e2`, `64.0`, `1_000` or `1k`.
fn whole_number(value: &str) -> Option<String> {
    let text = plain(value);
    let is_grouped = |mark: char| {
        let mut groups = text.split(mark);
        let first = groups.next().unwrap_or_default();
        (1..=3).contains(&first.len())
            && groups.clone().count() > 0
            && groups.all(|group| group.len() == 3)
            && text.chars().all(|c| c.is_ascii_digit() || c == mark)
    };
    if is_grouped(',') || is_grouped('.') && text.matches('.').count() > 1 {
        return Some(text.replace([',', '.'], ""));
    }
    let read = |text: &str| text.parse::<f64>().ok();
    let found = scaled(&text, read)?;
    // Those that a float holds exactly.
    let is_whole = found.fract() == 0.0 && (0.0..9e15).contains(&found);
    is_whole.then(|| format!("{found:.0}"))
}

/// A number with a letter behind it that stands for thousands, or a percent sign.
fn scaled(text: &str, read: impl Fn(&str) -> Option<f64>) -> Option<f64> {
    let factor = match text.chars().last()? {
        'k' | 'K' => 1e3,
        'M' => 1e6,
        '%' => return Some(read(text[..text.len() - 1].trim())? / 100.0),
        _ => return read(text),
    };
    Some(read(text[..text.len() - 1].trim())? * factor)
}

/// Without underscores, without blanks but those between two numbers, and with the digits and marks of ASCII.
fn plain(value: &str) -> String {
    let value = value.trim();
    let text: Vec<char> = value.chars().collect();
    let is_digit = |at: usize| text.get(at).is_some_and(|c| c.is_numeric());
    // Thousands are grouped by blanks; other digits belong to two numbers.
    let parts = |at: usize| {
        let is_group = (1..=3).all(|next| is_digit(at + next)) && !is_digit(at + 4);
        text[at].is_whitespace() && is_digit(at.wrapping_sub(1)) && is_digit(at + 1) && !is_group
    };
    let is_two = (0..text.len()).any(parts);
    let ascii = |c: char| match c {
        // Arabic-Indic, extended, Devanagari, and full-width digits.
        '\u{660}'..='\u{669}' => digit(c, 0x660),
        '\u{6f0}'..='\u{6f9}' => digit(c, 0x6f0),
        '\u{966}'..='\u{96f}' => digit(c, 0x966),
        '\u{ff10}'..='\u{ff19}' => digit(c, 0xff10),
        '\u{66b}' => '.',
        '\u{66c}' => ',',
        '\u{2212}' | '\u{2013}' => '-',
        c => c,
    };
    let keep = |c: &char| {
        let is_blank = c.is_whitespace() && !is_two;
        !(is_blank || "_'\u{2019}\u{200b}\u{feff}".contains(*c))
    };
    value.chars().filter(keep).map(ascii).collect()
}

fn digit(c: char, zero: u32) -> char {
    char::from_digit(u32::from(c) - zero, 10).unwrap_or(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_were_meant() {
        for (value, meant) in [
            ("0,1", Some("0.1")),
            ("0.1 ", Some("0.1")),
            (" .1\t", Some("0.1")),
            ("1/10", Some("0.1")),
            ("1k", Some("1000")),
            ("10%", Some("0.1")),
            ("١", Some("1")),
            ("٠٫١", Some("0.1")),
            ("0\u{2009}.5", Some("0.5")),
            ("−0.1", Some("-0.1")),
            ("1 000.5", Some("1000.5")),
            ("1 1", None),
            ("1/0", None),
            ("0.1.2", None),
            ("1,000,000", None),
            ("fast", None),
            ("", None),
        ] {
            assert_eq!(number(value).as_deref(), meant, "{value:?}");
        }
    }

    #[test]
    fn whole_numbers_that_were_meant() {
        for (value, meant) in [
            ("1e2", Some("100")),
            ("64.0", Some("64")),
            ("1_000", Some("1000")),
            ("1,000", Some("1000")),
            ("1.000.000", Some("1000000")),
            ("1'000", Some("1000")),
            ("64 ", Some("64")),
            ("1 000 000", Some("1000000")),
            ("1 1", None),
            ("1 000 00", None),
            ("12 k", Some("12000")),
            ("2k", Some("2000")),
            ("٦٤", Some("64")),
            ("64.5", None),
            ("0,5", None),
            ("-3", None),
            ("1e99", None),
            ("nan", None),
            ("many", None),
        ] {
            assert_eq!(whole_number(value).as_deref(), meant, "{value:?}");
        }
    }

    #[test]
    fn what_nothing_is_known_of_has_an_example() {
        assert_eq!(
            sentence("--lr", "fast", "invalid float literal"),
            "--lr `fast` is no number; give a number such as 0.1 or 1e-3"
        );
        assert_eq!(
            sentence("--seed", "-1", "invalid digit found in string"),
            "--seed `-1` is below 0; give a whole number such as 64"
        );
        let percents = |flag| sentence(flag, "90%", "invalid float literal");
        assert_eq!(
            percents("--target"),
            "--target `90%` is no number; write --target 90"
        );
        assert!(percents("--slowdowns").ends_with("write --slowdowns 90"));
        assert!(percents("--val-split").ends_with("write --val-split 0.9"));
    }
}
