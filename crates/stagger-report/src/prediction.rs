//! What a network says of pictures: as text, as JSON, as comma-separated values.

use std::fmt;
use std::path::PathBuf;

use serde::Serialize;
use serde_json::json;
use stagger_data::{shown_path, shown_text};

/// What a network says of one picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Prediction {
    /// The picture's file, as it was named or found.
    pub file: PathBuf,
    /// The likeliest classes, the likeliest first; of equal ones the one with the smaller label.
    pub classes: Vec<Guess>,
}

/// A class, and how likely it is.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Guess {
    /// Number of the class: the output of the network.
    pub label: usize,
    /// Its name.
    pub class: String,
    /// From 0 to 1, by softmax over all classes.
    pub probability: f64,
}

impl Prediction {
    /// The `top` likeliest classes by one row of logits; fewer where there are no more.
    #[must_use]
    pub fn of_logits(file: PathBuf, logits: &[f32], class_names: &[String], top: usize) -> Self {
        let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let weight = |logit: f32| (f64::from(logit) - f64::from(largest)).exp();
        let sum: f64 = logits.iter().map(|&logit| weight(logit)).sum();
        let mut order: Vec<usize> = (0..logits.len().min(class_names.len())).collect();
        // Stable: equal logits stay in the order of their labels.
        order.sort_by(|&one, &other| logits[other].total_cmp(&logits[one]));
        order.truncate(top);
        let guess = |label: usize| Guess {
            label,
            class: class_names[label].clone(),
            probability: weight(logits[label]) / sum,
        };
        Self {
            file,
            classes: order.into_iter().map(guess).collect(),
        }
    }

    /// The class with the highest of these logits, of equal ones the first, and its probability by softmax; `None` where a logit is not finite,
    /// and without one.
    #[must_use]
    pub fn likeliest(logits: &[f32]) -> Option<(usize, f64)> {
        if logits.iter().any(|logit| !logit.is_finite()) {
            return None;
        }
        let each = logits.iter().enumerate();
        let (label, largest) = each.rev().max_by(|one, other| one.1.total_cmp(other.1))?;
        let weights = (logits.iter()).map(|logit| (f64::from(*logit) - f64::from(*largest)).exp());
        Some((label, 1.0 / weights.sum::<f64>()))
    }

    /// One line of JSON, with its end: `{"file":"a.png","classes":[{"label":0,"class":"cat","probability":0.98}]}`. Bytes of a
    /// file's name that are no UTF-8 become `\u{fffd}`.
    #[must_use]
    pub fn to_json(&self) -> String {
        let file = self.file.to_string_lossy();
        format!("{}\n", json!({ "file": file, "classes": self.classes }))
    }

    /// The names of the columns of [`Prediction::to_csv`], as a line.
    pub const CSV_HEAD: &'static str = "file,rank,label,class,probability\n";

    /// A line for each class, in the columns of [`Prediction::CSV_HEAD`]; `rank` counts from 1.
    #[must_use]
    pub fn to_csv(&self) -> String {
        let mut writer = csv::Writer::from_writer(Vec::new());
        let file = self.file.to_string_lossy();
        for (at, guess) in self.classes.iter().enumerate() {
            // Writing to memory cannot fail.
            let _ = writer.write_record([
                &*file,
                &(at + 1).to_string(),
                &guess.label.to_string(),
                &guess.class,
                &guess.probability.to_string(),
            ]);
        }
        String::from_utf8(writer.into_inner().unwrap_or_default()).unwrap_or_default()
    }
}

/// One line for people, in which what would move the cursor is escaped: `a.png: cat 98.1 %, dog 1.2 %`.
impl fmt::Display for Prediction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", shown_path(&self.file))?;
        for (at, guess) in self.classes.iter().enumerate() {
            let gap = if at == 0 { "" } else { ", " };
            let percent = 100.0 * guess.probability;
            write!(f, "{gap}{} {percent:.1} %", shown_text(&guess.class))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Vec<String> {
        ["cat, grey", "dog \"Rex\"", "猫\n"]
            .map(str::to_owned)
            .to_vec()
    }

    #[test]
    fn probabilities_are_those_of_softmax() {
        let logits = [1.0, 1.0 + 3_f32.ln(), 1.0];
        let found = Prediction::of_logits("a.png".into(), &logits, &names(), 5);
        let labels: Vec<usize> = found.classes.iter().map(|guess| guess.label).collect();
        assert_eq!(labels, [1, 0, 2], "equal ones by label");
        for (guess, expected) in found.classes.iter().zip([0.6, 0.2, 0.2]) {
            assert!((guess.probability - expected).abs() < 1e-6, "{guess:?}");
        }
        let (label, probability) = Prediction::likeliest(&logits).unwrap();
        assert_eq!(label, 1);
        assert!((probability - 0.6).abs() < 1e-6, "{probability}");
        assert_eq!(Prediction::likeliest(&[2.0, 2.0]), Some((0, 0.5)));
        assert_eq!(Prediction::likeliest(&[0.0, f32::NAN]), None);
        assert_eq!(Prediction::likeliest(&[]), None);
        let one = Prediction::of_logits("a.png".into(), &[1e30, -1e30, 0.0], &names(), 1);
        assert_eq!((one.classes.len(), one.classes[0].probability), (1, 1.0));
    }

    /// Names with all that has a meaning in these formats.
    #[test]
    fn names_are_quoted_as_the_format_asks() {
        let file = PathBuf::from("a,\"b\"\n\u{202e}.png");
        let found = Prediction::of_logits(file, &[0.0, 2_f32.ln(), 0.0], &names(), 3);
        insta::assert_snapshot!(found, @r#"a,"b"\n\u{202e}.png: dog "Rex" 50.0 %, cat, grey 25.0 %, 猫\n 25.0 %"#);
        let csv = format!("{}{}", Prediction::CSV_HEAD, found.to_csv());
        let mut reader = csv::Reader::from_reader(csv.as_bytes());
        let rows: Vec<Vec<String>> = reader
            .records()
            .map(|row| row.unwrap().iter().map(str::to_owned).collect())
            .collect();
        assert_eq!(rows.len(), 3);
        assert_eq!(
            rows[1][..4],
            ["a,\"b\"\n\u{202e}.png", "2", "0", "cat, grey"]
        );
        assert_eq!(rows[2][3], "猫\n");
        let json = found.to_json();
        assert_eq!(json.lines().count(), 1, "{json}");
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(value["file"], "a,\"b\"\n\u{202e}.png");
        assert_eq!(value["classes"][2]["class"], "猫\n");
        assert_eq!(value["classes"][0]["label"], 1);
    }
}
