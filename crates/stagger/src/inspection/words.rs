//! What was found, for people.

use std::fmt;

use stagger_data::{RandAugment, shown_text};
use stagger_report::Table;

use super::{ClassCounts, InspectedData};

/// Up to so many classes all are listed,
const ALL_CLASSES: usize = 100;
/// and of more those with the fewest images to train on.
const FEWEST: usize = 20;

impl InspectedData {
    /// What a contact sheet shows.
    pub(super) fn sheet_words(&self) -> String {
        format!(
            "Images to train on, as the first epoch with seed {} has them, in that order, before they are normalised; {}.",
            self.seed,
            self.augmentation_words()
        )
    }

    fn augmentation_words(&self) -> String {
        let augmentation = self.split.augmentation;
        if augmentation.is_none() {
            return "as they are, without augmentation".to_owned();
        }
        let mut steps = Vec::new();
        if augmentation.resized_crop {
            steps.push("parts of 8 % to 100 % of each picture, resized".to_owned());
        }
        if augmentation.pad > 0 {
            steps.push(format!("shifted by up to {} pixels", augmentation.pad));
        }
        if augmentation.flip {
            steps.push("mirrored at random".to_owned());
        }
        if augmentation.color_jitter.is_some() {
            steps.push("with colours changed".to_owned());
        }
        if let Some(RandAugment {
            operations,
            magnitude,
        }) = augmentation.rand_augment
        {
            steps.push(format!(
                "with {operations} of 14 operations of magnitude {magnitude}"
            ));
        }
        if augmentation.erasing > 0.0 {
            let percent = 100.0 * augmentation.erasing;
            steps.push(format!("with a part erased in {percent} % of them"));
        }
        match steps.split_last() {
            Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
            _ => steps.concat(),
        }
    }

    fn table(&self) -> String {
        let mut classes: Vec<&ClassCounts> = self.classes.iter().collect();
        let mut head = String::new();
        if classes.len() > ALL_CLASSES {
            // Stable: equal ones stay in the order of their labels.
            classes.sort_by_key(|class| class.train);
            classes.truncate(FEWEST);
            head = format!("the {FEWEST} classes with the fewest images to train on:\n");
        }
        let row = |class: &&ClassCounts| {
            let name = shown_text(&class.name);
            vec![name, class.train.to_string(), class.test.to_string()]
        };
        let table = Table {
            headers: ["class", "to train on", "to evaluate on"]
                .map(str::to_owned)
                .to_vec(),
            rows: classes.iter().map(row).collect(),
        };
        format!("{head}{table}")
    }
}

/// Several lines, the last with its end.
impl fmt::Display for InspectedData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let split = &self.split;
        let [channels, height, width] = split.train.shape();
        writeln!(f, "data set: {}", shown_text(split.train.name()))?;
        for note in &split.notes {
            writeln!(f, "data: {}", shown_text(note))?;
        }
        match &split.inventory {
            Some(inventory) => writeln!(f, "data: {inventory}")?,
            None => writeln!(
                f,
                "data: {} images to train on, {} to evaluate on, {} classes",
                split.train.len(),
                split.test.len(),
                self.classes.len()
            )?,
        }
        let size = |[height, width]: [usize; 2]| format!("{height}×{width}");
        let sizes = &self.sizes;
        writeln!(
            f,
            "height and width: smallest {}, median {}, largest {}; training sees {}",
            size(sizes.smallest),
            size(sizes.median),
            size(sizes.largest),
            size([height, width])
        )?;
        let by_channel = |values: &[f32]| {
            let values = values.iter().map(|value| format!("{value:.4}"));
            values.collect::<Vec<_>>().join(",")
        };
        writeln!(
            f,
            "channels: {channels}; mean {}; deviation {}",
            by_channel(&split.normalization.mean),
            by_channel(&split.normalization.std)
        )?;
        writeln!(f, "augmentation: {}", self.augmentation_words())?;
        f.write_str(&self.table())
    }
}
