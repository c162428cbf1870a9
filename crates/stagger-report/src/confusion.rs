//! Which classes a network takes for which: counts, and their forms as text, comma-separated values and a picture.

mod svg;
mod text;

use std::collections::BTreeMap;
use std::path::Path;

use crate::error::ReportError;

/// Most classes of a matrix that is written: its size grows with their square.
const MOST_CLASSES: usize = 10_000;

/// How often samples of a class were taken for which class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confusion {
    class_names: Vec<String>,
    /// By label and predicted label; without one where the scores of a sample have a NaN among them.
    counts: BTreeMap<(usize, Option<usize>), usize>,
}

/// One entry beside the diagonal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The class of the samples.
    pub label: usize,
    /// What they were taken for.
    pub taken_for: usize,
    /// How many.
    pub samples: usize,
}

impl Confusion {
    /// Of no samples yet.
    #[must_use]
    pub fn new(class_names: Vec<String>) -> Self {
        Self {
            class_names,
            counts: BTreeMap::new(),
        }
    }

    /// Adds a sample of class `label` with these logits. It is taken for the class with the largest, of equal ones for that
    /// with the smaller label, as accuracy is counted (`stagger_engine::cross_entropy`); with a NaN among them for none.
    pub fn add(&mut self, label: usize, logits: &[f32]) {
        let best = |best: usize, at: usize| if logits[at] > logits[best] { at } else { best };
        let taken_for = match logits.iter().any(|logit| logit.is_nan()) {
            true => None,
            false => (0..logits.len()).reduce(best),
        };
        *self.counts.entry((label, taken_for)).or_default() += 1;
    }

    /// Names of the classes, by label.
    pub fn class_names(&self) -> &[String] {
        &self.class_names
    }

    /// Samples of class `label` that were taken for class `taken_for`.
    pub fn count(&self, label: usize, taken_for: usize) -> usize {
        let found = self.counts.get(&(label, Some(taken_for)));
        found.copied().unwrap_or_default()
    }

    /// Samples of a class.
    pub fn samples(&self, label: usize) -> usize {
        let of_class = self.counts.range((label, None)..(label + 1, None));
        of_class.map(|(_, count)| count).sum()
    }

    /// Samples of a class that were taken for it, in percent; `None` without samples.
    pub fn accuracy(&self, label: usize) -> Option<f64> {
        let samples = self.samples(label);
        let percent = 100.0 * self.count(label, label) as f64 / samples as f64;
        (samples > 0).then_some(percent)
    }

    /// Everything beside the diagonal: the most frequent first, of equal ones by label.
    pub fn mistakes(&self) -> Vec<Mistake> {
        let mistake = |(&(label, taken_for), &samples): (&(usize, Option<usize>), &usize)| {
            Some(Mistake {
                label,
                taken_for: taken_for.filter(|&taken_for| taken_for != label)?,
                samples,
            })
        };
        let mut mistakes: Vec<Mistake> = self.counts.iter().filter_map(mistake).collect();
        mistakes.sort_by_key(|mistake| std::cmp::Reverse(mistake.samples));
        mistakes
    }

    /// The matrix as comma-separated values: a line and a column for each class, both by label; lines are of the classes of the
    /// samples, columns of what they were taken for. The first line and the first column hold the names.
    pub fn to_csv(&self) -> String {
        let mut writer = csv::Writer::from_writer(Vec::new());
        let classes = 0..self.class_names.len();
        // Writing to memory cannot fail.
        let _ = writer.write_field("class");
        let _ = writer.write_record(&self.class_names);
        for label in classes.clone() {
            let _ = writer.write_field(&self.class_names[label]);
            let counts = classes.clone().map(|other| self.count(label, other));
            let _ = writer.write_record(counts.map(|count| count.to_string()));
        }
        String::from_utf8(writer.into_inner().unwrap_or_default()).unwrap_or_default()
    }

    /// Their form in a file of this format.
    ///
    /// # Errors
    /// A sentence when a picture cannot be drawn.
    pub fn in_format(&self, format: ConfusionFormat) -> Result<String, String> {
        match format {
            ConfusionFormat::Text => Ok(self.matrix_text()),
            ConfusionFormat::Csv => Ok(self.to_csv()),
            ConfusionFormat::Svg => self.to_svg().map_err(|error| error.to_string()),
        }
    }
}

/// The format of a file with a confusion matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfusionFormat {
    /// `.txt`: see [`Confusion::matrix_text`].
    Text,
    /// `.csv`: see [`Confusion::to_csv`].
    Csv,
    /// `.svg`: see [`Confusion::to_svg`].
    Svg,
}

impl ConfusionFormat {
    /// The format that the ending of a name says, for a matrix of so many classes.
    ///
    /// # Errors
    /// [`ReportError::Ending`], [`ReportError::TooManyClasses`].
    pub fn of(path: &Path, classes: usize) -> Result<Self, ReportError> {
        let ending = path.extension().and_then(|ending| ending.to_str());
        let format = match ending.map(str::to_ascii_lowercase).as_deref() {
            Some("txt") => Self::Text,
            Some("csv") => Self::Csv,
            Some("svg") => Self::Svg,
            _ => {
                return Err(ReportError::Ending {
                    path: path.to_owned(),
                    expected: ".csv, .svg or .txt",
                });
            }
        };
        match classes > MOST_CLASSES && format != Self::Text {
            true => Err(ReportError::TooManyClasses {
                path: path.to_owned(),
                found: classes,
                most: MOST_CLASSES,
            }),
            false => Ok(format),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Samples as (label, taken for, how many).
    pub(crate) fn confusion(names: &[&str], samples: &[(usize, usize, usize)]) -> Confusion {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let mut confusion = Confusion::new(names.clone());
        for &(label, taken_for, count) in samples {
            let mut logits = vec![0.0; names.len()];
            logits[taken_for] = 1.0;
            (0..count).for_each(|_| confusion.add(label, &logits));
        }
        confusion
    }

    #[test]
    fn samples_are_counted_as_accuracy_is() {
        let mut found = confusion(&["a", "b", "c"], &[(0, 0, 3), (0, 2, 1), (2, 1, 2)]);
        // A tie goes to the smaller label, a NaN to none.
        found.add(2, &[0.0, 5.0, 5.0]);
        found.add(2, &[0.0, f32::NAN, 5.0]);
        assert_eq!([0, 1, 2].map(|label| found.samples(label)), [4, 0, 4]);
        assert_eq!(
            [0, 1, 2].map(|label| found.accuracy(label)),
            [Some(75.0), None, Some(0.0)]
        );
        let mistakes = found.mistakes();
        let pairs: Vec<_> = mistakes
            .iter()
            .map(|mistake| (mistake.label, mistake.taken_for, mistake.samples))
            .collect();
        assert_eq!(pairs, [(2, 1, 3), (0, 2, 1)]);
    }

    #[test]
    fn csv_is_the_whole_matrix() {
        let found = confusion(&["a, b", "say \"c\"\n"], &[(0, 0, 3), (0, 1, 1), (1, 1, 7)]);
        insta::assert_snapshot!(found.to_csv(), @r#"
        class,"a, b","say ""c""
        "
        "a, b",3,1
        "say ""c""
        ",0,7
        "#);
        let mut reader = csv::Reader::from_reader(std::io::Cursor::new(found.to_csv()));
        assert_eq!(reader.records().count(), 2);
    }

    #[test]
    fn endings_say_the_format() {
        let of = |name: &str, classes| ConfusionFormat::of(Path::new(name), classes);
        assert_eq!(of("a/b.CSV", 1000).unwrap(), ConfusionFormat::Csv);
        assert_eq!(of("x.svg", 2).unwrap(), ConfusionFormat::Svg);
        assert_eq!(of("x.txt", 60_000).unwrap(), ConfusionFormat::Text);
        insta::assert_snapshot!(of("x.png", 2).unwrap_err(), @"x.png does not say the format of the file; give it a name that ends with .csv, .svg or .txt");
        insta::assert_snapshot!(of("x.csv", 60_000).unwrap_err(), @"x.csv would hold a matrix of 60000 classes; at most 10000 are written: use a name that ends with .txt for a list");
    }
}
