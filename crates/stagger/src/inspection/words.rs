//! What was found, for people.

use std::fmt;

use stagger_data::shown_text;
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
        let flip = if augmentation.flip {
            " and mirrored at random"
        } else {
            ""
        };
        match augmentation.is_none() {
            true => "as they are, without augmentation".to_owned(),
            false => format!("shifted by up to {} pixels{flip}", augmentation.pad),
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
