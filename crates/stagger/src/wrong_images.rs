//! The test images that a run's network takes for another class.

use std::path::Path;
use std::sync::Arc;

use stagger_data::{ContactRow, ContactSheet, Dataset, shown_path};
use stagger_engine::HostTensor;
use stagger_report::Prediction;
use stagger_report::ReportError;
use stagger_report::run_report::{WrongImage, WrongImages};

use crate::error::Error;
use crate::evaluation::PreparedEvaluation;
use crate::options::TrainingOptions;
use crate::run_weights::RunWeights;

/// The most images that a page holds of a run.
pub const MOST_WRONG_IMAGES: usize = 100;

/// Evaluates a run's best weights, or else its last ones, as [`evaluate_run`](crate::evaluate_run) does, and gives those `most` test images,
/// and no more than [`MOST_WRONG_IMAGES`], of which the network is most certain and wrong.
///
/// # Errors
/// As [`PreparedEvaluation::of_run`]: when `run` has not come to its end, is emulated, or its data are not at hand; when an image cannot be
/// read; and when the evaluation fails.
pub fn wrong_images(run: &Path, most: usize) -> Result<WrongImages, Error> {
    let of =
        |weights: RunWeights| PreparedEvaluation::of_run(run, &weights, TrainingOptions::default());
    let prepared = match of(RunWeights::Best) {
        Err(Error::NoBestWeights { .. } | Error::BestWeightsGone { .. }) => of(RunWeights::Last),
        best => best,
    }?;
    let test = Arc::clone(&prepared.job().split.test);
    let mut certain = Certain::of(most.min(MOST_WRONG_IMAGES));
    let mut number = 0;
    let mut look = |_batch: usize, logits: HostTensor| {
        for row in logits.data.chunks_exact(test.classes()) {
            certain.add(number, test.label(number), row);
            number += 1;
        }
        Ok(())
    };
    let evaluation = prepared.run_with(Some(&mut look))?;
    let weights = shown_path(&evaluation.weights);
    let Certain { wrong, found, .. } = certain;
    let samples = evaluation.samples;
    let note = match found {
        0 => format!("{weights} takes none of {samples} images for another class"),
        _ => format!(
            "{weights} takes {found} of {samples} images for another class; these are the {} of which it is most certain",
            wrong.len()
        ),
    };
    let images = wrong.into_iter().map(|wrong| picture(test.as_ref(), wrong));
    Ok(WrongImages {
        note,
        images: images.collect::<Result<_, _>>()?,
    })
}

/// An image that is taken for another class.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Wrong {
    number: usize,
    label: usize,
    taken_for: usize,
    probability: f64,
}

/// The most certain of the wrong ones.
struct Certain {
    most: usize,
    /// The most certain first; of equal ones those that came first.
    wrong: Vec<Wrong>,
    /// How many there are, also of those that are not kept.
    found: usize,
}

impl Certain {
    fn of(most: usize) -> Self {
        Self {
            most,
            wrong: Vec::new(),
            found: 0,
        }
    }

    /// Looks at the scores of an image. Without finite ones it is taken for nothing.
    fn add(&mut self, number: usize, label: usize, logits: &[f32]) {
        let Some((taken_for, probability)) = Prediction::likeliest(logits) else {
            return;
        };
        if taken_for == label {
            return;
        }
        self.found += 1;
        let at = (self.wrong).partition_point(|other| other.probability >= probability);
        if at < self.most {
            let wrong = Wrong {
                number,
                label,
                taken_for,
                probability,
            };
            self.wrong.insert(at, wrong);
            self.wrong.truncate(self.most);
        }
    }
}

/// The image itself, small ones enlarged.
fn picture(test: &dyn Dataset, wrong: Wrong) -> Result<WrongImage, Error> {
    let shape = test.shape();
    let mut pixels = vec![0; shape.iter().product()];
    test.image(wrong.number, &mut pixels)?;
    let class = |label: usize| test.class_names().get(label).cloned().unwrap_or_default();
    let sheet = ContactSheet {
        shape,
        rows: vec![ContactRow {
            class: class(wrong.label),
            indices: vec![wrong.number],
            samples: vec![pixels],
        }],
    };
    let png = sheet.to_png().map_err(|what| ReportError::Encode {
        path: "report.html".into(),
        what,
    })?;
    Ok(WrongImage {
        number: wrong.number,
        png,
        class: class(wrong.label),
        taken_for: class(wrong.taken_for),
        probability: wrong.probability,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two logits whose second is likelier by this.
    fn add(certain: &mut Certain, number: usize, label: usize, by: f32) {
        certain.add(number, label, &[0.0, by]);
    }

    #[test]
    fn the_most_certain_come_first() {
        let mut certain = Certain::of(3);
        for (number, by) in [(0, 1.0), (1, 3.0), (2, 1.0), (3, 2.0), (4, 0.5)] {
            add(&mut certain, number, 0, by);
        }
        // Right ones, and one of which the network says nothing.
        add(&mut certain, 5, 1, 9.0);
        add(&mut certain, 6, 0, f32::NAN);
        let numbers: Vec<usize> = certain.wrong.iter().map(|wrong| wrong.number).collect();
        assert_eq!((numbers, certain.found), (vec![1, 3, 0], 5));
        let expected = 3_f64.exp() / (1.0 + 3_f64.exp());
        assert!((certain.wrong[0].probability - expected).abs() < 1e-9);
    }

    /// Keeping few while looking is sorting all and keeping few.
    #[test]
    fn few_are_kept() {
        let mut certain: Vec<Certain> = (0..6).map(Certain::of).collect();
        let mut all = Certain::of(usize::MAX);
        let scores = (0..60_usize).map(|number| {
            let digit = |at: u32| (number * 37 / 5_usize.pow(at) % 5) as f32;
            (number, number % 3, [0, 1, 2].map(digit))
        });
        for (number, label, logits) in scores {
            for certain in certain.iter_mut().chain([&mut all]) {
                certain.add(number, label, &logits);
            }
        }
        let mut sorted = all.wrong.clone();
        sorted.sort_by(|one, other| {
            let by_probability = other.probability.total_cmp(&one.probability);
            by_probability.then(one.number.cmp(&other.number))
        });
        assert!(sorted.len() > 20, "{}", sorted.len());
        for (most, certain) in certain.iter().enumerate() {
            assert_eq!(certain.found, all.wrong.len());
            assert_eq!(certain.wrong, sorted[..most]);
        }
    }
}
