//! How a sentence names options: as fields, or as flags.

/// How a sentence names options.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Spelling {
    /// As fields of [`TrainingOptions`](crate::TrainingOptions): `batch_size`, in backticks.
    #[default]
    Fields,
    /// As flags of a command line: `--batch-size`.
    Flags,
}

/// A number as people write it: with an exponent where it would have many zeros.
pub(crate) fn said_number(number: f64) -> String {
    match number.abs() {
        size if size > 1e9 || (size > 0.0 && size < 1e-9) => format!("{number:e}"),
        _ => number.to_string(),
    }
}

impl Spelling {
    /// The name of an option that is given in snake case.
    pub fn name(self, option: &str) -> String {
        match self {
            Self::Fields => format!("`{option}`"),
            Self::Flags => format!("--{}", option.replace('_', "-")),
        }
    }

    /// What an option is called: `option` or `flag`.
    pub(crate) fn noun(self) -> &'static str {
        match self {
            Self::Fields => "option",
            Self::Flags => "flag",
        }
    }
}
