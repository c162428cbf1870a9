//! The text format of Prometheus, version 0.0.4.

use std::fmt::Write;

use stagger_data::shown_text;

/// The type of the text, for the header of an answer.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What a number is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// It goes up and down.
    Gauge,
    /// It only grows while the process lasts; its name ends with `_total`.
    Counter,
}

/// A text of samples.
#[derive(Debug, Default)]
pub(super) struct Exposition {
    text: String,
}

/// Labels of a sample: names, which need no escapes, and values.
pub(super) type Labels<'a> = &'a [(&'static str, String)];

impl Exposition {
    /// Adds the samples of a metric, whose name and help need no escapes. Without a sample it is left out.
    pub fn add<'a>(
        &mut self,
        kind: Kind,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (Labels<'a>, f64)>,
    ) {
        let mut samples = samples.into_iter().peekable();
        if samples.peek().is_none() {
            return;
        }
        let kind = match kind {
            Kind::Gauge => "gauge",
            Kind::Counter => "counter",
        };
        // Writing to a string does not fail.
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for (labels, value) in samples {
            self.sample(name, labels, value);
        }
    }

    /// Adds a metric of one sample without labels, where there is one.
    pub fn one(&mut self, kind: Kind, name: &str, help: &str, value: Option<f64>) {
        self.add(kind, name, help, value.map(|value| (&[][..], value)));
    }

    pub fn into_text(self) -> String {
        self.text
    }

    fn sample(&mut self, name: &str, labels: Labels<'_>, value: f64) {
        self.text.push_str(name);
        for (at, (label, value)) in labels.iter().enumerate() {
            let before = if at == 0 { '{' } else { ',' };
            let _ = write!(self.text, "{before}{label}=\"{}\"", escaped(value));
        }
        if !labels.is_empty() {
            self.text.push('}');
        }
        let _ = writeln!(self.text, " {}", number(value));
    }
}

/// The value of a label between quotes. What would drive a terminal that shows it is escaped as everywhere else.
fn escaped(value: &str) -> String {
    let shown = shown_text(value);
    let mut escaped = String::with_capacity(shown.len());
    for c in shown.chars() {
        match c {
            '\n' => escaped.push_str(r"\n"),
            '\\' | '"' => escaped.extend(['\\', c]),
            c => escaped.push(c),
        }
    }
    escaped
}

fn number(value: f64) -> String {
    match value {
        f64::INFINITY => "+Inf".to_owned(),
        f64::NEG_INFINITY => "-Inf".to_owned(),
        value if value.is_nan() => "NaN".to_owned(),
        value => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_metric_has_a_help_a_type_and_its_samples() {
        let mut text = Exposition::default();
        let labels = [[("stage", "0".to_owned())], [("stage", "1".to_owned())]];
        let samples = labels.iter().map(|labels| (&labels[..], 0.5));
        text.add(Kind::Gauge, "busy_ratio", "Share of time.", samples);
        text.one(Kind::Counter, "stalls_total", "Stalls.", Some(3.0));
        text.one(Kind::Gauge, "loss", "Loss.", None);
        text.one(Kind::Gauge, "inf", "Infinity.", Some(f64::NEG_INFINITY));
        text.one(Kind::Gauge, "nan", "No number.", Some(f64::NAN));
        insta::assert_snapshot!(text.into_text(), @r#"
        # HELP busy_ratio Share of time.
        # TYPE busy_ratio gauge
        busy_ratio{stage="0"} 0.5
        busy_ratio{stage="1"} 0.5
        # HELP stalls_total Stalls.
        # TYPE stalls_total counter
        stalls_total 3
        # HELP inf Infinity.
        # TYPE inf gauge
        inf -Inf
        # HELP nan No number.
        # TYPE nan gauge
        nan NaN
        "#);
    }

    proptest! {
        /// No value ends its line or its quotes, and a reader gets what is shown elsewhere.
        #[test]
        fn a_value_stays_within_its_quotes(value in "\\PC*|[\"\\\\\n\r\u{1b}\u{2028}a]*") {
            let escaped = escaped(&value);
            prop_assert!(!escaped.chars().any(char::is_control));
            let mut read = String::new();
            let mut rest = escaped.chars();
            while let Some(c) = rest.next() {
                prop_assert_ne!(c, '"');
                read.push(match c {
                    '\\' => match rest.next() {
                        Some('n') => '\n',
                        Some(c @ ('\\' | '"')) => c,
                        other => panic!("{other:?} behind a backslash"),
                    },
                    c => c,
                });
            }
            prop_assert_eq!(read, shown_text(&value));
        }
    }
}
