//! Numbers and lists in what commands say.

/// Entries of a list that is said as a whole.
const MOST_ENTRIES: usize = 16;

/// Entries at either end of a longer one.
const SHOWN_ENTRIES: usize = 4;

/// Four digits of a number.
pub fn digits(number: f64) -> String {
    if number != 0.0 && number.abs() < 0.01 {
        return format!("{number:.3e}");
    }
    let decimals = match number.abs() {
        n if n >= 1000.0 => 0,
        n if n >= 100.0 => 1,
        n if n >= 10.0 => 2,
        _ => 3,
    };
    format!("{number:.decimals$}")
}

/// Images per second: whole ones, where there are several.
pub fn images(rate: f64) -> String {
    match rate.abs() < 10.0 {
        true => digits(rate),
        false => format!("{rate:.0}"),
    }
}

/// A text for people in which long lists of numbers, as those of a schedule, of a cut or of replicas, are cut short in the middle.
pub fn shortened(text: &str) -> String {
    let is_of_list = |sign: char| sign.is_ascii_digit() || sign == ',';
    let mut short = String::new();
    let mut rest = text;
    while !rest.is_empty() {
        let list = rest.find(|sign| !is_of_list(sign)).unwrap_or(rest.len());
        let entries: Vec<&str> = rest[..list].split(',').collect();
        match entries.len() > MOST_ENTRIES {
            true => {
                let last = &entries[entries.len() - SHOWN_ENTRIES..];
                let first = entries[..SHOWN_ENTRIES].join(",");
                short += &format!("{first},…,{}", last.join(","));
            }
            false => short += &rest[..list],
        }
        rest = &rest[list..];
        let other = rest.find(is_of_list).unwrap_or(rest.len());
        short += &rest[..other];
        rest = &rest[other..];
    }
    short
}

/// Numbers in their order, where four and more that follow each other are a range: `0–3,7`.
pub fn ranges(numbers: &[usize]) -> String {
    let runs = numbers.chunk_by(|one, next| one + 1 == *next);
    let said = runs.map(|run| match run {
        [first, _, _, .., last] => format!("{first}–{last}"),
        few => {
            let few: Vec<String> = few.iter().map(ToString::to_string).collect();
            few.join(",")
        }
    });
    shortened(&said.collect::<Vec<_>>().join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn low_rates_have_digits() {
        assert_eq!(images(86.4), "86");
        assert_eq!(images(4.31), "4.310");
        assert_eq!(images(0.000_08), "8.000e-5");
        assert_eq!(images(0.0), "0.000");
    }

    #[test]
    fn long_lists_are_cut_short() {
        let list = |numbers: std::ops::Range<usize>| {
            let numbers: Vec<String> = numbers.map(|number| number.to_string()).collect();
            numbers.join(",")
        };
        let short = format!("dsp({};2,0) on 16 stages", list(0..16));
        assert_eq!(shortened(&short), short);
        let long = format!("dsp({};{})", list(0..17), list(10..40));
        assert_eq!(
            shortened(&long),
            "dsp(0,1,2,3,…,13,14,15,16;10,11,12,13,…,36,37,38,39)"
        );
    }

    #[test]
    fn numbers_that_follow_each_other_are_a_range() {
        assert_eq!(ranges(&[0, 1, 2]), "0,1,2");
        assert_eq!(ranges(&[0, 1, 2, 3, 7]), "0–3,7");
        assert_eq!(ranges(&[3, 1, 2, 4, 5, 6, 7]), "3,1,2,4–7");
        assert_eq!(ranges(&(0..64).collect::<Vec<_>>()), "0–63");
        assert_eq!(ranges(&[]), "");
    }
}
