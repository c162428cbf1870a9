//! Images that a run's network takes for another class.

use stagger_data::shown_text;

use super::reported_run::ReportedRun;

/// The test images of which a network is most certain and wrong.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WrongImages {
    /// By which weights, and of how many images; or why there are none.
    pub note: String,
    /// The most certain first.
    pub images: Vec<WrongImage>,
}

/// An image, what is on it, and what it is taken for.
#[derive(Clone, Debug, PartialEq)]
pub struct WrongImage {
    /// Number of the image in its set, from 0.
    pub number: usize,
    /// The image as a PNG file.
    pub png: Vec<u8>,
    /// The name of its class.
    pub class: String,
    /// The name of the class with the highest score.
    pub taken_for: String,
    /// What the network says of how likely that is, 0 to 1.
    pub probability: f64,
}

impl ReportedRun {
    /// The run with these images on its page.
    #[must_use]
    pub fn with_wrong_images(mut self, wrong: WrongImages) -> Self {
        self.wrong = Some(wrong);
        self
    }
}

/// The same as the page has it. The template engine escapes all texts.
pub(super) struct Shown {
    pub note: String,
    pub images: Vec<ShownImage>,
}

pub(super) struct ShownImage {
    pub number: usize,
    pub png_base64: String,
    pub class: String,
    pub taken_for: String,
    pub percent: String,
}

impl Shown {
    pub fn of(wrong: &WrongImages) -> Self {
        let shown = |image: &WrongImage| ShownImage {
            number: image.number,
            png_base64: crate::base64::base64(&image.png),
            class: shown_text(&image.class),
            taken_for: shown_text(&image.taken_for),
            percent: format!("{:.1} %", 100.0 * image.probability),
        };
        Self {
            note: shown_text(&wrong.note),
            images: wrong.images.iter().map(shown).collect(),
        }
    }
}
